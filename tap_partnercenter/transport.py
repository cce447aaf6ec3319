"""HTTP as the tap uses it: one connection pool, no redirects, bounded responses decoded once."""

from __future__ import annotations

import decimal
import functools
import logging
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from typing_extensions import override

from tap_partnercenter.connection_errors import Route, cause_of
from tap_partnercenter.deadline import limit_response_time
from tap_partnercenter.errors import PartnerCenterError, TryAgain
from tap_partnercenter.outcomes import Outcome, Rule
from tap_partnercenter.repair import NUL, repaired
from tap_partnercenter.responses import ApiResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Seconds to wait for a connection; the setting request_timeout limits a whole response.
CONNECT_TIMEOUT = 10.0
#: Largest body to read, in bytes. A page of 500 customers has about 400 KB.
MAX_BODY_BYTES = 64 * 1024 * 1024

_BLOCK = 256 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Maximum bytes of a body without content, including a byte order mark and some whitespace.
_MAX_BLANK_BYTES = 32
#: Names of the only encoding that is requested.
_GZIP = frozenset({"gzip", "x-gzip"})
_DECODER = msgspec.json.Decoder(float_hook=decimal.Decimal)


class UnreadableBody(Exception):
    """A body is not a JSON object, or too large. The message contains nothing of it."""


class _Adapter(HTTPAdapter):
    """Creates an :class:`ApiResponse` from each response that finished in time."""

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager = self.poolmanager
        manager.pool_classes_by_scheme = limit_response_time(manager.pool_classes_by_scheme)

    @override
    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.PoolManager:
        known = proxy in self.proxy_manager
        manager: urllib3.PoolManager = super().proxy_manager_for(proxy, **kwargs)
        if not known:
            manager.pool_classes_by_scheme = limit_response_time(manager.pool_classes_by_scheme)
        return manager

    @override
    def build_response(
        self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse
    ) -> ApiResponse:
        # `__init__` would only set attributes that are then replaced.
        response = ApiResponse.__new__(ApiResponse)
        response.__dict__.update(super().build_response(req, resp).__dict__)
        return response


class Transport:
    """Sends prepared requests over a pool sized for the concurrency."""

    def __init__(self, *, connections: int, response_timeout: float) -> None:
        """Open no connection yet; `response_timeout` is in seconds, for a whole response."""
        # It would log URLs, and header lines that it cannot parse.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)
        # No session: it would follow redirects, and so send the token to a URL that is not
        # configured, and keep cookies, for which all threads would compete.
        self._adapter = _Adapter(pool_connections=2, pool_maxsize=connections)
        self._timeout = (CONNECT_TIMEOUT, response_timeout)
        # Looking it up takes longer than sending, so it is done once for each origin.
        self._environment = functools.cache(_environment)

    def send(self, request: requests.PreparedRequest, setting: str) -> ApiResponse:
        """Send a request and return its response with the body still unread.

        `setting` is the name of the setting with the URL, for messages.

        Raises:
            TryAgain: If there was no response.
            PartnerCenterError: If there cannot be one.
        """
        url = str(request.url)
        origin = url[: url.find("/", len("https://"))]
        environment, route = self._environment(origin, setting)
        with _explained(route):
            response = self._adapter.send(request, **environment, timeout=self._timeout)
        assert isinstance(response, ApiResponse)  # noqa: S101 - what the adapter makes
        response.route = route
        return response

    def close(self) -> None:
        """Close idle connections."""
        self._adapter.close()


def _environment(origin: str, setting: str) -> tuple[Mapping[str, Any], Route]:
    """Read REQUESTS_CA_BUNDLE and the proxy variables."""
    session = requests.Session()
    environment = session.merge_environment_settings(origin, {}, True, None, None)  # noqa: FBT003
    return environment, Route(origin, setting, select_proxy(origin, environment["proxies"]))


@contextmanager
def _explained(route: Route) -> Iterator[None]:
    """Translate a failed request into an error with a message for the operator."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        cause = cause_of(error)
        remedy = cause.remedy.format(setting=route.setting)
        if cause.permanent:
            message = f"No connection to {route}: {cause.words}. {remedy} Not retried."
            raise PartnerCenterError(message) from None
        rule = Rule(Outcome.RETRY, meaning="no response", remedy=remedy)
        reason = f"no response from {route} ({cause.words})"
        raise TryAgain(rule, reason) from None
    except OSError as error:
        # A CA bundle is missing: trying again cannot help.
        message = f"No connection can be made: {error}. Check REQUESTS_CA_BUNDLE."
        raise PartnerCenterError(message) from None


def read_body(response: ApiResponse) -> bytes:
    """Read a whole body, up to :data:`MAX_BODY_BYTES` after decompression.

    Raises:
        TryAgain: If the connection or the time runs out before the end of the body.
        UnreadableBody: If it is too large, or cannot be decompressed.
    """
    # urllib3 does not notice a missing end: half a response could pass for an empty one.
    packed = _encoding(response) in _GZIP
    blocks = []
    size = 0
    with _explained(response.route), response:
        raw = response.raw.stream(_BLOCK, decode_content=False)
        for block in raw if packed else response.iter_content(_BLOCK):
            size += len(block)
            _check_size(size)
            blocks.append(block)
    body = b"".join(blocks)
    return _unpacked(body) if packed else body


def _check_size(size: int) -> None:
    if size > MAX_BODY_BYTES:
        message = f"a body of more than {MAX_BODY_BYTES >> 20} MiB"
        raise UnreadableBody(message)


def _unpacked(packed: bytes) -> bytes:
    """Decompress a whole body of one or more members, as RFC 1952 allows."""
    body = b""
    damaged = "a body that cannot be decompressed"
    while packed:
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            body += member.decompress(packed, MAX_BODY_BYTES + 1 - len(body))
        except zlib.error:
            raise UnreadableBody(damaged) from None
        _check_size(len(body))
        if not member.eof:
            raise UnreadableBody(damaged)
        packed = member.unused_data
    return body


def decode(body: bytes) -> Mapping[str, Any]:
    """Decode a JSON object, with or without a byte order mark before it.

    The service has been seen to send one (Azure/msrest-for-python issue 144).

    Raises:
        UnreadableBody: If it is not an object, or nested too deeply.
    """
    try:
        document = _DECODER.decode(body.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = "a body that is not JSON"
        raise UnreadableBody(message) from error
    if not isinstance(document, dict):
        message = "JSON that is not an object"
        raise UnreadableBody(message)
    return document


def is_blank(body: bytes, response: ApiResponse) -> bool:
    """Return whether the body of a response is empty, `null` or `{}`.

    Raises:
        UnreadableBody: If it is empty, but may have been sent with content.
    """
    if len(body) > _MAX_BLANK_BYTES:
        return False
    content = b"".join(body.removeprefix(_BYTE_ORDER_MARK).split())
    if not content and not _has_end(response):
        message = "a body that may have been lost"
        raise UnreadableBody(message)
    return content in {b"", b"null", b"{}"}


def _has_end(response: ApiResponse) -> bool:
    """Return whether a missing end of a body would have been noticed.

    One without a length ends with the connection, which may have been lost (RFC 9112, section 6.3).
    Encodings that were not requested are decoded by urllib3 as far as they go.
    """
    framed = response.raw.chunked or response.raw.length_remaining is not None
    return framed and _encoding(response) in {"", "identity", *_GZIP}


def _encoding(response: ApiResponse) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def decode_repaired(body: bytes) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Decode a page like :func:`decode`, with invalid characters replaced.

    Returns:
        The document, and the path of each field of its records that was changed.

    Raises:
        UnreadableBody: If it is not a JSON object even so.
    """
    if NUL not in body:
        with suppress(UnreadableBody):
            return decode(body), ()
    try:
        document, paths = repaired(body.removeprefix(_BYTE_ORDER_MARK))
    except (ValueError, RecursionError):
        document, paths = None, []
    if not isinstance(document, dict):
        # This raises the reason.
        return decode(body), ()
    return document, paths
