"""The interactive sign-ins of Microsoft Entra ID, by MSAL."""

from __future__ import annotations

import functools
import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests
from typing_extensions import override

from tap_partnercenter.auth import certificate_of
from tap_partnercenter.connection_errors import Route, cause_of
from tap_partnercenter.entra_errors import PUBLIC, refusal_in
from tap_partnercenter.errors import PartnerCenterError, requires_extra
from tap_partnercenter.transport import CONNECT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_partnercenter.clock import Clock
    from tap_partnercenter.loopback import Listener
    from tap_partnercenter.settings import Settings

#: Errors of a device code while the user has not signed in.
_PENDING = frozenset({"authorization_pending", "slow_down"})


class PlainSession(requests.Session):
    """A session that follows no redirect: it would carry secrets to an unknown address."""

    @override
    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class Flows:
    """Signs a user in. A sign-in that fails raises a `PartnerCenterError`.

    MSAL's applications insist on https and on discovering endpoints that the settings already name.
    The lower-level client does not, and still has PKCE, state and nonce.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        with requires_extra("login", "tap-partnercenter-login"):
            from msal.oauth2cli import Client  # noqa: PLC0415
        # It would log responses.
        logging.getLogger("msal").setLevel(logging.CRITICAL + 1)
        self._settings = settings
        self._clock = clock
        self._session = PlainSession()
        # `functools.partial`, as MSAL's own documentation sets a time-out.
        self._session.request = functools.partial(  # type: ignore[method-assign]
            self._session.request, timeout=(CONNECT_TIMEOUT, settings.request_timeout)
        )
        self._session.headers["User-Agent"] = settings.user_agent
        base = f"{settings.auth_url}/{settings.tenant_id}/oauth2/v2.0"
        endpoints = {
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "device_authorization_endpoint": f"{base}/devicecode",
        }
        certificate = certificate_of(settings, clock)
        proof: dict[str, Any] = (
            {"default_body": {"client_secret": settings.client_secret}}
            if certificate is None
            else {
                "client_assertion": lambda: certificate.assertion(endpoints["token_endpoint"]),
                "client_assertion_type": Client.CLIENT_ASSERTION_TYPE_JWT,
            }
        )
        make = functools.partial(Client, endpoints, settings.client_id, http_client=self._session)
        self._client = make(**proof)
        self._public_client = make()
        self.scopes = [
            f"{settings.cloud.resource}/user_impersonation",
            "offline_access",
            "openid",
            "profile",
        ]

    def begin(self, listener: Listener) -> dict[str, Any]:
        """Start a sign-in in a browser, at `auth_uri`."""
        flow: dict[str, Any] = self._client.initiate_auth_code_flow(
            scope=self.scopes,
            redirect_uri=listener.redirect_uri,
            prompt="select_account",
            # The code arrives in a form post, so it is not in a URL or the browser's history.
            response_mode="form_post",
        )
        listener.state = flow["state"]
        return flow

    def redeem(
        self, flow: Mapping[str, Any], auth_response: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """Redeem what the browser sent, and return the tokens."""
        with self._explained():
            result = self._client.obtain_token_by_auth_code_flow(flow, auth_response)
        return _checked(result)

    def begin_device(self) -> dict[str, Any]:
        """Request a device code, and the code for its user."""
        with self._explained():
            result = self._client.initiate_device_flow(scope=self.scopes)
        return _checked(result, "device_code")

    def redeem_device(self, flow: dict[str, Any]) -> Mapping[str, Any]:
        """Wait until the user has entered the code, and return the tokens."""
        client = self._client
        while True:
            with self._explained():
                # Asks only once, so that this clock waits instead of MSAL's.
                result = client.obtain_token_by_device_flow(flow, exit_condition=lambda _: True)
            if client is self._client and refusal_in(result).number == PUBLIC:
                client = self._public_client
                flow.pop("latest_attempt_at", None)
                continue
            if result.get("error") not in _PENDING:
                return _checked(result)
            self._clock.wait(flow["interval"])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Translate a failed request into an error with a message for the operator."""
        try:
            yield
        except requests.HTTPError as error:
            status = error.response.status_code
            message = f"sign-in: the token endpoint returned HTTP {status}. Try again later."
            raise PartnerCenterError(message) from None
        except requests.RequestException as error:
            cause = cause_of(error)
            route = Route(self._settings.auth_url, "auth_url", None)
            remedy = cause.remedy.format(setting="auth_url")
            message = f"sign-in: no response from {route} ({cause.words}). {remedy}"
            raise PartnerCenterError(message) from None
        except (ValueError, RuntimeError, KeyError, TypeError):
            # Their messages quote the response: states, nonces, tokens.
            message = (
                "sign-in: the response does not belong to this sign-in. Start again; check "
                "auth_url and any proxy."
            )
            raise PartnerCenterError(message) from None


def _checked(result: dict[str, Any], required: str = "refresh_token") -> dict[str, Any]:
    """Return a response that contains a required member; otherwise raise its error."""
    if isinstance(result.get(required), str) and result[required]:
        return result
    if "error" not in result:
        message = f"sign-in: the response contains no {required}. Check the app's API permissions."
        raise PartnerCenterError(message)
    # The authorize endpoint gives the number in the description only.
    numbers = re.findall(r"AADSTS(\d{1,9})\b", str(result.get("error_description")))
    refusal = refusal_in({"error_codes": list(map(int, numbers[:1])), **result})
    named = f"refused: {refusal}".rstrip(": ")
    message = f"sign-in: {named}. {refusal.remedy}"
    raise PartnerCenterError(message)
