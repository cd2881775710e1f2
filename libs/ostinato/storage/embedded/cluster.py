"""A new data directory (`initdb`), and the passwords of its roles."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ostinato.errors import FailedPrecondition
from ostinato.storage.embedded.binaries import Binaries
from ostinato.storage.embedded.placement import Identity
from ostinato.storage.embedded.private_file import handed_over, write_private


@dataclass(frozen=True, slots=True)
class Passwords:
    """Of the superuser, of the role that owns the schema, and of the one that the services use."""

    superuser: str
    owner: str
    runtime: str


def load_passwords(home: Path, data: Path) -> Passwords:
    """The kept ones; new ones where there is no data yet."""
    path = home / "passwords.json"
    if path.exists():
        return Passwords(**json.loads(path.read_text(encoding="utf-8")))
    if data.exists():
        raise FailedPrecondition(f"{path} is missing, so nobody can log in to the server whose data is {data}")
    fresh = Passwords(secrets.token_hex(24), secrets.token_hex(24), secrets.token_hex(24))
    write_private(path, json.dumps(asdict(fresh)))
    return fresh


def init_cluster(data: Path, binaries: Binaries, identity: Identity | None, *, password: str, sync: bool) -> None:
    """Made aside and renamed: an interrupted attempt leaves nothing that looks like a data directory."""
    scratch = data.with_name("data.new")
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(mode=0o700)
    owner = (identity.uid, identity.gid) if identity else None
    if owner is not None:
        os.chown(scratch, *owner)
    with handed_over(data.with_name("initdb-password"), password, owner) as password_file:
        _run_initdb(binaries, identity, scratch, password_file, sync=sync)
    scratch.rename(data)


def require_same_version(data: Path, binaries: Binaries) -> None:
    made_by = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    if made_by != str(binaries.major):
        raise FailedPrecondition(
            f"{data} was made by PostgreSQL {made_by}, which version {binaries.major} in {binaries.folder} can't read"
        )


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Without PGDATA, PGPORT and their like, without secrets of ours, and without the user's locale."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("PG", "LC_", "OSTINATO_"))}
    return {**kept, "LC_ALL": "C"}


def _run_initdb(binaries: Binaries, identity: Identity | None, data: Path, password_file: Path, *, sync: bool) -> None:
    arguments = [f"--pgdata={data}", f"--pwfile={password_file}", *([] if sync else ["--no-sync"])]
    arguments += ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
    done = subprocess.run(
        [binaries.folder / "initdb", *arguments],
        check=False,
        cwd="/",
        env=server_environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **(identity.popen_options() if identity else {}),
    )
    if done.returncode != 0:
        raise FailedPrecondition(f"initdb failed: {done.stdout.strip()}")
