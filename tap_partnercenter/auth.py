"""Access tokens from Microsoft Entra ID: app-only and app+user, one refresh at a time.

Facts are from "Partner Center authentication", "Refresh tokens in the Microsoft identity platform"
and "Microsoft Entra authentication and authorization error codes".
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase
from typing_extensions import override

from tap_partnercenter.errors import ConnectionFailed, PartnerCenterError, TryAgain
from tap_partnercenter.outcomes import Outcome, Rule
from tap_partnercenter.retry import seconds_to_wait
from tap_partnercenter.token_cache import RefusedToken, refresh_tokens
from tap_partnercenter.transport import UnreadableBody, decode, read_body

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from tap_partnercenter.clock import Clock
    from tap_partnercenter.retry import Patience
    from tap_partnercenter.settings import Settings
    from tap_partnercenter.transport import Transport

#: Seconds before its end at which a token is no longer used. Microsoft's own tools take 30 to 300.
MARGIN = 300.0
#: Seconds a token is taken to live when the answer does not say.
UNNAMED_LIFETIME = 600.0

_CONSENT = "Consent again, with MFA, and set the new refresh_token"
_SECRET = "Create a new client secret in the app registration and set client_secret"  # noqa: S105

#: What to do about the errors of the token endpoint. The AADSTS number is more exact than `error`.
REMEDIES: Mapping[str, str] = {
    "700082": f"The refresh token expired, unused for 90 days. {_CONSENT}.",
    "70008": f"The refresh token expired. {_CONSENT}.",
    "50173": f"The refresh token was revoked, as after a password reset. {_CONSENT}.",
    "50076": f"The sign-in needs MFA. {_CONSENT}.",
    "50078": f"The MFA of the sign-in is too old for the tenant's policy. {_CONSENT}.",
    "50079": f"The user must register for MFA first. {_CONSENT}.",
    "700007": "The refresh token belongs to another app. Set the client_id it was issued for.",
    "70000": f"The refresh token is malformed, perhaps cut short. {_CONSENT}.",
    "65001": "Nobody consented to this app. Consent as a partner user, or grant admin consent.",
    "53003": "Conditional access blocks the sign-in. Exempt the app or the machine's address.",
    "7000215": f"The client secret is wrong: set its value, not its id. {_SECRET}.",
    "7000222": f"The client secret has expired. {_SECRET}.",
    "7000218": f"The client secret is missing in the request. {_SECRET}.",
    "700016": "The tenant does not know this app. Check client_id and tenant_id.",
    "90002": "There is no such tenant. Check tenant_id and cloud.",
    "9002327": "The refresh token was issued to a single-page app. Consent with a web app instead.",
    "500011": "The tenant does not know the Partner Center API. Check cloud.",
    "invalid_grant": f"The refresh token is not accepted. {_CONSENT}.",
    "interaction_required": f"The sign-in needs a person. {_CONSENT}.",
    "invalid_client": f"The app's credentials are not accepted. {_SECRET}.",
    "unauthorized_client": "The app may not sign in this way. Check client_id and tenant_id.",
    "invalid_request": "Check tenant_id, client_id and refresh_token.",
    "invalid_resource": "Check cloud.",
}
_PASSING = frozenset({"temporarily_unavailable", "server_error"})
_NAMES = _PASSING | REMEDIES.keys()
_BUSY = Rule(
    Outcome.RETRY,
    meaning="the token endpoint is not available",
    remedy="Try again later.",
)


@dataclass(frozen=True, slots=True)
class _Token:
    """An access token and the moment from which it is no longer used."""

    value: str
    stale_at: float


class TokenAuthenticator(AuthBase):
    """Signs requests with an access token, fetching one when it is needed.

    Threads that need a token at the same moment wait for the one that fetches it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: Transport,
        patience: Patience,
        clock: Clock,
        logger: logging.Logger,
    ) -> None:
        """Prepare; the first request fetches the first token."""
        self._settings = settings
        self._transport = transport
        self._clock = clock
        self._refresh_tokens = refresh_tokens(settings, clock=clock, logger=logger)
        self._fetch: Callable[[], Mapping[str, Any]] = patience.with_retries(self._ask, logger)
        self._lock = threading.Lock()
        self._token: _Token | None = None
        self._failed: PartnerCenterError | None = None

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the Authorization header.

        Raises:
            PartnerCenterError: If no token is to be had.
        """
        r.headers["Authorization"] = f"Bearer {self._current()}"
        return r

    def reject(self, request: requests.PreparedRequest) -> None:
        """Drop the token of a request that the API did not accept, unless a newer one is there."""
        refused = request.headers.get("Authorization")
        with self._lock:
            if self._token is not None and refused == f"Bearer {self._token.value}":
                self._token = None

    def _current(self) -> str:
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
            answer = self._fetch()
        except TryAgain as error:
            message = f"sign-in: {error.reason}, after all retries. {error.rule.remedy}"
            raise ConnectionFailed(message) from None
        lifetime = _seconds(answer.get("expires_in"))
        # A token that lives shorter than twice the margin is used for half of its life.
        return _Token(answer["access_token"], asked_at + max(lifetime - MARGIN, lifetime / 2))

    def _ask(self) -> Mapping[str, Any]:
        """Sign in once, with the newest refresh token that is accepted."""
        return self._refresh_tokens.redeem(self._redeem)

    def _redeem(self, refresh_token: str | None) -> Mapping[str, Any]:
        """Ask the token endpoint once.

        Raises:
            TryAgain: If another attempt may help.
            PartnerCenterError: If not.
        """
        form = {
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
            "scope": f"{self._settings.cloud.resource}/.default",
        }
        if refresh_token is None:
            form["grant_type"] = "client_credentials"
        else:
            form["grant_type"] = "refresh_token"
            form["refresh_token"] = refresh_token
            # Without it the answer holds no new refresh token.
            form["scope"] += " offline_access"
        request = requests.Request(
            "POST",
            f"{self._settings.auth_url}/{self._settings.tenant_id}/oauth2/v2.0/token",
            headers={"Accept": "application/json", "User-Agent": self._settings.user_agent},
            data=form,
        ).prepare()
        response = self._transport.send(request, "auth_url")
        try:
            body = read_body(response)
        except UnreadableBody as error:
            reason = f"the token endpoint answered HTTP {response.status_code} with {error}"
            raise TryAgain(_BUSY, reason) from None
        try:
            answer = decode(body)
        except UnreadableBody:
            answer = {}
        token = answer.get("access_token")
        if response.status_code == HTTPStatus.OK and isinstance(token, str) and _is_header(token):
            return answer
        raise self._failure(response, answer)

    def _failure(self, response: requests.Response, answer: Mapping[str, Any]) -> Exception:
        error = answer.get("error")
        # Only what is known is repeated: the rest could be anything.
        error = error if isinstance(error, str) and error in _NAMES else None
        numbers = answer.get("error_codes")
        number = str(numbers[0]) if isinstance(numbers, list) and numbers else ""
        number = number if number.isascii() and number.isdigit() else ""
        told = " ".join(
            [
                f"HTTP {response.status_code}",
                *([error] if error else []),
                *([f"AADSTS{number}"] if number else []),
            ],
        )
        status = response.status_code
        if (
            status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
            or not HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
            or error in _PASSING
        ):
            pause = seconds_to_wait(response.headers.get("Retry-After"), self._clock.now())
            return TryAgain(_BUSY, f"the token endpoint answered {told}", retry_after=pause)
        remedy = (
            REMEDIES.get(number)
            or REMEDIES.get(error or "")
            or "Check tenant_id, client_id, client_secret and auth_url."
        )
        more = f" See https://login.microsoftonline.com/error?code={number}." if number else ""
        message = f"sign-in: the token endpoint answered {told}. {remedy}{more} Not retried."
        return (
            RefusedToken(message, told) if error == "invalid_grant" else PartnerCenterError(message)
        )


def _is_header(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable()


def _seconds(expires_in: object) -> float:
    """Read `expires_in`: a number from the v2.0 endpoint, a string from v1."""
    try:
        seconds = float(expires_in)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return UNNAMED_LIFETIME
    return seconds if 0 < seconds < float("inf") else UNNAMED_LIFETIME
