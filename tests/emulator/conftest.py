"""A well-behaved client of the emulated API, signed in over the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import requests

if TYPE_CHECKING:
    from partnercenter_emulator import Emulator

Page: TypeAlias = dict[str, Any]
SignIn: TypeAlias = Callable[..., requests.Session]
TokenForm: TypeAlias = Callable[..., dict[str, str]]

PRINTED = Path(__file__).parent / "printed"


class _Client(requests.Session):
    """A session that accepts paths of the emulator as addresses."""

    def __init__(self, origin: str) -> None:
        super().__init__()
        self.trust_env = False
        self._origin = origin

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        address = self._origin + url if url.startswith("/") else url
        kwargs.setdefault("timeout", 10)
        response = super().request(method, address, *args, **kwargs)
        # The standard library's json does not ignore a byte order mark in text.
        response.encoding = "utf-8-sig"
        return response


@pytest.fixture
def connect() -> Iterator[SignIn]:
    """Return a function that creates a client without a token."""
    clients: list[_Client] = []

    def make(emulator: Emulator) -> requests.Session:
        clients.append(_Client(emulator.url))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def token_form() -> TokenForm:
    """Return a function that creates the body of a token request; changes replace its fields."""

    def make(emulator: Emulator, *, app_only: bool = False, **changes: str) -> dict[str, str]:
        credentials = emulator.credentials
        offline = "" if app_only else " offline_access"
        form = {
            "grant_type": "client_credentials" if app_only else "refresh_token",
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
            "refresh_token": credentials.refresh_token,
            "scope": f"https://api.partnercenter.microsoft.com/.default{offline}",
        }
        return form | changes

    return make


@pytest.fixture
def sign_in(connect: SignIn, token_form: TokenForm) -> SignIn:
    """Return a function that creates a client with a token, App+User by default."""

    def make(emulator: Emulator, **changes: Any) -> requests.Session:
        client = connect(emulator)
        path = f"/{emulator.credentials.tenant_id}/oauth2/v2.0/token"
        response = client.post(path, data=token_form(emulator, **changes))
        assert response.status_code == 200, response.text
        client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"
        return client

    return make


@pytest.fixture
def follow() -> Callable[[requests.Session, Page, str], requests.Response | None]:
    """Return a function that requests the next page; None after the last."""

    def ask(client: requests.Session, page: Page, path: str) -> requests.Response | None:
        link = (page.get("links") or {}).get("next")
        token = page.get("continuationToken")
        headers = {"MS-ContinuationToken": token} if token else {}
        if link:
            parts = urlsplit(link["uri"])
            query = parts.query.replace("?", "&")
            path = f"/v1{parts.path.removeprefix('/v1')}?{query}"
            headers |= {pair["key"]: pair["value"] for pair in link["headers"]}
        elif token:
            path += ("&" if "?" in path else "?") + "seekOperation=Next"
        else:
            return None
        return client.get(path, headers=headers)

    return ask


@pytest.fixture
def read_all(
    follow: Callable[[requests.Session, Page, str], requests.Response | None],
) -> Callable[[requests.Session, str], list[Page]]:
    """Return a function that reads a list to its end and returns its pages."""

    def read(client: requests.Session, path: str) -> list[Page]:
        response: requests.Response | None = client.get(path)
        pages: list[Page] = []
        while response is not None:
            ended = response.status_code == 400 and response.json()["code"] == 2000
            if ended and pages:
                break
            assert response.status_code == 200, response.text
            pages.append(response.json(parse_float=Decimal))
            response = follow(client, pages[-1], path)
        return pages

    return read


@pytest.fixture
def printed() -> Callable[[str], bytes]:
    """Return a function that reads a body as printed in the vendor's documentation."""
    return lambda name: (PRINTED / f"{name}.json").read_bytes()
