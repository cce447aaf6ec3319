"""Credentials of the emulated partner and the tokens issued for them."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .signed import Signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options

TENANT_DOMAIN = "emulated-partner.onmicrosoft.com"
"""The partner's verified domain, accepted anywhere in place of its tenant id."""

GLOBAL_RESOURCE = "https://api.partnercenter.microsoft.com"
CHINA_RESOURCE = "https://partner.partnercenterapi.microsoftonline.cn"
RETIRED_RESOURCE = "https://graph.windows.net"
RESOURCES = (GLOBAL_RESOURCE, CHINA_RESOURCE, RETIRED_RESOURCE)

PRUNE_ABOVE = 10_000


def _secret() -> str:
    return secrets.token_urlsafe(30)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a client needs to sign in; the secrets are new for each emulator unless given.

    `certificate` is the public part, in PEM, of the one with which the client signs assertions.
    """

    tenant_id: str = "6c1f9d0e-52b7-4a3e-9c64-0f8e7d5b3a21"
    client_id: str = "e27b40a5-8d13-4f6c-b9f2-71c05d9a684e"
    client_secret: str = field(default_factory=_secret, repr=False)
    refresh_token: str = field(default_factory=lambda: f"0.{_secret()}{_secret()}", repr=False)
    certificate: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the partner's tenant, and whether their role can read what requires a user."""

    name: str
    display_name: str
    admin_agent: bool

    @property
    def user_name(self) -> str:
        """The name with which the user signs in."""
        return f"{self.name}@{TENANT_DOMAIN}"


ACCOUNTS = (
    Account("ada.admin", "Ada Admin (Admin agent)", admin_agent=True),
    Account("sam.sales", "Sam Sales (Sales agent)", admin_agent=False),
)


@dataclass(frozen=True, slots=True)
class Consent:
    """Who signed in, and how; a refresh token and its successors keep it."""

    account: Account = ACCOUNTS[0]
    mfa: bool = True
    public: bool = False
    """Whether the app is a public client: its tokens are redeemed without a secret."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What an access token grants: App+User with a consent, app-only without one."""

    consent: Consent | None
    resource: str
    expires_at: float


class TokenStore:
    """The tokens that one emulator has issued."""

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        """Begin with one refresh token, as after an interactive consent."""
        self.issued = 0
        self._credentials = credentials
        self._clock = clock
        self._signer = Signer()
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, tuple[float, Consent]] = {
            credentials.refresh_token: (clock(), Consent())
        }
        self._revoked: set[str] = set()

    def issue_access(self, options: Options, resource: str, consent: Consent | None) -> str:
        """Return a new access token, signed and with claims like Entra's."""
        now = self._clock()
        if len(self._access) > PRUNE_ABOVE:
            self._access = {
                text: token for text, token in self._access.items() if token.expires_at > now
            }
        claims = self._claims(now) | {
            "aud": resource,
            "exp": int(now) + options.token_lifetime,
            "appid": self._credentials.client_id,
            "uti": secrets.token_urlsafe(16),
        }
        if consent is not None:
            claims |= {
                "amr": ["pwd", "mfa"] if consent.mfa else ["pwd"],
                "name": consent.account.display_name,
                "scp": "user_impersonation",
                "upn": consent.account.user_name,
            }
        text = self._signer.sign(claims)
        expires_at = now + options.token_lifetime - options.early_expiry
        self._access[text] = AccessToken(consent, resource, expires_at)
        self.issued += 1
        return text

    def issue_id(self, consent: Consent, nonce: str | None) -> str:
        """Return a token that identifies the user who signed in."""
        now = self._clock()
        claims = self._claims(now) | {
            "aud": self._credentials.client_id,
            "exp": int(now) + 3600,
            "name": consent.account.display_name,
            "preferred_username": consent.account.user_name,
            "sub": str(uuid.uuid5(uuid.NAMESPACE_DNS, consent.account.user_name)),
        }
        return self._signer.sign(claims | ({} if nonce is None else {"nonce": nonce}))

    def _claims(self, now: float) -> dict[str, Any]:
        tenant = self._credentials.tenant_id
        return {
            "iss": f"https://sts.windows.net/{tenant}/",
            "iat": int(now),
            "nbf": int(now),
            "tid": tenant,
        }

    def access(self, text: str) -> AccessToken | None:
        """Return what a token grants; None if it is unknown or has expired."""
        token = self._access.get(text)
        return token if token is not None and token.expires_at > self._clock() else None

    def revoke_access(self, text: str) -> None:
        """Refuse an access token from now on."""
        self._access.pop(text, None)

    def issue_refresh(self, consent: Consent) -> str:
        """Return a new refresh token."""
        text = f"0.{secrets.token_urlsafe(80)}"
        self._refresh[text] = (self._clock(), consent)
        return text

    def refresh(self, text: str) -> tuple[float, Consent] | None:
        """Return a refresh token's age in seconds, and its consent; None if unknown."""
        found = self._refresh.get(text)
        return None if found is None else (self._clock() - found[0], found[1])

    def revoke_refresh(self, text: str) -> None:
        """Refuse a refresh token from now on."""
        self._revoked.add(text)

    def is_revoked(self, text: str) -> bool:
        """Return whether a refresh token was revoked."""
        return text in self._revoked
