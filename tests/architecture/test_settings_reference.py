"""docs/settings.md lists every variable that the code reads, and no other document names one that it doesn't."""

from __future__ import annotations

from tests.architecture.known_settings import NAME, known_settings
from tests.architecture.source_tree import project_files, read

REFERENCE = "docs/settings.md"
# Read by the tests and the Makefile, not by the services.
OUTSIDE_THE_CODE = {"OSTINATO_TEST_DATABASE_URL"}


def documented(text: str) -> set[str]:
    return set(NAME.findall(text))


def test_every_setting_is_documented() -> None:
    assert "OSTINATO_DATABASE_URL" in known_settings()
    assert known_settings() - documented(read(REFERENCE)) == set()


def test_every_setting_that_is_documented_exists() -> None:
    pages = [name for name in project_files() if name.endswith(".md") or name.startswith("deploy/")]
    known = known_settings() | OUTSIDE_THE_CODE
    assert {page: unknown for page in pages if (unknown := documented(read(page)) - known)} == {}


def test_a_misspelt_setting_is_found() -> None:
    assert documented("set `OSTINATO_DATABSE_URL` first") - known_settings() == {"OSTINATO_DATABSE_URL"}
