"""Where the newest refresh token outlives a run: a file, which processes may share.

Each sign-in is answered with a new refresh token. The service does not revoke the one before, and
says that it may ("Refresh tokens in the Microsoft identity platform"); so a token is redeemed and
its successor stored before another process reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tap_partnercenter.errors import PartnerCenterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from filelock import BaseFileLock

    from tap_partnercenter.clock import Clock
    from tap_partnercenter.settings import Settings

#: Longest wait, in seconds, for another process to sign in; one that hangs may hold the lock.
LONGEST_WAIT = 120.0
#: Seconds after which a wait is worth a line.
_LONG_WAIT = 5.0
#: Seconds between two looks at the lock.
_POLL = 0.05


class RefusedToken(PartnerCenterError):
    """A refresh token is not accepted; another one may be.

    Attributes:
        answer: Status and error of the answer.
    """

    def __init__(self, message: str, answer: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.answer = answer


class TokenStore(Protocol):
    """Keeps one refresh token from run to run. Another kind of store needs these three as well."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out, as far as that is possible, while one of them signs in."""

    def read(self) -> str | None:
        """Return the token, or None if there is none that descends from the configured one.

        Raises:
            PartnerCenterError: If nobody can tell.
        """

    def write(self, refresh_token: str) -> None:
        """Replace the token in one step.

        Raises:
            OSError: If it cannot be kept.
        """


class RefreshTokens:
    """Redeems the newest refresh token that is accepted, and keeps its successor."""

    def __init__(
        self,
        configured: str | None,
        store: TokenStore | None,
        logger: logging.Logger,
    ) -> None:
        """Begin with the configured token; without one the tap is app-only."""
        self._configured = configured
        self._store = store
        self._logger = logger
        self._newest = configured
        self._stored: str | None = None
        #: Whether the newest token could not be stored.
        self._unsaved = False

    def redeem(self, ask: Callable[[str | None], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Sign in once.

        Args:
            ask: Asks the token endpoint, with this refresh token or as an app alone.

        Returns:
            The endpoint's answer.

        Raises:
            PartnerCenterError: If no token is accepted, the first one's reason; or as `ask` does.
        """
        if self._configured is None:
            return ask(None)
        refused: dict[str, RefusedToken] = {}
        with nullcontext() if self._store is None else self._store.locked():
            while token := next((t for t in self._candidates() if t not in refused), None):
                try:
                    answer = ask(token)
                except RefusedToken as error:
                    refused[token] = error
                    continue
                if refused and token == self._configured:
                    self._logger.warning(
                        "The refresh token in token_cache_path is not accepted (%s). The "
                        "configured one is, and replaces it.",
                        next(iter(refused.values())).answer,
                    )
                self._keep(answer.get("refresh_token") or token)
                return answer
        raise next(iter(refused.values()))

    def _candidates(self) -> Iterator[str]:
        """The tokens that may be accepted, the newest first.

        The store is read again after each refusal: a process without the lock may have written.
        """
        if self._unsaved or self._store is None:
            yield str(self._newest)
        if self._store is None:
            return
        self._stored = self._store.read()
        if self._stored is not None:
            yield self._stored
        yield from (str(self._newest), str(self._configured))

    def _keep(self, newest: object) -> None:
        """Use a token from now on, and store it where the operator wants that."""
        if not isinstance(newest, str):
            return
        self._newest = newest
        if self._store is None or newest == (self._stored or self._configured):
            return
        try:
            self._store.write(newest)
        except OSError as error:
            # The token in hand is good: a full disk is no reason to lose the night's run.
            self._unsaved = True
            self._logger.warning(
                "The new refresh token could not be kept in token_cache_path: %s. Check the "
                "path before the token in use grows 90 days old.",
                error.strerror or type(error).__name__,
            )
        else:
            self._unsaved = False


class TokenFile:
    """Keeps the token in a file that only its owner may read, with an empty lock file beside it."""

    def __init__(
        self,
        path: str,
        settings: Settings,
        *,
        clock: Clock,
        logger: logging.Logger,
    ) -> None:
        """Touch nothing yet."""
        # It takes a third as long to import as the rest of the tap, and is needed here alone.
        from filelock import FileLock, Timeout  # noqa: PLC0415

        # What a symbolic link leads to is replaced, and not the link.
        self._path = Path(os.path.realpath(Path(path).expanduser()))
        self._origin = _origin_of(settings)
        self._clock = clock
        self._logger = logger
        self._longest_wait = min(LONGEST_WAIT, settings.max_retry_seconds)
        self._busy = Timeout
        # It would tell at DEBUG of each look at the lock.
        logging.getLogger("filelock").setLevel(logging.INFO)
        self._lock: BaseFileLock = FileLock(
            f"{self._path}.lock",
            mode=0o600,
            blocking=False,
            fallback_to_soft=False,
            thread_local=False,
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, or after a while, and where the file system has none, go on without."""
        held = self._acquire()
        try:
            yield
        finally:
            if held:
                with contextlib.suppress(OSError):
                    self._lock.release()

    def _acquire(self) -> bool:
        # The lock would make a folder that is missing; `write` says that it is.
        if not os.access(self._path.parent, os.W_OK):
            return False
        began = self._clock.monotonic()
        told = False
        while True:
            try:
                self._lock.acquire()
            except self._busy:
                waited = self._clock.monotonic() - began
            except (OSError, NotImplementedError) as error:
                self._logger.warning(
                    "token_cache_path cannot be locked (%s): of two processes that sign in at "
                    "the same moment, one may lose its new refresh token.",
                    getattr(error, "strerror", None) or type(error).__name__,
                )
                return False
            else:
                return True
            if waited >= self._longest_wait:
                if self._longest_wait:
                    self._logger.warning(
                        "Another process has held the lock of token_cache_path for %.0f s, and is "
                        "not waited for any longer. Look whether it hangs.",
                        waited,
                    )
                # The next sign-in of this run need not wait for it again.
                self._longest_wait = 0.0
                return False
            if waited >= _LONG_WAIT and not told:
                told = True
                self._logger.info("Waiting for another process that signs in (token_cache_path)")
            self._clock.wait(_POLL)

    def read(self) -> str | None:
        """Read the file; a new token in the configuration makes the stored one obsolete.

        Raises:
            PartnerCenterError: If the file cannot be read, or others may read it.
        """
        path = self._path
        try:
            if os.name == "posix" and path.is_file() and path.stat().st_mode & 0o077:
                message = (
                    f"token_cache_path: others may read {path}. Run chmod 600 on it; if somebody "
                    "could have read it, consent again."
                )
                raise PartnerCenterError(message)
            stored = json.loads(path.read_bytes())
            if stored["origin"] == self._origin:
                return str(stored["refresh_token"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            message = (
                f"token_cache_path: {path} cannot be used ({reason}). Delete the file, or set "
                "another path."
            )
            raise PartnerCenterError(message) from None
        return None

    def write(self, refresh_token: str) -> None:
        """Replace the file in one step, so that no crash leaves half a token.

        Raises:
            OSError: If that cannot be done; the old file is still there.
        """
        path = self._path
        # `mkstemp` makes the file with mode 0600.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"origin": self._origin, "refresh_token": refresh_token}, file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise


def refresh_tokens(settings: Settings, *, clock: Clock, logger: logging.Logger) -> RefreshTokens:
    """Make what redeems the refresh tokens of a run, with the store that the settings name."""
    store: TokenStore | None = None
    if settings.token_cache_path is not None and settings.refresh_token is not None:
        store = TokenFile(settings.token_cache_path, settings, clock=clock, logger=logger)
    return RefreshTokens(settings.refresh_token, store, logger)


def _origin_of(settings: Settings) -> str:
    """Tell which configured refresh token a stored one descends from, without repeating it."""
    text = f"{settings.tenant_id} {settings.client_id} {settings.refresh_token}"
    return hashlib.sha256(text.encode()).hexdigest()
