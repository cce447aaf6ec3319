"""Where refresh tokens are stored between runs: what a store can do, and how to wait for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from tap_partnercenter.errors import PartnerCenterError, requires_extra

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tap_partnercenter.clock import Clock

#: Longest wait, in seconds, for another process to sign in; a hanging one may hold the lock.
MAX_WAIT = 120.0
#: Seconds after which a wait is logged.
_LOG_WAIT_AFTER = 5.0
#: Seconds between attempts to take the lock.
_POLL = 0.05


class NotStored(Exception):
    """A store cannot be written. The message is the reason, in a few words."""


class NotLockable(Exception):
    """A store does not support locks. The message is the reason, in a few words."""


class TokenStore(Protocol):
    """Keeps one document between runs. Any other kind of store must implement this.

    Attributes:
        place: Where the document is, for the operator.
    """

    place: str

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out while one of them signs in, as far as possible."""

    def read(self) -> bytes | None:
        """Return the document, None if there is none.

        Raises:
            PartnerCenterError: If it cannot be read.
        """

    def write(self, document: bytes) -> None:
        """Replace the document atomically.

        Raises:
            NotStored: If it cannot be stored; the old one is still there.
        """


class Lock:
    """Waits for the lock of a store; after a time-out, or without locks, continues regardless."""

    def __init__(self, max_wait: float, *, clock: Clock, logger: logging.Logger) -> None:
        """Wait for at most this many seconds, over all waits together."""
        self._max_wait = min(MAX_WAIT, max_wait)
        self._clock = clock
        self._logger = logger

    @contextmanager
    def held(self, acquire: Callable[[], bool], release: Callable[[], None]) -> Iterator[None]:
        """Hold a lock.

        Args:
            acquire: Tries once; raises NotLockable if there is no lock.
            release: Releases it.
        """
        held = self._acquire(acquire)
        try:
            yield
        finally:
            if held:
                release()

    def _acquire(self, acquire: Callable[[], bool]) -> bool:
        began = self._clock.monotonic()
        logged = False
        while True:
            try:
                if acquire():
                    return True
            except NotLockable as error:
                self._logger.warning(
                    "token_cache_path cannot be locked (%s): if two processes sign in at the same "
                    "moment, one may lose its new refresh token.",
                    error,
                )
                return False
            waited = self._clock.monotonic() - began
            if waited >= self._max_wait:
                if self._max_wait:
                    self._logger.warning(
                        "Another process has held the lock of token_cache_path for %.0f s, so the "
                        "tap continues without it. Check whether that process hangs.",
                        waited,
                    )
                # The next sign-in of this run need not wait again.
                self._max_wait = 0.0
                return False
            if waited >= _LOG_WAIT_AFTER and not logged:
                logged = True
                self._logger.info("Waiting for another process to sign in (token_cache_path)")
            self._clock.wait(_POLL)


class EncryptedStore(TokenStore):
    """Encrypts the document of another store, whose readers cannot read it."""

    def __init__(self, store: TokenStore, keys: str) -> None:
        """Encrypt with the first of the keys, and decrypt with any.

        Raises:
            PartnerCenterError: If the library is missing.
        """
        with requires_extra("database", "token_cache_key"):
            from cryptography.fernet import Fernet, InvalidToken, MultiFernet  # noqa: PLC0415
        self._store = store
        self.place = store.place
        self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.split(",")])
        self._invalid = InvalidToken

    @override
    def locked(self) -> AbstractContextManager[None]:
        return self._store.locked()

    @override
    def read(self) -> bytes | None:
        document = self._store.read()
        if document is None:
            return None
        try:
            return self._fernet.decrypt(document)
        except self._invalid:
            message = (
                f"token_cache_path: {self.place} was not encrypted with token_cache_key. Set the "
                "key that it was encrypted with, or delete it and sign in again."
            )
            raise PartnerCenterError(message) from None

    @override
    def write(self, document: bytes) -> None:
        self._store.write(self._fernet.encrypt(document))
