"""Connections with a deadline for the whole response, however slowly it arrives.

A socket's timeout restarts with each byte that arrives, so a slow trickle can block its reader
forever. Here it limits the response as a whole: status, headers, body and trailers.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from typing_extensions import Buffer
    from urllib3.connectionpool import HTTPConnectionPool


#: Statuses of interim responses, such as 103 Early Hints. After 101, what follows is not HTTP.
_INTERIM = range(102, 200)


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket with the remaining time, not with the full timeout for each read."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        timeout = sock.gettimeout()
        self._ends = float("inf") if timeout is None else time.monotonic() + timeout

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        # The next request on this connection sets a timeout of its own.
        self._sock.settimeout(None if left == float("inf") else left)
        return self._raw.readinto(buffer)

    @override
    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """A response, including that of a proxy to CONNECT, that is read until its deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - http.client's
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock))

    @override
    def begin(self) -> None:
        """Read the head of the final response.

        Interim ones may precede it (RFC 9110, section 15.2). http.client skips only those with
        status 100.
        """
        super().begin()
        while self.status in _INTERIM:
            self.headers = None  # type: ignore[assignment] # as before the first
            super().begin()


def _timed(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Derive a pool, for any scheme or proxy, whose responses have a deadline."""
    connection = type(
        f"Timed{pool.ConnectionCls.__name__}",
        (pool.ConnectionCls,),
        {"response_class": _TimedResponse},
    )
    return type(f"Timed{pool.__name__}", (pool,), {"ConnectionCls": connection})


def limit_response_time(
    pools: Mapping[str, type[HTTPConnectionPool]],
) -> dict[str, type[HTTPConnectionPool]]:
    """Derive pools whose responses have a deadline from those of a urllib3 manager."""
    return {scheme: _timed(pool) for scheme, pool in pools.items()}
