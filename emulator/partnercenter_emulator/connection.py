"""The connection below HTTP: the server's protocol, and how a fault cuts the connection."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, MutableMapping

_KEY = "partnercenter_emulator.transport"
_LATE = "partnercenter_emulator.late"
_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 that gives the application the transport of a request."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # asyncio does this for some sockets only. Without it the head and body of a response,
        # which are sent separately, arrive 40 ms apart.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._late = bytearray()
        super().connection_made(transport)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][_KEY] = self.transport
        self.scope["state"][_LATE] = self._late


async def cut(
    scope: dict[str, Any], receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
) -> None:
    """Reset a request's connection: the client gets no response at all."""
    transport = _transport(scope)
    if transport is not None:
        connection = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            # Without lingering, a close becomes a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        transport.abort()
        await _until_disconnected(receive)


async def finish(
    scope: dict[str, Any], receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
) -> None:
    """Close a request's connection after what was sent so far."""
    transport = _transport(scope)
    if transport is not None:
        transport.close()
        await _until_disconnected(receive)


def write(scope: dict[str, Any], data: bytes) -> None:
    """Send unmodified bytes, bypassing the server."""
    transport = _transport(scope)
    if transport is not None:
        transport.write(data)


def write_late(scope: dict[str, Any], data: bytes) -> None:
    """Send unmodified bytes when the next request on the same connection is answered."""
    scope.get("state", {}).get(_LATE, bytearray()).extend(data)


def write_what_is_late(scope: dict[str, Any]) -> None:
    """Send what :func:`write_late` has kept."""
    late: bytearray | None = scope.get("state", {}).get(_LATE)
    if late:
        write(scope, bytes(late))
        late.clear()


def is_disconnected(scope: dict[str, Any]) -> bool:
    """Return whether the client has left."""
    transport = _transport(scope)
    return transport is not None and transport.is_closing()


def _transport(scope: dict[str, Any]) -> asyncio.Transport | None:
    transport: asyncio.Transport | None = scope.get("state", {}).get(_KEY)
    return transport


async def _until_disconnected(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
