"""Signed tokens (RFC 7519): those that the emulator issues, and those that its clients send."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from .credentials import Credentials

CLOCK_SKEW = 300
"""Seconds by which a client's clock may be ahead."""
MAX_LIFETIME = 86_400
"""Seconds for which an assertion is remembered, so that it is accepted only once."""

_HEADER = {"typ": "JWT", "alg": "HS256", "kid": "emulator"}


class RefusedAssertion(Exception):
    """A client's assertion is not accepted."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


class Signer:
    """Signs claims with a key that only this emulator has."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a token with these claims, which anyone can read and nobody else can create."""
        text = b".".join(_encoded(msgspec.json.encode(part)) for part in (_HEADER, claims))
        signature = hmac.digest(self._key, text, hashlib.sha256)
        return b".".join([text, _encoded(signature)]).decode()


class Assertions:
    """Checks the assertions with which a client with a certificate proves its identity."""

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        """Accept assertions that the registered certificate verifies."""
        self._credentials = credentials
        self._clock = clock
        self._seen: dict[str, float] = {}

    def check(self, text: str, audience: str) -> None:
        """Accept an assertion once.

        Args:
            text: The assertion.
            audience: Path of the token endpoint for which it must be made.

        Raises:
            RefusedAssertion: It is not accepted.
        """
        # Only clients with a certificate need these libraries.
        import jwt  # noqa: PLC0415
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

        if self._credentials.certificate is None:
            raise RefusedAssertion(700027, "No certificate is registered on the application.")
        certificate = x509.load_pem_x509_certificate(self._credentials.certificate.encode())
        try:
            header = jwt.get_unverified_header(text)
            thumbprint = header.get("x5t#S256")
            if thumbprint != _encoded(certificate.fingerprint(hashes.SHA256())).decode():
                raise RefusedAssertion(
                    700027,
                    "The certificate with identifier used to sign the client assertion is not "
                    "registered on application.",
                )
            claims = jwt.decode(
                text,
                certificate.public_key(),  # type: ignore[arg-type]
                algorithms=["RS256", "PS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False},
            )
        except jwt.InvalidSignatureError:
            message = "Client assertion failed signature validation."
            raise RefusedAssertion(700027, message) from None
        except jwt.InvalidTokenError:
            raise RefusedAssertion(50027, "JWT token is invalid or malformed.") from None
        self._check_claims(claims, audience)

    def _check_claims(self, claims: dict[str, Any], audience: str) -> None:
        now = self._clock()
        client_id = self._credentials.client_id
        if claims.get("iss") != client_id or claims.get("sub") != client_id:
            message = "Client assertion application identifier doesn't match 'client_id' parameter."
            raise RefusedAssertion(700021, message)
        if not str(claims.get("aud")).endswith(audience):
            message = "Client assertion audience claim does not match Realm issuer."
            raise RefusedAssertion(700023, message)
        if not claims.get("nbf", 0) - CLOCK_SKEW <= now < claims.get("exp", 0):
            message = "Client assertion is not within its valid time range."
            raise RefusedAssertion(700024, message)
        self._seen = {jti: at for jti, at in self._seen.items() if now - at < MAX_LIFETIME}
        jti = claims.get("jti")
        if not isinstance(jti, str) or jti in self._seen:
            raise RefusedAssertion(50027, "JWT token is invalid: its jti was used before.")
        self._seen[jti] = now


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")
