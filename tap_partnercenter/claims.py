"""The claims of an access token, as far as they can be read."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of an access token that an operator wants to know ("Access token claims").

    Attributes:
        user: Who signed in, None for an app without a user.
        tenant: GUID of the tenant.
        mfa: Whether the user signed in with MFA, None without a user.
        rights: Roles of the app, or what the user delegated to it.
        expires_at: When the token expires.
    """

    user: str | None
    tenant: str | None
    mfa: bool | None
    rights: tuple[str, ...]
    expires_at: datetime | None


def claims_of(token: str) -> Claims | None:
    """Read a token without verifying it; None if it cannot be read.

    For display only: the API decides what a token is worth.
    """
    try:
        _, payload, _ = token.split(".")
        padding = "=" * (-len(payload) % 4)
        content = json.loads(base64.urlsafe_b64decode(payload + padding))
        if not isinstance(content, dict):
            return None
        delegated = _text(content.get("scp"))
        roles = content.get("roles")
        methods = content.get("amr")
        ends = content.get("exp")
        return Claims(
            user=_text(content.get("upn")) or _text(content.get("unique_name")),
            tenant=_text(content.get("tid")),
            mfa=(isinstance(methods, list) and "mfa" in methods) if delegated else None,
            rights=tuple(filter(None, map(_text, roles if isinstance(roles, list) else [])))
            or tuple((delegated or "").split()),
            expires_at=datetime.fromtimestamp(ends, UTC) if isinstance(ends, int) else None,
        )
    except (ValueError, OverflowError, OSError, RecursionError):
        return None


def _text(value: object) -> str | None:
    """Return what can be shown, None for anything else."""
    return value if isinstance(value, str) and value and value.isprintable() else None
