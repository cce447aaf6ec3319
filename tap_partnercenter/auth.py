"""Access tokens from Microsoft Entra ID: app-only and app+user, one refresh at a time.

Facts are from "Partner Center authentication" and "Refresh tokens in the Microsoft identity
platform".
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase
from typing_extensions import override

from tap_partnercenter.entra_errors import PUBLIC, TEMPORARY, refusal_in
from tap_partnercenter.errors import ConnectionFailed, PartnerCenterError, TryAgain, requires_extra
from tap_partnercenter.outcomes import Outcome, Rule
from tap_partnercenter.token_cache import RefreshTokens, RefusedToken, TokenCache, token_cache
from tap_partnercenter.transport import UnreadableBody, decode, read_body

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from tap_partnercenter.certificate import Certificate
    from tap_partnercenter.clock import Clock
    from tap_partnercenter.retry import RetryPolicy
    from tap_partnercenter.settings import Settings
    from tap_partnercenter.transport import Transport

#: Seconds before its expiry from which a token is no longer used. Microsoft's own tools take 30 to
#: 300.
MARGIN = 300.0
#: Assumed lifetime of a token in seconds, if the response does not say.
UNNAMED_LIFETIME = 600.0

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_BUSY = Rule(
    Outcome.RETRY, meaning="the token endpoint is not available", remedy="Try again later."
)
_NO_TOKEN = Rule(
    Outcome.RETRY,
    meaning="the token endpoint sent no token",
    remedy="Check auth_url, and that no proxy responds in its place.",
)


@dataclass(frozen=True, slots=True)
class _Token:
    """An access token and the moment from which it is no longer used."""

    value: str
    stale_at: float


class TokenAuthenticator(AuthBase):
    """Signs requests with an access token; the first request, and each after its expiry, gets one.

    Threads that need a token at the same moment wait for the one that requests it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: Transport,
        retry_policy: RetryPolicy,
        clock: Clock,
        logger: logging.Logger,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self.certificate: Certificate | None = None
        cache: TokenCache | None = None
        self._failed: PartnerCenterError | None = None
        try:
            self.certificate = certificate_of(settings, clock)
            cache = token_cache(settings, clock=clock, logger=logger)
        except PartnerCenterError as error:
            # The first request raises it, before anything is sent.
            self._failed = error
        self.refresh_tokens = RefreshTokens(
            settings.refresh_token, cache, clock=clock, logger=logger
        )
        #: Whether the refresh token is that of a public client, which presents no secret.
        self._public = False
        self._requested_pause = retry_policy.requested_pause
        self._fetch: Callable[[], Mapping[str, Any]] = retry_policy.with_retries(
            partial(self.refresh_tokens.redeem, self._redeem)
        )
        self._lock = threading.Lock()
        self._token: _Token | None = None

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the Authorization header; raises what :meth:`current` raises."""
        r.headers["Authorization"] = f"Bearer {self.current()}"
        return r

    def reject(self, request: requests.PreparedRequest) -> None:
        """Drop the token of a request that the API did not accept, unless a newer one is there."""
        refused = request.headers.get("Authorization")
        with self._lock:
            if self._token is not None and refused == f"Bearer {self._token.value}":
                self._token = None

    def close(self) -> None:
        """Store the newest refresh token if that has failed, unless a thread is signing in."""
        if self._lock.acquire(blocking=False):
            try:
                self.refresh_tokens.save_again()
            finally:
                self._lock.release()

    def current(self) -> str:
        """Return a token that is valid for a while.

        Raises:
            PartnerCenterError: If there is none.
        """
        token = self._token
        if token is not None and self._clock.monotonic() < token.stale_at:
            return token.value
        with self._lock:
            # Another thread may have fetched one, or failed to, while this one waited.
            if self._failed is not None:
                raise self._failed
            token = self._token
            if token is None or self._clock.monotonic() >= token.stale_at:
                try:
                    token = self._token = self._sign_in()
                except PartnerCenterError as error:
                    self._failed = error
                    raise
            return token.value

    def _sign_in(self) -> _Token:
        asked_at = self._clock.monotonic()
        try:
            document = self._fetch()
        except TryAgain as error:
            message = f"sign-in: {error.reason}, after all retries. {error.rule.remedy}"
            raise ConnectionFailed(message) from None
        lifetime = _seconds(document.get("expires_in"))
        # A token that lives shorter than twice the margin is used for half of its life.
        return _Token(document["access_token"], asked_at + max(lifetime - MARGIN, lifetime / 2))

    def _redeem(self, refresh_token: str | None) -> Mapping[str, Any]:
        """Send one request to the token endpoint."""
        endpoint = f"{self._settings.auth_url}/{self._settings.tenant_id}/oauth2/v2.0/token"
        form = {
            "client_id": self._settings.client_id,
            "scope": f"{self._settings.cloud.resource}/.default",
        }
        if self.certificate is not None and not self._public:
            form["client_assertion_type"] = ASSERTION_TYPE
            form["client_assertion"] = self.certificate.assertion(endpoint)
        elif not self._public:
            form["client_secret"] = str(self._settings.client_secret)
        if refresh_token is None:
            form["grant_type"] = "client_credentials"
        else:
            form["grant_type"] = "refresh_token"
            form["refresh_token"] = refresh_token
            # Without it the response has no new refresh token.
            form["scope"] += " offline_access"
        request = requests.Request(
            "POST",
            endpoint,
            headers={"Accept": "application/json", "User-Agent": self._settings.user_agent},
            data=form,
        ).prepare()
        response = self._transport.send(request, "auth_url")
        try:
            body = read_body(response)
        except UnreadableBody as error:
            reason = f"the token endpoint returned HTTP {response.status_code} with {error}"
            raise TryAgain(_BUSY, reason) from None
        try:
            document = decode(body)
        except UnreadableBody:
            document = {}
        token = document.get("access_token")
        if response.status_code == HTTPStatus.OK and isinstance(token, str) and _is_header(token):
            return document
        if not self._public and refresh_token and refusal_in(document).number == PUBLIC:
            # Issued for a device code, as to a public client.
            self._public = True
            return self._redeem(refresh_token)
        raise self._failure(response, document)

    def _failure(self, response: requests.Response, document: Mapping[str, Any]) -> Exception:
        refusal = refusal_in(document)
        what = f"HTTP {response.status_code} {refusal}".strip()
        status = response.status_code
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            reason = f"the token endpoint returned {what} without an access token"
            return TryAgain(_NO_TOKEN, reason, retry_after=self._requested_pause(response))
        if (
            status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
            or not HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
            or refusal.error in TEMPORARY
        ):
            reason = f"the token endpoint returned {what}"
            return TryAgain(_BUSY, reason, retry_after=self._requested_pause(response))
        message = f"sign-in: the token endpoint returned {what}. {refusal.remedy} Not retried."
        if refusal.error == "invalid_grant":
            return RefusedToken(message, what, final=refusal.is_final)
        return PartnerCenterError(message, final=refusal.is_final)


def certificate_of(settings: Settings, clock: Clock) -> Certificate | None:
    """Read the certificate that the settings name, None for none.

    Raises:
        PartnerCenterError: If it cannot be used.
    """
    if settings.client_certificate_path is None:
        return None
    with requires_extra("certificate", "client_certificate_path"):
        from tap_partnercenter.certificate import read_certificate  # noqa: PLC0415
    # `Path.expanduser` fails if there is no such home folder.
    path = Path(os.path.expanduser(settings.client_certificate_path))  # noqa: PTH111
    password = settings.client_certificate_password
    return read_certificate(path, password, settings.client_id, clock)


def _is_header(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable()


def _seconds(expires_in: object) -> float:
    """Read `expires_in`: a number from the v2.0 endpoint, a string from v1."""
    try:
        seconds = float(expires_in)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return UNNAMED_LIFETIME
    return seconds if 0 < seconds < float("inf") else UNNAMED_LIFETIME
