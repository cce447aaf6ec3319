"""PostgreSQL under root: who runs it, and a place that this user can reach.

PostgreSQL refuses to run as root, so root hands its server over to `nobody`. Containers often have
their checkouts below a folder that only root may enter. Database and programs then lie in a folder
of their own, to which a link leads from where the database would have been.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import Any

UNPRIVILEGED = "nobody"
ELSEWHERE = Path("/var/tmp")  # noqa: S108 - only ever the place of folders with random names
PREFIX = "partnercenter-demo-"


def owner() -> dict[str, Any]:
    """Who runs the server, as options of `subprocess`: none unless this is root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def hand_over(folder: Path) -> None:
    """Give a folder to who runs the server."""
    user = owner()
    if user:
        os.chown(folder, user["user"], user["group"])


def make(database: Path, installation: Path) -> None:
    """Make an empty folder for the data, and see to it that the server can use both.

    Args:
        database: The folder to make; a link if the server could not reach it.
        installation: Folder of the wheel's programs, two levels below that of the packages.
    """
    if not owner() or (_open_to_all(database.parent) and _open_to_all(installation / "bin")):
        database.mkdir(mode=0o700)
        hand_over(database)
        return
    elsewhere = Path(tempfile.mkdtemp(prefix=PREFIX, dir=ELSEWHERE))
    elsewhere.chmod(0o711)
    # The programs find their libraries by the way from one folder to the other.
    packages = installation.parents[1]
    libraries = f"{installation.parent.name}.libs"
    for folder in (installation.relative_to(packages), Path(libraries)):
        if (packages / folder).is_dir():
            shutil.copytree(packages / folder, elsewhere / folder, symlinks=True)
    for path in elsewhere.rglob("*"):
        mode = path.lstat().st_mode
        if not path.is_symlink():
            path.chmod(mode | (mode >> 6) & 0o5)
    data = elsewhere / database.name
    data.mkdir(mode=0o700)
    hand_over(data)
    database.symlink_to(data)


def remove(database: Path) -> None:
    """Remove a folder of data and, if it lies elsewhere, all that went there."""
    if not database.is_symlink():
        shutil.rmtree(database, ignore_errors=True)
        return
    elsewhere = database.readlink().parent
    if elsewhere.parent == ELSEWHERE and elsewhere.name.startswith(PREFIX):
        shutil.rmtree(elsewhere, ignore_errors=True)
    database.unlink()


def programs(database: Path, installation: Path) -> Path:
    """Find the programs that go with a database: the copies next to it, or the wheel's."""
    if not database.is_symlink():
        return installation
    return database.readlink().parent / installation.relative_to(installation.parents[1])


def _open_to_all(folder: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (folder.resolve(), *folder.resolve().parents))
