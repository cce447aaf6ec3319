"""Connections whose answers end in time, however slowly they come.

The timeout of a socket starts again with each byte that arrives: an answer that drips holds its
reader forever. Here it bounds the answer as a whole: status, headers, body and trailers.
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


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket with the time that is left, not with the same time for each read."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        """Begin: what the socket allows for one read is the time for all of them."""
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
    """An answer, also one of a proxy to CONNECT, that is read until its deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - http.client's
        """Begin to read: the request is sent."""
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock))


def _timed(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Derive a pool, of whatever scheme or proxy, whose answers end in time."""
    connection = type(
        f"Timed{pool.ConnectionCls.__name__}",
        (pool.ConnectionCls,),
        {"response_class": _TimedResponse},
    )
    return type(f"Timed{pool.__name__}", (pool,), {"ConnectionCls": connection})


def answer_in_time(
    pools: Mapping[str, type[HTTPConnectionPool]],
) -> dict[str, type[HTTPConnectionPool]]:
    """Derive from the pools of a urllib3 manager those whose answers end in time."""
    return {scheme: _timed(pool) for scheme, pool in pools.items()}
