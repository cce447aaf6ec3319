"""Why no answer came: a cause in words, and the setting or variable that an operator looks at.

The messages of requests and urllib3 quote addresses, headers and proxies with their passwords: none
of them is repeated. A cause is found by the classes and numbers of the errors behind an error.
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
    "Set REQUESTS_CA_BUNDLE to a file with the certificates to trust, if a proxy or a private "
    "authority stands between; else check {setting} and the clock of this machine."
)
_PROXY = "Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."
_ADDRESS = "Check the network and {setting}."

#: Answers of a proxy to CONNECT that another attempt does not change.
_PROXY_REFUSALS = ("400", "401", "403", "404", "405", "407")
#: What OpenSSL calls an answer that is no TLS.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
_NUMBERS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection aborted",
    errno.EPIPE: "connection closed",
    errno.EHOSTUNREACH: "host not reachable",
    errno.ENETUNREACH: "network not reachable",
    errno.ETIMEDOUT: "time-out while connecting",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why there is no answer.

    Attributes:
        words: A few, without data of the request.
        remedy: What to look at, as a sentence; `{setting}` stands for the name of the address.
        permanent: Whether another attempt would end in the same way.
    """

    words: str
    remedy: str = _ADDRESS
    permanent: bool = False


_BAD_ADDRESS = Cause("the address is not usable", "Check {setting} and any proxy.", permanent=True)
#: Ways in which no attempt can succeed, by the first error among those behind an error.
_UNUSABLE: dict[type[BaseException], Cause] = {
    requests.exceptions.InvalidProxyURL: Cause(
        "the proxy's address is not usable", _PROXY, permanent=True
    ),
    urllib3.exceptions.ProxySchemeUnknown: Cause(
        "a proxy of this kind is not supported", _PROXY, permanent=True
    ),
    # The tap itself knows no scheme but http and https: it is a SOCKS proxy without its library.
    requests.exceptions.InvalidSchema: Cause(
        "a SOCKS proxy needs a library that is not installed",
        f"Install requests[socks] alongside the tap, or use another proxy. {_PROXY}",
        permanent=True,
    ),
    urllib3.exceptions.LocationValueError: _BAD_ADDRESS,
    requests.exceptions.InvalidURL: _BAD_ADDRESS,
}
#: What other errors are called; the first that is found counts.
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (urllib3.exceptions.NameResolutionError, "name not resolved"),
    (requests.ConnectTimeout, "time-out while connecting"),
    (TimeoutError, "time-out"),
    (urllib3.exceptions.ReadTimeoutError, "time-out"),
    (http.client.RemoteDisconnected, "connection closed"),
    (http.client.IncompleteRead, "answer cut short"),
    (requests.exceptions.ContentDecodingError, "answer not decompressible"),
    (requests.ConnectionError, "no connection"),
)


def cause_of(error: Exception) -> Cause:
    """Tell why a request had no answer, or none that could be read to its end."""
    errors = list(_behind(error))
    for kind, cause in _UNUSABLE.items():
        if _first(errors, kind):
            return cause
    if secure := _tls_cause(errors):
        return secure
    if _first(errors, urllib3.exceptions.ProxyError):
        return _proxy_cause(errors)
    words = _words(errors)
    if words == "time-out":
        remedy = "Check the network and {setting}; request_timeout gives a slow answer more time."
        return Cause(words, remedy)
    return Cause(words)


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was made of: as cause, context, reason or argument."""
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
        # OpenSSL's words, which name no more than the host.
        why = untrusted.verify_message or "it cannot be verified"
        return Cause(f"certificate not trusted: {why}", _CERTIFICATES, permanent=True)
    broken = _first(errors, ssl.SSLError)
    if broken is None:
        return None
    if broken.reason in _NO_TLS:
        proxy = _first(errors, urllib3.exceptions.ProxyError)
        remedy = _PROXY if proxy else "Check {setting}: https must be spoken there."
        return Cause("the other side speaks no TLS", remedy, permanent=True)
    if broken.library in {"X509", "PEM"}:
        return Cause("the file of certificates holds none", _CERTIFICATES, permanent=True)
    return Cause("the TLS connection broke")


def _proxy_cause(errors: list[BaseException]) -> Cause:
    for error in errors:
        # http.client tells the status of a refused CONNECT in a message alone.
        if isinstance(error, OSError) and str(error).startswith("Tunnel connection failed: "):
            status = str(error).removeprefix("Tunnel connection failed: ")[:3]
            refused = status in _PROXY_REFUSALS
            return Cause(f"the proxy answered HTTP {status}", _PROXY, permanent=refused)
    return Cause(f"the proxy: {_words(errors)}", _PROXY)


def _words(errors: list[BaseException]) -> str:
    for error in errors:
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return _NUMBERS[error.errno]
    return next((words for kind, words in _KINDS if _first(errors, kind)), "broken answer")


class Route(NamedTuple):
    """The way to an origin. As text: its hosts and ports, without users and passwords.

    Attributes:
        origin: Where requests go.
        setting: The setting that names it.
        proxy: Address of the proxy between, None for none.
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
        return "(odd address)"
    return f"{parts.hostname or ''}:{port}" if port else parts.hostname or ""
