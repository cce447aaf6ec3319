"""Which refresh token is the newest, and where it is stored between runs.

Each sign-in returns a new refresh token. The service does not revoke the previous one, but says
that it may ("Refresh tokens in the Microsoft identity platform"). So a token is redeemed and its
successor stored before another process reads it. An unused token expires after 90 days.
"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from tap_partnercenter.errors import PartnerCenterError, requires_extra
from tap_partnercenter.token_store import EncryptedStore, Lock, NotStored, TokenStore

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Collection, Iterator, Mapping

    from tap_partnercenter.clock import Clock
    from tap_partnercenter.settings import Settings

_DAY = 86_400.0
#: Lifetime of a refresh token in seconds, from when it was issued.
REFRESH_TOKEN_LIFETIME = 90 * _DAY
#: Seconds before its expiry from which a run warns of it.
WARN_BEFORE = 14 * _DAY


class RefusedToken(PartnerCenterError):
    """A refresh token is not accepted; another one may be.

    Attributes:
        reason: Status and error of the response.
    """

    def __init__(self, message: str, reason: str, *, final: bool) -> None:
        super().__init__(message, final=final)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A refresh token in a store.

    Attributes:
        refresh_token: The token.
        since: When its chain began, with a configured token or a login: seconds since the epoch.
        issued_at: When this token was issued.
    """

    refresh_token: str
    since: float
    issued_at: float


@dataclass(frozen=True, slots=True)
class _Document:
    """What a store holds: tokens by the configured token that they are derived from."""

    tokens: dict[str, StoredToken]


class TokenCache:
    """The tokens of a store: one for each configured token, and one for the last login.

    Configured tokens never overwrite each other's, even if they share a store.
    """

    def __init__(self, store: TokenStore, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._login = origin_of(settings, None)
        self._own = origin_of(settings, settings.refresh_token)
        self.locked = store.locked

    def read(self) -> list[StoredToken]:
        """Return the tokens that these settings may use, that of the latest chain first.

        Raises:
            PartnerCenterError: If the store holds something else.
        """
        tokens = self._read()
        own = {self._own, self._login}
        found = [token for origin, token in tokens.items() if origin in own]
        return sorted(found, key=lambda token: token.since, reverse=True)

    def includes_configured(self) -> bool:
        """Return whether the configured token was redeemed before."""
        return self._own in self._read()

    def replace(self, before: str, after: str) -> None:
        """Store the successor of a token, either a stored one or the configured one.

        Raises:
            NotStored: If it cannot be stored.
        """
        try:
            tokens = self._read()
        except PartnerCenterError as error:
            # It was there before the sign-in, whose token is valid in any case.
            raise NotStored(str(error).removeprefix("token_cache_path: ").rstrip(".")) from None
        now = self._clock.now()
        # A login stores its token twice, with and without the configured one.
        found = [origin for origin, token in tokens.items() if token.refresh_token == before]
        if found:
            changed = {o: StoredToken(after, tokens[o].since, now) for o in found}
        else:
            # The configured one, either new or because the stored one was not accepted.
            changed = {self._own: StoredToken(after, now, now)}
        if after != before or (self._own in tokens and not found):
            self._write({**tokens, **changed})

    def begin(self, refresh_token: str) -> None:
        """Store the token of a login: from now on it comes first.

        Raises:
            NotStored: If it cannot be stored.
        """
        now = self._clock.now()
        token = StoredToken(refresh_token, now, now)
        with self.locked():
            self._write({**self._read(), self._own: token, self._login: token})

    def _read(self) -> dict[str, StoredToken]:
        document = self._store.read()
        if document is None:
            return {}
        try:
            return msgspec.json.decode(document, type=_Document).tokens
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            message = (
                f"token_cache_path: {self._store.place} cannot be used ({type(error).__name__}). "
                "Delete it, or set another path."
            )
            raise PartnerCenterError(message) from None

    def _write(self, tokens: Mapping[str, StoredToken]) -> None:
        oldest = self._clock.now() - REFRESH_TOKEN_LIFETIME
        kept = {origin: token for origin, token in tokens.items() if token.issued_at > oldest}
        self._store.write(msgspec.json.encode(_Document(kept)))


class RefreshTokens:
    """Redeems the newest refresh token that is accepted, and stores its successor."""

    def __init__(
        self,
        configured: str | None,
        cache: TokenCache | None,
        *,
        clock: Clock,
        logger: logging.Logger,
    ) -> None:
        self._configured = configured
        self._cache = cache
        self._clock = clock
        self._logger = logger
        self._newest = configured
        #: Whether this run has signed in before.
        self._redeemed = False
        #: The token that the store still holds because the newest could not be stored.
        self._outdated: str | None = None
        self._issued: dict[str, float] = {}

    @cached_property
    def app_only(self) -> bool:
        """Whether there is no refresh token, either configured or stored by a login."""
        try:
            return self._configured is None and not (self._cache and self._cache.read())
        except PartnerCenterError:
            # Redeeming it will raise the reason.
            return False

    @property
    def expires_at(self) -> datetime | None:
        """When the newest token expires unless it is used, None if that is unknown."""
        issued = self._issued.get(str(self._newest))
        return (
            None if issued is None else datetime.fromtimestamp(issued + REFRESH_TOKEN_LIFETIME, UTC)
        )

    @property
    def is_stored(self) -> bool:
        """Whether the newest token is stored for later runs."""
        return self._cache is not None and self._outdated is None

    def redeem(self, request: Callable[[str | None], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Sign in once.

        Args:
            request: Requests a token, with this refresh token or as an app without a user.

        Returns:
            The endpoint's response.

        Raises:
            PartnerCenterError: If no token is accepted, with the first reason, or by `request`.
        """
        if self.app_only:
            return request(None)
        refused: dict[str, RefusedToken] = {}
        with nullcontext() if self._cache is None else self._cache.locked():
            while token := next((t for t in self._candidates(refused) if t not in refused), None):
                try:
                    response = request(token)
                except RefusedToken as error:
                    refused[token] = error
                    continue
                if refused and token == self._configured:
                    self._logger.warning(
                        "The refresh token in token_cache_path is not accepted (%s). The "
                        "configured one is, and replaces it.",
                        next(iter(refused.values())).reason,
                    )
                elif self._configured in refused:
                    self._logger.warning(
                        "The configured refresh token is not accepted (%s). The one from "
                        "tap-partnercenter-login is: remove the setting refresh_token.",
                        refused[self._configured].reason,
                    )
                self._save(token, response.get("refresh_token") or token)
                return response
        raise next(iter(refused.values()))

    def _candidates(self, refused: Collection[str]) -> Iterator[str]:
        """The tokens that may be accepted, the newest first.

        The store is read again after each refusal: a process without the lock may have written.
        """
        if self._outdated is not None or self._cache is None:
            yield str(self._newest)
        if self._cache is None:
            return
        try:
            stored = [*self._stored(self._cache)]
        except PartnerCenterError as error:
            # It could be read before: its absence is no reason to abort a run of many hours.
            if not self._redeemed or self._newest in refused:
                raise
            self._logger.warning("%s The run continues with the token that it has.", error)
        else:
            yield from stored
        yield from (token for token in (self._newest, self._configured) if token is not None)

    def _stored(self, cache: TokenCache) -> Iterator[str]:
        """The tokens in the store, after those that are newer."""
        if self._configured is not None and not cache.includes_configured():
            # It was added to the configuration, so it is newer than the stored ones.
            yield str(self._newest)
        for stored in cache.read():
            self._issued[stored.refresh_token] = stored.issued_at
            yield stored.refresh_token

    def _save(self, before: str, newest: object) -> None:
        """Use a token from now on, and store it where configured."""
        if not isinstance(newest, str):
            return
        if newest != before:
            self._issued[newest] = self._clock.now()
        if before == self._newest:
            before = self._outdated or before
        self._newest, self._redeemed = newest, True
        if self._cache is None:
            return
        try:
            self._cache.replace(before, newest)
        except NotStored as error:
            # The current token is valid: a full disk is no reason to abort the run.
            self._outdated = before
            self._logger.warning(
                "The new refresh token could not be stored in token_cache_path: %s. Fix the path "
                "before the token in use is 90 days old.",
                error,
            )
        else:
            self._outdated = None
        self._warn(self._outdated or newest)

    def save_again(self) -> None:
        """Store the newest token if that has failed: a database may be back by now."""
        if self._cache is None or self._outdated is None:
            return
        with self._cache.locked(), suppress(NotStored):
            self._cache.replace(self._outdated, str(self._newest))
            self._logger.info("The new refresh token could be stored in token_cache_path after all")

    def _warn(self, remaining: str) -> None:
        """Warn when the token that the next run will use expires soon."""
        issued = self._issued.get(remaining)
        if issued is None or self._clock.now() < issued + REFRESH_TOKEN_LIFETIME - WARN_BEFORE:
            return
        self._logger.warning(
            "The stored refresh token expires on %s. Sign in again with tap-partnercenter-login "
            "before then, or make token_cache_path writable.",
            f"{datetime.fromtimestamp(issued + REFRESH_TOKEN_LIFETIME, UTC):%Y-%m-%d}",
        )


def token_cache(settings: Settings, *, clock: Clock, logger: logging.Logger) -> TokenCache | None:
    """Create the cache that is configured, None if there is none.

    Raises:
        PartnerCenterError: If a library for it is missing.
    """
    path = settings.token_cache_path
    if path is None:
        return None
    lock = Lock(settings.max_retry_seconds, clock=clock, logger=logger)
    store: TokenStore
    if "://" in path:
        with requires_extra("database", "A database in token_cache_path"):
            from tap_partnercenter.token_database import TokenTable  # noqa: PLC0415

            store = TokenTable(path, account_of(settings), lock, settings.request_timeout)
    else:
        # Importing filelock takes a third as long as the rest of the tap.
        from tap_partnercenter.token_file import TokenFile  # noqa: PLC0415

        store = TokenFile(path, lock)
    if settings.token_cache_key is not None:
        store = EncryptedStore(store, settings.token_cache_key)
    return TokenCache(store, settings, clock)


def account_of(settings: Settings) -> str:
    """Return the name of a tenant and its app in a store."""
    return hashlib.sha256(f"{settings.tenant_id} {settings.client_id}".encode()).hexdigest()


def origin_of(settings: Settings, refresh_token: str | None) -> str:
    """Identify the configured token that a stored one is derived from, without revealing it."""
    text = f"{settings.tenant_id} {settings.client_id} {refresh_token}"
    return hashlib.sha256(text.encode()).hexdigest()
