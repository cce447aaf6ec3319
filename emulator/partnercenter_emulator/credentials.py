"""Credentials of the emulated partner and the tokens handed out against them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options

TENANT_DOMAIN = "emulated-partner.onmicrosoft.com"
"""The partner's verified domain, accepted wherever its tenant id is."""

GLOBAL_RESOURCE = "https://api.partnercenter.microsoft.com"
CHINA_RESOURCE = "https://partner.partnercenterapi.microsoftonline.cn"
RETIRED_RESOURCE = "https://graph.windows.net"
RESOURCES = (GLOBAL_RESOURCE, CHINA_RESOURCE, RETIRED_RESOURCE)

PRUNE_ABOVE = 10_000


def _secret() -> str:
    return secrets.token_urlsafe(30)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a client needs to sign in; the secrets are new for each emulator unless given."""

    tenant_id: str = "6c1f9d0e-52b7-4a3e-9c64-0f8e7d5b3a21"
    client_id: str = "e27b40a5-8d13-4f6c-b9f2-71c05d9a684e"
    client_secret: str = field(default_factory=_secret, repr=False)
    refresh_token: str = field(default_factory=lambda: f"0.{_secret()}{_secret()}", repr=False)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What an access token grants: `with_user` tells App+User from app-only."""

    with_user: bool
    resource: str
    expires_at: float


class TokenStore:
    """The tokens one emulator has handed out."""

    def __init__(self, refresh_token: str, clock: Callable[[], float]) -> None:
        """Begin with one refresh token, as an interactive consent would leave it."""
        self.issued = 0
        self._clock = clock
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, float] = {refresh_token: clock()}
        self._revoked: set[str] = set()

    def issue_access(self, options: Options, resource: str, *, with_user: bool) -> str:
        """Return a new access token."""
        now = self._clock()
        if len(self._access) > PRUNE_ABOVE:
            self._access = {
                text: token for text, token in self._access.items() if token.expires_at > now
            }
        text = secrets.token_urlsafe(90)
        expires_at = now + options.token_lifetime - options.early_expiry
        self._access[text] = AccessToken(with_user, resource, expires_at)
        self.issued += 1
        return text

    def access(self, text: str) -> AccessToken | None:
        """Return what a token grants; None when it is unknown or its time is over."""
        token = self._access.get(text)
        return token if token is not None and token.expires_at > self._clock() else None

    def revoke_access(self, text: str) -> None:
        """Let an access token be refused from now on."""
        self._access.pop(text, None)

    def issue_refresh(self) -> str:
        """Return a new refresh token."""
        text = f"0.{secrets.token_urlsafe(80)}"
        self._refresh[text] = self._clock()
        return text

    def refresh_age(self, text: str) -> float | None:
        """Return the seconds since a refresh token was made, or None when it is unknown."""
        made = self._refresh.get(text)
        return None if made is None else self._clock() - made

    def revoke_refresh(self, text: str) -> None:
        """Let a refresh token be refused from now on."""
        self._revoked.add(text)

    def is_revoked(self, text: str) -> bool:
        """Tell whether a refresh token was revoked."""
        return text in self._revoked
