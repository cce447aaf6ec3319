"""Certificates for signing in as the app."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
PASSWORD = "Certificate.Passw0rd"  # noqa: S105 - planted


def certificate(key: Any = RSA_KEY, *, begins: int = -1, ends: int = 365) -> x509.Certificate:
    """A certificate for a key; the validity is in days from now."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the app")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now + timedelta(days=begins))
    return builder.not_valid_after(now + timedelta(days=ends)).sign(key, hashes.SHA256())


def public(made: x509.Certificate) -> str:
    """The part that is uploaded to the app registration."""
    return made.public_bytes(Encoding.PEM).decode()


def pem(made: x509.Certificate | None, key: Any = RSA_KEY, password: str | None = None) -> bytes:
    """Certificate and key in one text file."""
    encryption: KeySerializationEncryption = (
        NoEncryption() if password is None else BestAvailableEncryption(password.encode())
    )
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return text + (b"" if made is None else made.public_bytes(Encoding.PEM))


def pfx(made: x509.Certificate | None, key: Any = RSA_KEY, password: str = PASSWORD) -> bytes:
    """Both in one binary file, as exported by Windows and Azure Key Vault."""
    encryption = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"the app", key, made, None, encryption)
