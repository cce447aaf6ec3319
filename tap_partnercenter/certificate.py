"""A certificate instead of a client secret: the app signs an assertion.

Facts are from "Microsoft identity platform application authentication certificate credentials".
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from tap_partnercenter.errors import PartnerCenterError

if TYPE_CHECKING:
    from pathlib import Path

    from tap_partnercenter.clock import Clock

#: Seconds for which an assertion is valid.
ASSERTION_LIFETIME = 600

_PEM = b"-----BEGIN "


class Certificate:
    """A certificate and its private key.

    Attributes:
        expires_at: When it expires.
    """

    def __init__(
        self, key: RSAPrivateKey, certificate: x509.Certificate, client_id: str, clock: Clock
    ) -> None:
        self.expires_at = certificate.not_valid_after_utc
        self._key = key
        self._thumbprint = jwt.utils.base64url_encode(certificate.fingerprint(SHA256())).decode()
        self._client_id = client_id
        self._clock = clock

    def assertion(self, endpoint: str) -> str:
        """Return a new assertion for the token endpoint; each can be used once."""
        now = int(self._clock.now())
        claims = {
            "aud": endpoint,
            "iss": self._client_id,
            "sub": self._client_id,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "nbf": now,
            "exp": now + ASSERTION_LIFETIME,
        }
        return jwt.encode(claims, self._key, "PS256", {"x5t#S256": self._thumbprint})


def read_certificate(path: Path, password: str | None, client_id: str, clock: Clock) -> Certificate:
    """Read the certificate of an app.

    Raises:
        PartnerCenterError: If it cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        _refuse(f"{path} cannot be read ({error.strerror})", final=False)
    key, certificates = _read(content, None if password is None else password.encode(), path)
    if not isinstance(key, RSAPrivateKey):
        _refuse(f"{path} contains a key that is not RSA, which Microsoft Entra requires")
    found = next((c for c in certificates if c.public_key() == key.public_key()), None)
    if found is None:
        _refuse(f"{path} contains no certificate for its private key. Put both into one file")
    now = datetime.fromtimestamp(clock.now(), UTC)
    if now >= found.not_valid_after_utc:
        _refuse(
            f"the certificate expired on {found.not_valid_after_utc:%Y-%m-%d}. Upload a new one to "
            "the app registration, and set client_certificate_path to it"
        )
    if now < found.not_valid_before_utc:
        _refuse(
            f"the certificate is not valid before {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC. "
            "Wait until then, or check this machine's clock",
            final=False,
        )
    return Certificate(key, found, client_id, clock)


def _read(content: bytes, password: bytes | None, path: Path) -> tuple[Any, list[x509.Certificate]]:
    """Read PEM or PFX."""
    try:
        if _PEM not in content:
            key, certificate, others = pkcs12.load_key_and_certificates(content, password)
            return key, [c for c in (certificate, *others) if c is not None]
        if b"PRIVATE KEY-----" not in content:
            _refuse(f"{path} contains no private key. Put it into the same file")
        encrypted = b"ENCRYPTED" in content
        key = load_pem_private_key(content, password if encrypted else None)
        certificates = x509.load_pem_x509_certificates(content) if b"CERTIFICATE" in content else []
    except (ValueError, TypeError):
        _refuse(
            f"{path} cannot be opened. Check client_certificate_password, and that the file is PEM "
            "or PFX"
        )
    return key, certificates


def _refuse(reason: str, *, final: bool = True) -> NoReturn:
    message = f"client_certificate_path: {reason}."
    raise PartnerCenterError(message, final=final) from None
