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
        """Make the folder and hold it for this process alone.

        Yields:
            The descriptor of the lock. A child that inherits it keeps the folder held for as long
            as it lives, so a server that outlives a killed demo is noticed by the next one.

        Raises:
            DemoError: Another process holds the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # Under root the server is another user, who has to pass through here.
        self.folder.chmod(0o711)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DemoError(self._holder()) from None
            yield lock
        finally:
            os.close(lock)

    def _holder(self) -> str:
        try:
            server = (self.database / "postmaster.pid").read_text().split(maxsplit=1)[0]
        except (OSError, IndexError):
            return f"another demo uses {self.folder}: wait for it, or give --data another folder"
        return (
            f"PostgreSQL, process {server}, uses {self.folder}: leave the other demo or psql, or, "
            f"if there is none, end what a killed demo left behind with `kill -INT {server}`"
        )
