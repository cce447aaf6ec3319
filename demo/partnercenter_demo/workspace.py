"""Where the demo keeps its files, and who may use them at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from partnercenter_demo.failure import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER = ".partnercenter-demo"
"""A file that tells a demo's folder, in which a demo may delete what it finds, from any other."""
PROJECT = Path(__file__).resolve().parents[2]
"""The checkout that this package is a part of."""


@dataclass(frozen=True)
class Workspace:
    """One folder with everything a demo leaves behind: database, Meltano's files, logs."""

    folder: Path

    @property
    def database(self) -> Path:
        """The data of the PostgreSQL server."""
        return self.folder / "postgresql"

    @property
    def database_log(self) -> Path:
        """What the PostgreSQL server had to say."""
        return self.folder / "postgresql.log"

    @property
    def meltano(self) -> Path:
        """Meltano's plugin environments and its state, apart from those of the project."""
        return self.folder / "meltano"

    @property
    def meltano_log(self) -> Path:
        """What Meltano and its plugins had to say in the last run."""
        return self.folder / "meltano.log"

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Make the folder, or find it as a demo left it, and hold it for this process alone.

        Yields:
            The descriptor of the lock. A child that inherits it keeps the folder held for as long
            as it lives, so a server that outlives a killed demo is noticed by the next one.

        Raises:
            DemoError: Another process holds the folder, or it is not a demo's.
        """
        self._claim()
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DemoError(self._holder()) from None
            yield lock
        finally:
            os.close(lock)

    def _claim(self) -> None:
        try:
            self.folder.mkdir(parents=True)
        except FileExistsError:
            held = [path.name for path in self.folder.iterdir()]
            if held and MARKER not in held:
                message = (
                    f"{self.folder} holds files that no demo made, which it would delete: give "
                    "--data a new or an empty folder (or remove this one, if an old demo made it)"
                )
                raise DemoError(message) from None
        else:
            # Under root the server is another user, who has to pass through here.
            self.folder.chmod(0o711)
        (self.folder / MARKER).touch()

    def _holder(self) -> str:
        try:
            server = (self.database / "postmaster.pid").read_text().split(maxsplit=1)[0]
        except (OSError, IndexError):
            return f"another demo uses {self.folder}: wait for it, or give --data another folder"
        return (
            f"PostgreSQL, process {server}, uses {self.folder}: leave the other demo or psql, or, "
            f"if there is none, end what a killed demo left behind with `kill -INT {server}`"
        )
