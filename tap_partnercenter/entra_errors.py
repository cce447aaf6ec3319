"""Why Microsoft Entra refuses a sign-in, and what to do about it.

Facts are from "Microsoft Entra authentication and authorization error codes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONSENT = "Consent again, with MFA: run tap-partnercenter-login, or set the new refresh_token"
_SECRET = "Create a new client secret in the app registration and set client_secret"  # noqa: S105

#: How to fix errors of the token endpoint. The AADSTS number is more specific than `error`.
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
    "53003": "Conditional access blocks the sign-in. Exempt the app or this machine's IP address.",
    "7000215": f"The client secret is wrong: set its value, not its id. {_SECRET}.",
    "7000222": f"The client secret has expired. {_SECRET}.",
    "7000218": f"The client secret is missing from the request. {_SECRET}.",
    "700016": "The tenant does not know this app. Check client_id and tenant_id.",
    "90002": "There is no such tenant. Check tenant_id and cloud.",
    "9002327": "The refresh token was issued to a single-page app. Consent with a web app instead.",
    "700024": "The assertion is not valid at this time. Check this machine's clock.",
    "700027": (
        "The app does not know the certificate. Upload it to the app registration, or set "
        "client_certificate_path to the one that is there."
    ),
    "500011": "The tenant does not know the Partner Center API. Check cloud.",
    "50011": "Add the redirect URI http://localhost:8400 to the app, under Web.",
    "50105": "The user may not use this app. Assign the user to it in Enterprise applications.",
    "65004": "The user declined. Sign in again and accept.",
    "70020": "The code was not entered in time. Start again.",
    "90094": "The tenant requires an administrator to consent. Grant admin consent to the app.",
    "access_denied": "The user declined. Sign in again and accept.",
    "authorization_declined": "The user declined. Sign in again and accept.",
    "expired_token": "The code was not entered in time. Start again.",
    "invalid_grant": f"The refresh token is not accepted. {_CONSENT}.",
    "interaction_required": f"The sign-in needs a user. {_CONSENT}.",
    "invalid_client": f"The app's credentials are not accepted. {_SECRET}.",
    "unauthorized_client": "The app may not sign in this way. Check client_id and tenant_id.",
    "invalid_request": "Check tenant_id, client_id and refresh_token.",
    "invalid_resource": "Check cloud.",
}
#: "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."
PUBLIC = "700025"
#: Errors that are temporary.
TEMPORARY = frozenset({"temporarily_unavailable", "server_error"})
#: Refusals that may not happen on another machine, or at another time.
_LOCAL_REASONS = frozenset({"53003", "700024"})
_NAMES = TEMPORARY | REMEDIES.keys()


class Refusal(NamedTuple):
    """An error of the token endpoint, without any free text.

    Attributes:
        error: Its name, None if it is not a known one.
        number: The AADSTS number, empty if there is none.
    """

    error: str | None
    number: str

    def __str__(self) -> str:
        """Return both, where present."""
        number = f"AADSTS{self.number}" if self.number else ""
        return f"{self.error or ''} {number}".strip()

    @property
    def is_final(self) -> bool:
        """Whether these credentials will be refused again, since they are the reason."""
        reason = self.number or self.error
        return reason in REMEDIES and reason not in _LOCAL_REASONS

    @property
    def remedy(self) -> str:
        """How the operator can fix it."""
        remedy = (
            REMEDIES.get(self.number)
            or REMEDIES.get(self.error or "")
            or "Check tenant_id, client_id, client_secret and auth_url."
        )
        if not self.number:
            return remedy
        return f"{remedy} See https://login.microsoftonline.com/error?code={self.number}."


def refusal_in(document: Mapping[str, Any]) -> Refusal:
    """Read the error in a response of the token endpoint."""
    error = document.get("error")
    error = error if isinstance(error, str) and error in _NAMES else None
    numbers = document.get("error_codes")
    number = str(numbers[0]) if isinstance(numbers, list) and numbers else ""
    return Refusal(error, number if number.isascii() and number.isdigit() else "")
