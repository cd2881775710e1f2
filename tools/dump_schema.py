"""Writes `docs/schema.txt` from a freshly migrated database.

`--verify` fails when the committed text is not current.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import asyncpg

from ostinato.jobflow.schema import ALL_LINES
from ostinato.storage.migrate import migrate
from ostinato.storage.schema_dump import dump_schema
from ostinato.testing.postgres import fresh_database
from ostinato.testing.server import open_test_server

TARGET = Path(__file__).resolve().parent.parent / "docs" / "schema.txt"


async def current_schema(server_url: str) -> str:
    async with fresh_database(server_url, "template1") as url:
        connection = await asyncpg.connect(url)
        try:
            await migrate(connection, ALL_LINES)
            return await dump_schema(connection)
        finally:
            await connection.close()


def server() -> AbstractContextManager[str]:
    given = os.environ.get("OSTINATO_TEST_DATABASE_URL")
    return nullcontext(given) if given else open_test_server()


def main() -> None:
    with server() as url:
        text = asyncio.run(current_schema(url))
    if "--verify" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        raise SystemExit("docs/schema.txt is not current, run `make schema` and review the difference")


if __name__ == "__main__":
    main()
