"""The token endpoints of Microsoft Entra, versions 1 and 2, with their errors.

Error names and numbers are from Entra's page "Microsoft Entra authentication and authorization
error codes".
"""

from __future__ import annotations

import hmac
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from .answers import Answer, ApiError, json_answer
from .credentials import RESOURCES, TENANT_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from .calls import Call
    from .credentials import Credentials, TokenStore
    from .options import Options

_ERRORS = {
    50076: "invalid_grant",
    50078: "invalid_grant",
    50079: "invalid_grant",
    50173: "invalid_grant",
    53003: "invalid_grant",
    65001: "invalid_grant",
    70000: "invalid_grant",
    70003: "unsupported_grant_type",
    70008: "invalid_grant",
    70011: "invalid_scope",
    90002: "invalid_request",
    90033: "temporarily_unavailable",
    500011: "invalid_resource",
    700007: "invalid_grant",
    700016: "unauthorized_client",
    700082: "invalid_grant",
    900144: "invalid_request",
    1002012: "invalid_scope",
    7000215: "invalid_client",
    7000218: "invalid_client",
    7000222: "invalid_client",
    9002327: "invalid_request",
}
_COMPANION_SCOPES = frozenset({"offline_access", "openid", "profile", "email"})


def entra_error(status: int, number: int, text: str) -> Answer:
    """Return an error of the token endpoint; `number` is the one behind "AADSTS"."""
    trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"
    description = (
        f"AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"
    )
    document = {
        "error": _ERRORS.get(number, "invalid_request"),
        "error_description": description,
        "error_codes": [number],
        "timestamp": now,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={number}",
    }
    return json_answer(document, status)


class TokenEndpoint:
    """Redeems credentials for tokens."""

    def __init__(
        self, credentials: Credentials, tokens: TokenStore, clock: Callable[[], float]
    ) -> None:
        """Serve one tenant with one application."""
        self._credentials = credentials
        self._tokens = tokens
        self._clock = clock

    def answer(self, call: Call, options: Options) -> Answer:
        """Answer a POST to `/{tenant}/oauth2/token` or `/{tenant}/oauth2/v2.0/token`.

        Raises:
            ApiError: The request is refused, in the shape of Entra.
        """
        if call.method != "POST":
            raise _refusal(405, 900561, "The endpoint only accepts POST requests.")
        tenant = call.path.split("/")[1]
        if tenant.lower() not in (self._credentials.tenant_id.lower(), TENANT_DOMAIN):
            raise _refusal(400, 90002, f"Tenant '{tenant}' not found.")
        form = {
            name: values[0]
            for name, values in parse_qs(call.body.decode("utf-8", "replace")).items()
        }
        second_version = call.path.endswith("/v2.0/token")
        grant = _required(form, "grant_type")
        self._check_client(form)
        if second_version:
            resource = _resource_of_scope(_required(form, "scope"), grant)
        else:
            resource = _known_resource(_required(form, "resource"))
        if grant == "client_credentials":
            refresh_token = None
        elif grant == "refresh_token":
            refresh_token = self._redeem(_required(form, "refresh_token"), options)
        else:
            raise _refusal(400, 70003, f"The app requested an unsupported grant type '{grant}'.")
        access_token = self._tokens.issue_access(
            options, resource, with_user=refresh_token is not None
        )
        lifetime = options.token_lifetime
        document: dict[str, str | int] = {"token_type": "Bearer"}
        if second_version:
            document |= {"expires_in": lifetime, "ext_expires_in": lifetime}
        else:
            now = int(self._clock())
            document |= {
                "expires_in": str(lifetime),
                "ext_expires_in": str(lifetime),
                "expires_on": str(now + lifetime),
                "not_before": str(now),
                "resource": resource,
            }
        document["access_token"] = access_token
        if refresh_token is not None:
            document |= {"scope": _granted(form, resource), "refresh_token": refresh_token}
        answer = json_answer(document)
        answer.headers += [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
        return answer

    def _check_client(self, form: dict[str, str]) -> None:
        client_id = _required(form, "client_id")
        if client_id.lower() != self._credentials.client_id.lower():
            text = f"Application with identifier '{client_id}' was not found in the directory."
            raise _refusal(400, 700016, text)
        secret = form.get("client_secret")
        if secret is None:
            text = "The request body must contain 'client_assertion' or 'client_secret'."
            raise _refusal(401, 7000218, text)
        if not hmac.compare_digest(secret.encode(), self._credentials.client_secret.encode()):
            raise _refusal(401, 7000215, "Invalid client secret provided.")

    def _redeem(self, text: str, options: Options) -> str:
        age = self._tokens.refresh_age(text)
        if age is None:
            raise _refusal(400, 70000, "The provided refresh token is malformed or not valid.")
        if self._tokens.is_revoked(text):
            raise _refusal(400, 50173, "The provided grant has expired due to it being revoked.")
        if age > options.refresh_token_lifetime:
            raise _refusal(400, 700082, "The refresh token has expired due to inactivity.")
        if options.revoke_old_refresh_tokens:
            self._tokens.revoke_refresh(text)
        return self._tokens.issue_refresh()


def _required(form: dict[str, str], name: str) -> str:
    if name in form:
        return form[name]
    raise _refusal(400, 900144, f"The request body must contain the following parameter: '{name}'.")


def _resource_of_scope(scope: str, grant: str) -> str:
    wanted = [name for name in scope.split() if name not in _COMPANION_SCOPES]
    if len(wanted) != 1 or not wanted[0].endswith(("/.default", "/user_impersonation")):
        raise _refusal(400, 70011, f"The provided value for the scope '{scope}' is not valid.")
    resource, _, permission = wanted[0].rpartition("/")
    if grant == "client_credentials" and (permission != ".default" or len(scope.split()) > 1):
        text = "Client credential flows must have a scope value with /.default suffixed."
        raise _refusal(400, 1002012, text)
    return _known_resource(resource)


def _known_resource(resource: str) -> str:
    resource = resource.rstrip("/")
    if resource not in RESOURCES:
        text = f"The resource principal named {resource} was not found in the tenant."
        raise _refusal(400, 500011, text)
    return resource


def _granted(form: dict[str, str], resource: str) -> str:
    companions = [name for name in form.get("scope", "").split() if name in _COMPANION_SCOPES]
    return " ".join([f"{resource}/user_impersonation", *companions])


def _refusal(status: int, number: int, text: str) -> ApiError:
    return ApiError(entra_error(status, number, text))
