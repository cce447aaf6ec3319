"""The token endpoints of Microsoft Entra, versions 1 and 2."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from .credentials import RESOURCES, TENANT_DOMAIN, Consent
from .errors import entra_error
from .responses import ApiError, Response, json_response
from .signed import Assertions, RefusedAssertion

if TYPE_CHECKING:
    from collections.abc import Callable

    from .calls import Call
    from .credentials import Credentials, TokenStore
    from .grants import Grants
    from .options import Options

_COMPANION_SCOPES = frozenset({"offline_access", "openid", "profile", "email"})
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
INTERACTIVE = ("authorization_code", DEVICE_CODE)


class TokenEndpoint:
    """Redeems credentials for tokens."""

    def __init__(
        self,
        credentials: Credentials,
        tokens: TokenStore,
        grants: Grants,
        clock: Callable[[], float],
    ) -> None:
        self._credentials = credentials
        self._tokens = tokens
        self._grants = grants
        self._assertions = Assertions(credentials, clock)
        self._clock = clock

    def respond(self, call: Call, options: Options) -> Response:
        """Respond to a POST to `/{tenant}/oauth2/token` or `/{tenant}/oauth2/v2.0/token`.

        Raises:
            ApiError: The request is refused, in the shape of Entra.
        """
        if call.method != "POST":
            raise _refusal(405, 900561, "The endpoint only accepts POST requests.")
        check_tenant(call, self._credentials)
        form = form_of(call)
        second_version = call.path.endswith("/v2.0/token")
        grant = required(form, "grant_type")
        self._check_client_id(form)
        # A client that redeems a code need not repeat the scope.
        scope = form.get("scope") or self._grants.scope_of(form)
        if second_version:
            scope = required({"scope": scope} if scope else {}, "scope")
            resource = _resource_of_scope(scope, grant)
        else:
            resource = _known_resource(required(form, "resource"))
        consent, nonce = self._consent(form, grant, call, options)
        access_token = self._tokens.issue_access(options, resource, consent)
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
        if consent is not None:
            companions = [name for name in scope.split() if name in _COMPANION_SCOPES]
            document["scope"] = " ".join([f"{resource}/user_impersonation", *companions])
            # A request to v1.0 need not ask for it.
            if not second_version or "offline_access" in companions:
                document["refresh_token"] = self._tokens.issue_refresh(consent)
            if grant in INTERACTIVE and "openid" in companions:
                document["id_token"] = self._tokens.issue_id(consent, nonce)
        response = json_response(document)
        response.headers += [(b"cache-control", b"no-store"), (b"pragma", b"no-cache")]
        return response

    def _consent(
        self, form: dict[str, str], grant: str, call: Call, options: Options
    ) -> tuple[Consent | None, str | None]:
        """Return the consent behind a grant, None if there is none, and a code's nonce."""
        if grant == DEVICE_CODE:
            # The app allows public client flows: it may present its secret or not.
            if "client_secret" in form or "client_assertion" in form:
                self._check_client(form, call)
            return self._grants.redeem_device(required(form, "device_code")), None
        if grant == "refresh_token":
            return self._redeem(form, call, options), None
        self._check_client(form, call)
        if grant == "client_credentials":
            return None, None
        if grant == "authorization_code":
            consent, authorization = self._grants.redeem_code(required(form, "code"), form)
            return consent, authorization.nonce
        raise _refusal(400, 70003, f"The app requested an unsupported grant type '{grant}'.")

    def _check_client_id(self, form: dict[str, str]) -> None:
        client_id = required(form, "client_id")
        if client_id.lower() != self._credentials.client_id.lower():
            text = f"Application with identifier '{client_id}' was not found in the directory."
            raise _refusal(400, 700016, text)

    def _check_client(self, form: dict[str, str], call: Call) -> None:
        secret = form.get("client_secret")
        if secret is None and form.get("client_assertion_type") == ASSERTION_TYPE:
            try:
                self._assertions.check(required(form, "client_assertion"), call.path)
            except RefusedAssertion as error:
                raise _refusal(401, error.number, str(error)) from None
            return
        if secret is None:
            text = "The request body must contain 'client_assertion' or 'client_secret'."
            raise _refusal(401, 7000218, text)
        if not hmac.compare_digest(secret.encode(), self._credentials.client_secret.encode()):
            raise _refusal(401, 7000215, "Invalid client secret provided.")

    def _redeem(self, form: dict[str, str], call: Call, options: Options) -> Consent:
        text = form.get("refresh_token", "")
        found = self._tokens.refresh(text)
        if found is not None and found[1].public:
            if "client_secret" in form or "client_assertion" in form:
                text = (
                    "Client is public so neither 'client_assertion' nor 'client_secret' should be "
                    "presented."
                )
                raise _refusal(401, 700025, text)
        else:
            self._check_client(form, call)
        text = required(form, "refresh_token")
        if found is None:
            raise _refusal(400, 70000, "The provided refresh token is malformed or not valid.")
        if self._tokens.is_revoked(text):
            raise _refusal(400, 50173, "The provided grant has expired due to it being revoked.")
        age, consent = found
        if age > options.refresh_token_lifetime:
            raise _refusal(400, 700082, "The refresh token has expired due to inactivity.")
        if options.revoke_old_refresh_tokens:
            self._tokens.revoke_refresh(text)
        return consent


def check_tenant(call: Call, credentials: Credentials) -> None:
    """Refuse a path of another tenant.

    Raises:
        ApiError: In the shape of Entra.
    """
    tenant = call.path.split("/")[1]
    if tenant.lower() not in (credentials.tenant_id.lower(), TENANT_DOMAIN):
        raise _refusal(400, 90002, f"Tenant '{tenant}' not found.")


def form_of(call: Call) -> dict[str, str]:
    """Return the fields of a form."""
    fields = parse_qs(call.body.decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


def required(form: dict[str, str], name: str) -> str:
    """Return a parameter; ApiError if it is missing."""
    if name in form:
        return form[name]
    raise _refusal(400, 900144, f"The request body must contain the following parameter: '{name}'.")


def _resource_of_scope(scope: str, grant: str) -> str:
    requested = [name for name in scope.split() if name not in _COMPANION_SCOPES]
    if len(requested) != 1 or not requested[0].endswith(("/.default", "/user_impersonation")):
        raise _refusal(400, 70011, f"The provided value for the scope '{scope}' is not valid.")
    resource, _, permission = requested[0].rpartition("/")
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


def _refusal(status: int, number: int, text: str) -> ApiError:
    return ApiError(entra_error(status, number, text))
