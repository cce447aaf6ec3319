"""PostgreSQL under root: the user who runs it, and a place that this user can reach.

PostgreSQL refuses to run as root, so root runs its server as `nobody`. In containers, checkouts are
often in a folder that only root can enter. Database and programs are then put in a folder of their
own, and a link replaces the usual folder of the database.
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
    """Return the user of the server, as options of `subprocess`: none unless this is root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def hand_over(folder: Path) -> None:
    """Make the server's user the owner of a folder."""
    user = owner()
    if user:
        os.chown(folder, user["user"], user["group"])


def make(database: Path, installation: Path) -> None:
    """Create an empty folder for the data, and make sure the server can use it and its programs.

    Args:
        database: The folder to create; a link if the server could not reach it.
        installation: Folder of the wheel's programs, two levels below that of the packages.
    """
    if not owner() or (_open_to_all(database.parent) and _open_to_all(installation / "bin")):
        database.mkdir(mode=0o700)
        hand_over(database)
        return
    elsewhere = Path(tempfile.mkdtemp(prefix=PREFIX, dir=ELSEWHERE))
    elsewhere.chmod(0o711)
    # The programs find their libraries by the relative path between the folders.
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
    """Remove a data folder and, if it is elsewhere, everything that was put there."""
    if not database.is_symlink():
        shutil.rmtree(database, ignore_errors=True)
        return
    elsewhere = database.readlink().parent
    if elsewhere.parent == ELSEWHERE and elsewhere.name.startswith(PREFIX):
        shutil.rmtree(elsewhere, ignore_errors=True)
    database.unlink()


def programs(database: Path, installation: Path) -> Path:
    """Return the programs for a database: the copies next to it, or the wheel's."""
    if not database.is_symlink():
        return installation
    return database.readlink().parent / installation.relative_to(installation.parents[1])


def _open_to_all(folder: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (folder.resolve(), *folder.resolve().parents))
