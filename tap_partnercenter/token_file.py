"""Refresh tokens in a file, which processes on one machine can share."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from typing_extensions import override

from tap_partnercenter.errors import PartnerCenterError
from tap_partnercenter.token_store import Lock, NotLockable, NotStored, TokenStore

if TYPE_CHECKING:
    from collections.abc import Iterator


class TokenFile(TokenStore):
    """A file that only its owner can read, with an empty lock file next to it."""

    def __init__(self, path: str, lock: Lock) -> None:
        # Replace the target of a symbolic link, not the link.
        # `Path.expanduser` fails if there is no such home folder.
        self._path = Path(os.path.realpath(os.path.expanduser(path)))  # noqa: PTH111
        self.place = str(self._path)
        self._waiting = lock
        # It logs each attempt to lock at DEBUG.
        logging.getLogger("filelock").setLevel(logging.INFO)
        self._lock = FileLock(
            f"{self._path}.lock",
            mode=0o600,
            blocking=False,
            fallback_to_soft=False,
            thread_local=False,
        )

    @override
    @contextmanager
    def locked(self) -> Iterator[None]:
        # The lock would create a missing folder, which `write` reports instead.
        if not os.access(self._path.parent, os.W_OK):
            yield
            return
        with self._waiting.held(self._acquire, self._release):
            yield

    def _acquire(self) -> bool:
        try:
            self._lock.acquire()
        except Timeout:
            return False
        except OSError as error:
            raise NotLockable(error.strerror or type(error).__name__) from None
        return True

    def _release(self) -> None:
        with contextlib.suppress(OSError):
            self._lock.release()

    @override
    def read(self) -> bytes | None:
        path = self._path
        try:
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                # Reading a pipe may never end, and replacing a device would break the machine.
                message = f"token_cache_path: {path} is not a file. Set another path."
                raise PartnerCenterError(message)
            if os.name == "posix" and stat.S_ISREG(mode) and mode & 0o077:
                message = (
                    f"token_cache_path: others may read {path}. Run chmod 600 on it; if somebody "
                    "could have read it, consent again."
                )
                raise PartnerCenterError(message)
            # An empty file, left by `touch` or a full disk, contains nothing to lose.
            return path.read_bytes() or None
        except FileNotFoundError:
            return None
        except OSError as error:
            denied = isinstance(error, PermissionError)
            remedy = "Make the user of this process its owner" if denied else "Delete it"
            message = (
                f"token_cache_path: {path} cannot be used ({error.strerror}). {remedy}, or set "
                "another path."
            )
            raise PartnerCenterError(message) from None

    @override
    def write(self, document: bytes) -> None:
        # Atomic, so that no crash leaves a partial token.
        path = self._path
        try:
            # `mkstemp` creates the file with mode 0600.
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    self._keep_owner(handle)
                    file.write(document)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as error:
            raise NotStored(error.strerror or type(error).__name__) from None

    def _keep_owner(self, handle: int) -> None:
        """Give a new file the owner of the old one: root may run the tap of another user once."""
        if os.name == "posix":
            with contextlib.suppress(OSError):  # there is no old one, or this user may not
                old = self._path.stat()
                os.fchown(handle, old.st_uid, old.st_gid)
