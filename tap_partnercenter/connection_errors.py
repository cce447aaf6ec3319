"""Why there was no response: a cause in words, and the setting or variable to check.

The messages of requests and urllib3 quote URLs, headers and proxies with their passwords, so none
of them is repeated. The cause is found by the classes and numbers of the errors in the chain.
"""

from __future__ import annotations

import errno
import http.client
import ssl
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

E = TypeVar("E", bound=BaseException)

_CERTIFICATES = (
    "If a proxy or a private certificate authority is in between, set REQUESTS_CA_BUNDLE to a file "
    "with the certificates to trust. Otherwise check {setting} and this machine's clock."
)
_PROXY = "Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."
_ADDRESS = "Check the network and {setting}."

#: Responses of a proxy to CONNECT that a retry would not change.
_PROXY_REFUSALS = ("400", "401", "403", "404", "405", "407")
#: OpenSSL's reasons for a response that is not TLS.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
_OS_ERRORS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection aborted",
    errno.EPIPE: "connection closed",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "timed out while connecting",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why there is no response.

    Attributes:
        words: A short description, without data of the request.
        remedy: What to check, as a sentence; `{setting}` stands for the setting with the URL.
        permanent: Whether retrying won't help.
    """

    words: str
    remedy: str = _ADDRESS
    permanent: bool = False


_BAD_ADDRESS = Cause("the address is invalid", "Check {setting} and any proxy.", permanent=True)
#: Errors that make every attempt fail, by the first of their classes found in the chain.
_UNUSABLE: dict[type[BaseException], Cause] = {
    requests.exceptions.InvalidProxyURL: Cause(
        "the proxy address is invalid", _PROXY, permanent=True
    ),
    urllib3.exceptions.ProxySchemeUnknown: Cause(
        "a proxy of this kind is not supported", _PROXY, permanent=True
    ),
    # The tap itself knows no scheme but http and https: it is a SOCKS proxy without its library.
    requests.exceptions.InvalidSchema: Cause(
        "a SOCKS proxy needs a library that is missing",
        f"Install requests[socks] alongside the tap, or use another proxy. {_PROXY}",
        permanent=True,
    ),
    urllib3.exceptions.LocationValueError: _BAD_ADDRESS,
    requests.exceptions.InvalidURL: _BAD_ADDRESS,
}
#: Descriptions of other errors; the first match wins.
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "host name not resolved"),
    (requests.ConnectTimeout, "timed out while connecting"),
    (TimeoutError, "timed out"),
    (urllib3.exceptions.ReadTimeoutError, "timed out"),
    (http.client.RemoteDisconnected, "connection closed"),
    (http.client.IncompleteRead, "response cut short"),
    (http.client.HTTPException, "malformed response"),
    (requests.exceptions.ContentDecodingError, "response cannot be decompressed"),
    (requests.ConnectionError, "no connection"),
)


def cause_of(error: Exception) -> Cause:
    """Return why a request had no response, or none that could be read completely."""
    errors = list(_chain(error))
    for kind, cause in _UNUSABLE.items():
        if _first(errors, kind):
            return cause
    if secure := _tls_cause(errors):
        return secure
    # The second is raised for a SOCKS proxy, by a library that may be missing.
    if any(type(error).__name__ in {"ProxyError", "ProxyConnectionError"} for error in errors):
        return _proxy_cause(errors)
    words = _words(errors)
    if words == "timed out":
        remedy = (
            "Check the network and {setting}. If responses are just slow, raise request_timeout."
        )
        return Cause(words, remedy)
    return Cause(words)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all errors in its chain: causes, contexts, reasons and arguments."""
    waiting, seen = deque([error]), set[int]()
    while waiting:
        found = waiting.popleft()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        parts = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting.extend(part for part in parts if isinstance(part, BaseException))


def _first(errors: list[BaseException], kind: type[E]) -> E | None:
    return next((error for error in errors if isinstance(error, kind)), None)


def _tls_cause(errors: list[BaseException]) -> Cause | None:
    if untrusted := _first(errors, ssl.SSLCertVerificationError):
        # OpenSSL's message, which names only the host.
        why = untrusted.verify_message or "it cannot be verified"
        return Cause(f"certificate not trusted: {why}", _CERTIFICATES, permanent=True)
    broken = _first(errors, ssl.SSLError)
    if broken is None:
        return None
    if broken.reason in _NO_TLS:
        proxy = _first(errors, urllib3.exceptions.ProxyError)
        remedy = _PROXY if proxy else "Check {setting}: the server there must speak https."
        return Cause("the server does not speak TLS", remedy, permanent=True)
    if broken.library in {"X509", "PEM"}:
        return Cause("the CA file contains no certificates", _CERTIFICATES, permanent=True)
    return Cause("the TLS connection failed")


def _proxy_cause(errors: list[BaseException]) -> Cause:
    for error in errors:
        # http.client reports the status of a refused CONNECT in the message only.
        if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed: "):
            status = str(error).removeprefix("Tunnel connection failed: ")[:3]
            refused = status in _PROXY_REFUSALS
            return Cause(f"the proxy returned HTTP {status}", _PROXY, permanent=refused)
    return Cause(f"the proxy: {_words(errors)}", _PROXY)


def _words(errors: list[BaseException]) -> str:
    for error in errors:
        if isinstance(error, OSError) and error.errno in _OS_ERRORS:
            return _OS_ERRORS[error.errno]
    return next((words for kind, words in _KINDS if _first(errors, kind)), "malformed response")


class Route(NamedTuple):
    """The route to an origin. As text: hosts and ports, without users and passwords.

    Attributes:
        origin: Where requests go.
        setting: The setting that names it.
        proxy: URL of the proxy, None without one.
    """

    origin: str
    setting: str
    proxy: str | None

    @override
    def __str__(self) -> str:
        through = f" through the proxy {_host_of(self.proxy)}" if self.proxy else ""
        return _host_of(self.origin) + through


def _host_of(address: str) -> str:
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        port = parts.port
    except ValueError:
        return "(invalid address)"
    return f"{parts.hostname or ''}:{port}" if port else parts.hostname or ""
