"""Responses that arrive one byte at a time, in the part that a fault names."""

from __future__ import annotations

import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .responses import Headers

Part: TypeAlias = Literal["continue", "headers", "body", "trailers"]

PAUSE = 0.01
"""Seconds between two pieces."""


def drip(part: Part, status: int, headers: Headers, body: bytes) -> tuple[bytes, Iterable[bytes]]:
    """Return what is sent at once, and then the pieces that are sent one by one.

    All bytes are as on the wire, since servers do not send a partial head. The response ends with
    its last piece, except in `continue`, which never ends.
    """
    line, fields = _head(status, [*headers, (b"connection", b"close")])
    length = b"content-length: %d\r\n" % len(body)
    match part:
        case "continue":
            return b"", itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")
        case "headers":
            return line, _bytes(fields + length + b"\r\n" + body)
        case "body":
            return line + fields + length + b"\r\n", _bytes(body)
        case "trailers":
            chunked = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
            return line + fields + chunked, _bytes(b"x-trailer: %b\r\n\r\n" % (b"-" * 200))


def on_the_wire(status: int, headers: Headers, body: bytes) -> bytes:
    """Return a whole response as its bytes, with no more headers than these."""
    line, fields = _head(status, headers)
    return line + fields + b"\r\n" + body


def _head(status: int, headers: Headers) -> tuple[bytes, bytes]:
    """Return the status line and the headers, without the empty line that ends them."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode("latin-1")
    return line, b"".join(name + b": " + value + b"\r\n" for name, value in headers)


def _bytes(text: bytes) -> Iterable[bytes]:
    return (text[place : place + 1] for place in range(len(text)))
