"""The addresses of each Microsoft cloud in which Partner Center runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cloud:
    """The URLs of one cloud: origins without a path.

    Attributes:
        api_url: Origin of the API ("Partner Center REST URLs").
        auth_url: Origin of Microsoft Entra ID ("National clouds").
    """

    api_url: str
    auth_url: str

    @property
    def resource(self) -> str:
        """Audience that a token must have. The retired Graph audience is refused."""
        return self.api_url


CLOUDS = {
    "global": Cloud(
        api_url="https://api.partnercenter.microsoft.com",
        auth_url="https://login.microsoftonline.com",
    ),
    # The API is the global one; only the authority differs.
    "us_government": Cloud(
        api_url="https://api.partnercenter.microsoft.com",
        auth_url="https://login.microsoftonline.us",
    ),
    # Operated by 21Vianet. Older pages name the authority https://login.chinacloudapi.cn:
    # the setting `auth_url` takes it, should a tenant still need it.
    "china": Cloud(
        api_url="https://partner.partnercenterapi.microsoftonline.cn",
        auth_url="https://login.partner.microsoftonline.cn",
    ),
}
