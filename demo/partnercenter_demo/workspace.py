"""Where the demo keeps its files, and locking for one process at a time."""

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
"""A file that marks a demo's folder, whose contents a demo may delete."""
PROJECT = Path(__file__).resolve().parents[2]
"""The checkout that contains this package."""


@dataclass(frozen=True)
class Workspace:
    """One folder with all files of a demo: database, Meltano's files, logs."""

    folder: Path

    @property
    def database(self) -> Path:
        """The data of the PostgreSQL server."""
        return self.folder / "postgresql"

    @property
    def database_log(self) -> Path:
        """The log of the PostgreSQL server."""
        return self.folder / "postgresql.log"

    @property
    def meltano(self) -> Path:
        """Meltano's plugin environments and state, separate from those of the project."""
        return self.folder / "meltano"

    @property
    def meltano_log(self) -> Path:
        """The log of Meltano and its plugins in the last run."""
        return self.folder / "meltano.log"

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Create the folder, or reuse that of a demo, and lock it for this process.

        Yields:
            The descriptor of the lock. A child that inherits it keeps the folder locked for as long
            as it lives, so the next demo notices a server that outlived a killed one.

        Raises:
            DemoError: Another process has locked the folder, or it does not belong to a demo.
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
                    f"{self.folder} contains files that the demo did not create and would delete: "
                    "give --data a new or empty folder (or remove this one, if an old demo made it)"
                )
                raise DemoError(message) from None
        else:
            # Under root the server runs as another user, who must be able to pass through.
            self.folder.chmod(0o711)
        (self.folder / MARKER).touch()

    def _holder(self) -> str:
        try:
            server = (self.database / "postmaster.pid").read_text().split(maxsplit=1)[0]
        except (OSError, IndexError):
            return f"another demo uses {self.folder}: wait for it, or give --data another folder"
        return (
            f"PostgreSQL, process {server}, uses {self.folder}: quit the other demo or psql. "
            f"If there is none, stop what a killed demo left running with `kill -INT {server}`"
        )
