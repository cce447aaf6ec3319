"""Follows continuations. The next request is the one the service names, never rebuilt.

The forms are those of "Get a list of customers" and of the .NET SDK's enumerators: a link with
headers, or a bare token in the body.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from singer_sdk.pagination import BaseAPIPaginator
from typing_extensions import override

from tap_partnercenter.errors import PartnerCenterError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import requests

    from tap_partnercenter.responses import ApiResponse

TOKEN_HEADER = "MS-ContinuationToken"  # noqa: S105 - the name of a header

#: Dots that lead elsewhere, and what a server may treat as a slash, encoded or not.
_UNSAFE_PATH = re.compile(r"/(\.|%2e){1,2}(/|$)|\\|%5c|%2f", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
#: Headers of the connection or of our sign-in; no response may set them.
_OWN_HEADERS = frozenset(
    {"authorization", "connection", "content-length", "cookie", "host", "transfer-encoding"},
)
#: Members of an envelope that name the next page, and what may do so by another name.
_FOLLOWED = frozenset({"links.next", "continuationToken"})
_CONTINUES = re.compile("next|continuation", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Continuation:
    """The request for the next page.

    Attributes:
        url: Absolute, below the configured base.
        headers: Pairs to send with it.
        largest: Number of records on the partition's largest page so far.
        computed: Whether the tap computed it, because the page before names none: there may be no
            such page.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    largest: int = 0
    computed: bool = False

    @property
    def has_token(self) -> bool:
        """Whether the service named a token: only such a continuation may lead nowhere."""
        return any(name.lower() == TOKEN_HEADER.lower() for name, _ in self.headers)

    @property
    def digest(self) -> str:
        """A short name for messages: tokens are long and meaningless."""
        text = "\n".join([self.url, *(f"{name}: {value}" for name, value in self.headers)])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class UnusableContinuation(PartnerCenterError):
    """The service named a next page that must not, or cannot, be followed."""


class LinkPaginator(BaseAPIPaginator["Continuation | None"]):
    """Follows `links.next`: its uri unchanged, with all of its headers."""

    def __init__(self, api_url: str, start: Continuation | None = None) -> None:
        super().__init__(start)
        self._api_url = api_url
        # A page that links to itself or to an earlier one would never end.
        self._seen = {start.digest} if start else set[str]()
        #: Records of the last page.
        self.rows = 0
        #: Records of the last non-empty page, 0 for none: pages in the middle can be empty …
        self.filled = 0
        #: … and of the largest page before that one, 0 for none.
        self.largest_before = 0
        self._largest = start.largest if start else 0

    def after_short_page(self, requested_size: int | None) -> bool:
        """Return whether the last non-empty page looks like the end of the data.

        `requested_size` is None if the service decides.
        """
        # A service may cap pages below the requested size, which only another page can show.
        return self.filled < min(requested_size or self.largest_before, self.largest_before)

    def fresh(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the records of the last page that were on no earlier page."""
        return records

    @override
    def get_next(self, response: requests.Response) -> Continuation | None:
        """Return the request for the next page, or None after the last.

        Raises:
            UnusableContinuation: If it leads to another origin, loops, or cannot be read.
        """
        page = cast("ApiResponse", response)
        self.rows = len(page.items)
        if self.rows:
            self.filled, self.largest_before = self.rows, self._largest
        self._largest = max(self._largest, self.rows)
        continuation = self.read(page)
        if continuation is not None:
            if continuation.digest in self._seen:
                message = (
                    f"the service sent the continuation {continuation.digest} a second time: "
                    "its pages form a loop"
                )
                raise UnusableContinuation(message)
            self._seen.add(continuation.digest)
            continuation = replace(continuation, largest=self._largest)
        return continuation

    def read(self, page: ApiResponse) -> Continuation | None:
        """Read the continuation of a page, without checking whether it was seen before."""
        _refuse_other_forms(page.document)
        link = _next_link(page.document)
        if link is None:
            return None
        headers = _link_headers(link)
        token = _token(page)
        if token and TOKEN_HEADER.lower() not in (name.lower() for name, _ in headers):
            headers += ((TOKEN_HEADER, token),)
        return Continuation(absolute_url(link.get("uri"), self._api_url), headers)


class SeekPaginator(LinkPaginator):
    """Follows links and, where a page has none, the `continuationToken` of its body.

    Microsoft's bulk migration tool pages like this. Whether a filter must be sent again with a bare
    token is not documented, so the previous page's query is repeated.
    """

    @override
    def read(self, page: ApiResponse) -> Continuation | None:
        linked = super().read(page)
        if linked is not None:
            return linked
        token = _token(page)
        if not token:
            return None
        url = str(page.request.url)
        if "seekoperation" not in (name.lower() for name, _ in parse_qsl(urlsplit(url).query)):
            url += ("&" if "?" in url else "?") + "seekOperation=Next"
        return Continuation(url, ((TOKEN_HEADER, token),))


class OffsetPaginator(LinkPaginator):
    """Follows links that count rows; after a page without one, computes the next offset.

    A service may cap pages below the requested size, so even a short page is not taken for the end.
    A service may ignore the offset, as Partner Center does for some kinds of invoices, and send the
    same rows forever. So a page without a new row is not followed. Instead, everything is requested
    at once, which the service returns as one page ("Get a collection of invoices").
    """

    def __init__(self, api_url: str, start: Continuation | None = None) -> None:
        super().__init__(api_url, start)
        self._ids: set[Any] = set()
        self._fresh: list[dict[str, Any]] = []
        self._requested_all = False
        #: Number of rows below which the next page cannot be the whole list.
        self._at_least = 0

    @override
    def fresh(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self._fresh

    @override
    def get_next(self, response: requests.Response) -> Continuation | None:
        page = cast("ApiResponse", response)
        if len(page.items) < self._at_least:
            message = "the service sent fewer rows for the whole list than for its first pages"
            raise UnusableContinuation(message)
        self._at_least = 0
        self._fresh = [row for row in page.items if str(row.get("id")) not in self._ids]
        self._ids.update(str(row.get("id")) for row in page.items)
        if page.items and not self._fresh:
            if self._requested_all:
                return None
            self._requested_all = True
            self._at_least = len(self._ids)
            # Not `computed`: there is such a page, so a refusal is not the end.
            return Continuation(_with_query(page, drop={"size", "offset"}))
        if self._requested_all and (link := self.read(page)) and link.digest in self._seen:
            return None  # it was asked for, and held nothing new
        return super().get_next(response) or self._next_offset(page)

    def _next_offset(self, page: ApiResponse) -> Continuation | None:
        """Return the page after one with records that names no next page."""
        query = dict(parse_qsl(urlsplit(str(page.request.url)).query))
        offset = query.get("offset", "")
        if not page.items or not (offset.isascii() and offset.isdigit()):
            return None
        offset = str(int(offset[:18]) + len(page.items))
        return Continuation(_with_query(page, offset=offset), computed=True)


def _with_query(page: ApiResponse, drop: Container[str] = (), **members: str) -> str:
    """Return the URL of a response with other parameters in its query."""
    parts = urlsplit(str(page.request.url))
    query = {k: v for k, v in parse_qsl(parts.query) if k not in drop} | members
    return urlunsplit(parts._replace(query=urlencode(query)))


def absolute_url(uri: object, api_url: str) -> str:
    """Convert any form of `links.next.uri` to one absolute URL below the base.

    Observed forms are `/customers…`, `/v1/customers…` and a second `?` instead of `&`.

    Args:
        uri: As the service sent it.
        api_url: Origin of the API, without `/v1`.

    Raises:
        UnusableContinuation: If it is not such a uri, or leads to another origin.
    """
    if not isinstance(uri, str) or not uri.isascii() or not uri.isprintable() or " " in uri:
        message = "the service named a next page with an unusable address"
        raise UnusableContinuation(message)
    try:
        parts = urlsplit(uri)
        origin = _origin(uri) if parts.scheme or parts.netloc else _origin(api_url)
    except ValueError as error:
        message = "the service named a next page with an unusable address"
        raise UnusableContinuation(message) from error
    if origin != _origin(api_url) or "@" in parts.netloc:
        message = (
            "the service named a next page at an origin other than api_url; the tap does not send "
            "its token there"
        )
        raise UnusableContinuation(message)
    path = parts.path
    segments = path.split("/")
    if not path.startswith("/") or _UNSAFE_PATH.search(path):
        message = "the service named a next page outside the API's root"
        raise UnusableContinuation(message)
    if segments[1].lower() != "v1":
        path = f"/v1{path}"
    base = urlsplit(api_url)
    query = parts.query.replace("?", "&")
    return urlunsplit((base.scheme, base.netloc, path, query, ""))


def checked_header(name: object, value: object) -> tuple[str, str]:
    """Return a header of a continuation.

    Raises:
        UnusableContinuation: If it is not a header, or one that only the tap may set.
    """
    if (
        not isinstance(name, str)
        or not isinstance(value, str)
        or not _HEADER_NAME.fullmatch(name)
        or name.lower() in _OWN_HEADERS
        or not value.isascii()
        or not value.isprintable()
    ):
        message = "the service named a next page with a header that the tap must not send"
        raise UnusableContinuation(message)
    # Spaces around it are not part of a value (RFC 9110, section 5.5), and must not be sent.
    return name, value.strip()


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _refuse_other_forms(document: Mapping[str, Any]) -> None:
    """Refuse a page that names the next one in a way that is not followed.

    Partner Center's analytics, for example, use capitals and `@nextLink`.

    Raises:
        UnusableContinuation: If it does: the data would silently end.
    """
    members = dict(document)
    for name, links in document.items():
        if name.lower() == "links" and isinstance(links, dict):
            members |= {f"{name}.{relation}": link for relation, link in links.items()}
    for name, value in members.items():
        if value and name not in _FOLLOWED and _CONTINUES.search(name):
            message = "the service named a next page in a form that the tap cannot follow"
            raise UnusableContinuation(message)


def _next_link(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    links = document.get("links")
    if links is None:
        return None
    link = links.get("next") if isinstance(links, dict) else links
    if link is None or isinstance(link, dict):
        return link
    message = "the service sent links in a form that the tap cannot read"
    raise UnusableContinuation(message)


def _link_headers(link: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs = link.get("headers") or []
    members = [
        pair if isinstance(pair, dict) else {}
        for pair in (pairs if isinstance(pairs, list) else [pairs])
    ]
    return tuple(checked_header(member.get("key"), member.get("value")) for member in members)


def _token(page: ApiResponse) -> str | None:
    """Return the token in a body or, where it has none, in a header that is not just an echo."""
    token = page.document.get("continuationToken")
    if not token and page.headers.get(TOKEN_HEADER) != page.request.headers.get(TOKEN_HEADER):
        token = page.headers.get(TOKEN_HEADER)
    if token is None:
        return None
    if isinstance(token, str) and token.isascii() and token.isprintable():
        return token.strip()
    message = "the service sent a continuation token that the tap cannot send back"
    raise UnusableContinuation(message)
