"""The settings of the sign-in: what they mean, what they accept, and which need one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from tap_partnercenter.validation import DATABASE

if TYPE_CHECKING:
    from collections.abc import Mapping


def text(form: str = "text") -> th.CustomType:
    """Text in a format of :mod:`tap_partnercenter.validation`."""
    return th.CustomType({"type": ["string"], "format": form})


PROPERTIES: tuple[th.Property[Any], ...] = (
    th.Property(
        "tenant_id",
        text("tenant"),
        required=True,
        title="Tenant ID",
        description="Microsoft Entra tenant of the partner: its GUID or a verified domain.",
    ),
    th.Property(
        "client_id",
        text(),
        required=True,
        title="Client ID",
        description="Application (client) id of the app registration.",
    ),
    th.Property(
        "client_secret",
        text(),
        secret=True,
        title="Client secret",
        description="Secret of the app registration. Required unless there is a certificate.",
    ),
    th.Property(
        "client_certificate_path",
        text("path"),
        title="Client certificate path",
        description=(
            "File with the certificate of the app registration and its private key, PEM or PFX, "
            "instead of client_secret. Requires the extra certificate."
        ),
    ),
    th.Property(
        "client_certificate_password",
        text(),
        secret=True,
        title="Client certificate password",
        description="Password of the private key in client_certificate_path.",
    ),
    th.Property(
        "refresh_token",
        text(),
        secret=True,
        title="Refresh token",
        description=(
            "Refresh token of a partner user who consented with MFA (App+User). Without it the tap "
            "signs in app-only, which Partner Center accepts for some streams only."
        ),
    ),
    th.Property(
        "token_cache_path",
        text("store"),
        secret=True,
        title="Token cache path",
        description=(
            "Where to store the newest refresh token, since Microsoft issues a new one at each "
            "use: a file, or, for workers without a shared disk, a database: "
            "postgresql://user:password@host/name (extra database). The file is readable by its "
            "owner only; a symbolic link is followed. Processes may share it: they sign in one at "
            "a time, using an empty .lock file next to it. Without this setting, new tokens are "
            "lost when the run ends."
        ),
    ),
    th.Property(
        "token_cache_key",
        text("keys"),
        secret=True,
        title="Token cache key",
        description=(
            "Key that encrypts what is stored in token_cache_path, 32 bytes in URL-safe Base64: "
            "openssl rand -base64 32 | tr '+/' '-_'. Required for a database. To rotate it, put "
            "the new key before the old one, separated by a comma."
        ),
    ),
)


def missing_credentials(config: Mapping[str, Any]) -> set[str]:
    """Name what is required because of another setting, or because that is not there."""
    names = set() if config.get("client_certificate_path") else {"client_secret"}
    # What a database holds may be read by others.
    database = DATABASE.fullmatch(str(config.get("token_cache_path")))
    return names | ({"token_cache_key"} if database else set())
