"""One-use codes that the client redeems after an interactive sign-in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .errors import entra_error
from .responses import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .credentials import Consent

CODE_LIFETIME = 600
DEVICE_CODE_LIFETIME = 900
#: Letters that cannot be mistaken for one another.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a client requested from the user, at the authorize endpoint."""

    redirect_uri: str
    scope: str
    challenge: str | None
    nonce: str | None


@dataclass(slots=True)
class _Code:
    authorization: AuthorizationRequest
    consent: Consent
    made_at: float
    used: bool = False


@dataclass(slots=True)
class DeviceSignIn:
    """A sign-in that was started on a machine without a browser."""

    device_code: str
    user_code: str
    scope: str
    made_at: float
    answer: Consent | Literal["refused"] | None = None
    used: bool = False


class Grants:
    """The codes of one emulator."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._codes: dict[str, _Code] = {}
        self._devices: dict[str, DeviceSignIn] = {}

    def issue_code(self, authorization: AuthorizationRequest, consent: Consent) -> str:
        """Return a new authorization code."""
        text = f"1.{secrets.token_urlsafe(48)}"
        self._codes[text] = _Code(authorization, consent, self._clock())
        return text

    def redeem_code(self, text: str, form: dict[str, str]) -> tuple[Consent, AuthorizationRequest]:
        """Redeem an authorization code, once, for the client that requested it.

        Raises:
            ApiError: It is not accepted.
        """
        code = self._codes.get(text)
        if code is None:
            raise _refusal(70000, "The provided authorization code is malformed or not valid.")
        if code.used:
            raise _refusal(54005, "OAuth2 Authorization code was already redeemed.")
        if self._clock() - code.made_at > CODE_LIFETIME:
            raise _refusal(70008, "The provided authorization code has expired.")
        if form.get("redirect_uri") != code.authorization.redirect_uri:
            raise _refusal(500112, "The reply address does not match the one of the code.")
        if code.authorization.challenge is not None:
            verifier = form.get("code_verifier", "")
            digest = hashlib.sha256(verifier.encode()).digest()
            made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if not hmac.compare_digest(made, code.authorization.challenge):
                text = "The Code_Verifier does not match the code_challenge of the request."
                raise _refusal(501481, text)
        code.used = True
        return code.consent, code.authorization

    def scope_of(self, form: dict[str, str]) -> str:
        """Return the scope for which the code in a form was requested; empty if there is none."""
        if (code := self._codes.get(form.get("code", ""))) is not None:
            return code.authorization.scope
        sign_in = self._devices.get(form.get("device_code", ""))
        return "" if sign_in is None else sign_in.scope

    def begin_device(self, scope: str) -> DeviceSignIn:
        """Return a new sign-in for a user to confirm."""
        user_code = "".join(secrets.choice(_LETTERS) for _ in range(9))
        device_code = secrets.token_urlsafe(48)
        sign_in = DeviceSignIn(device_code, user_code, scope, self._clock())
        self._devices[sign_in.device_code] = sign_in
        return sign_in

    def device(self, user_code: str) -> DeviceSignIn | None:
        """Return the pending sign-in with this user code."""
        requested = user_code.strip().upper()
        for sign_in in self._devices.values():
            if (
                sign_in.user_code == requested
                and sign_in.answer is None
                and not self._is_expired(sign_in)
            ):
                return sign_in
        return None

    def redeem_device(self, device_code: str) -> Consent:
        """Redeem a device code once its user has decided.

        Raises:
            ApiError: The user has not decided yet, or it is not accepted.
        """
        sign_in = self._devices.get(device_code)
        if sign_in is None or sign_in.used:
            raise _refusal(70019, "Verification code is not valid.")
        if self._is_expired(sign_in):
            raise _refusal(70020, "The provided value for the device code has expired.")
        if sign_in.answer is None:
            raise _refusal(70016, "OAuth 2.0 device flow error. Authorization is pending.")
        sign_in.used = True
        if sign_in.answer == "refused":
            raise _refusal(70017, "The user declined the sign-in.")
        return sign_in.answer

    def _is_expired(self, sign_in: DeviceSignIn) -> bool:
        return self._clock() - sign_in.made_at > DEVICE_CODE_LIFETIME


def _refusal(number: int, text: str) -> ApiError:
    return ApiError(entra_error(400, number, text))
