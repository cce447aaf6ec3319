"""The ASGI application: how each request is processed, from arrival to response."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import math
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from .admin import PREFIX, create_admin
from .api import check_route, check_token, respond
from .calls import Call
from .connection import cut, finish, is_disconnected, write, write_late, write_what_is_late
from .drip import PAUSE, drip, on_the_wire
from .faults import huge_body, tampered
from .listing import read_listing
from .resources import SIGN_IN_PLACES
from .responses import BODILESS, MAX_NUMBER_LENGTH, ApiError, Headers, Response, error_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, MutableMapping

    from .faults import Fault
    from .state import State

    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

BOM = b"\xef\xbb\xbf"
SERVER_ID = b"030020525"


class ClientGoneError(Exception):
    """The client closed the connection before it got a response."""


def create_app(state: State, *, allowed_hosts: Collection[str] = ()) -> Application:
    """Return the emulator as an ASGI application for a server of your own.

    Faults that cut connections need the server of this package. Elsewhere they end in whatever that
    server does when an application returns without a response.

    Args:
        state: The emulator.
        allowed_hosts: Host names that its admin API accepts, besides `localhost` and any IP
            address.
    """
    return Application(state, allowed_hosts)


class Application:
    """Serves one `State` over ASGI."""

    def __init__(self, state: State, allowed_hosts: Collection[str] = ()) -> None:
        """Serve `state`; the admin API accepts these host names as well."""
        self._state = state
        self._admin = create_admin(state, allowed_hosts)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection event of the ASGI protocol."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif self._state.options.admin and scope["path"].split("/")[1:2] == [PREFIX]:
            await self._admin(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        state = self._state
        call = Call.from_scope(scope, state.clock())
        if call.method == "POST":
            call.body = await _body(receive)
        else:
            read_listing(call, state.options, state.continuations)
        state.journal.arrive(call, state.quota_key(call))
        status = 0
        try:
            response, fault = await self._respond(call, receive)
            if fault is not None and fault.reset:
                await cut(scope, receive)
                return
            status = response.status
            await self._deliver(call, response, fault, scope, receive, send)
        except ClientGoneError:
            status = 0
        finally:
            state.journal.leave(call, status)

    async def _respond(self, call: Call, receive: Receive) -> tuple[Response, Fault | None]:
        """Return the response, and the fault that applies, if any."""
        state = self._state
        fault: Fault | None = None
        try:
            if call.place not in SIGN_IN_PLACES:
                check_route(call)
                check_token(call, state)
                self._check_quota(call)
                await _pause(state.options.latency, receive)
            else:
                await _pause(state.options.token_latency, receive)
            fault = state.faults.match(call)
            if fault is None:
                return self._normal_response(call, 0), None
            await _pause(fault.hang, receive)
            if fault.expire_token:
                state.tokens.revoke_access(call.bearer)
            replacement = fault.replacement(call.place)
            if replacement is not None:
                return replacement, fault
            return tampered(fault, self._normal_response(call, fault.cycle)), fault
        except ApiError as refusal:
            return refusal.response, fault

    def _normal_response(self, call: Call, cycle: int) -> Response:
        if call.place == "token":
            return self._state.token_endpoint.respond(call, self._state.options)
        if call.place in SIGN_IN_PLACES:
            return self._state.sign_in_pages.respond(call, self._state.options)
        return respond(call, self._state, cycle)

    def _check_quota(self, call: Call) -> None:
        state = self._state
        wait = state.quota.admit(state.quota_key(call), call.arrived_at)
        if wait <= 0:
            return
        response = error_response(429, "B", None, "Too many requests. Try again later.")
        if state.options.retry_after == "seconds":
            response.headers.append((b"retry-after", b"%d" % math.ceil(wait)))
        elif state.options.retry_after == "date":
            date = formatdate(math.ceil(call.arrived_at + wait), usegmt=True)
            response.headers.append((b"retry-after", date.encode()))
        raise ApiError(response)

    async def _deliver(  # noqa: PLR0913, PLR0917 - the ASGI trio and what to say
        self,
        call: Call,
        response: Response,
        fault: Fault | None,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        if response.status == 429:  # noqa: PLR2004
            self._note_refusal(call, response.headers)
        if call.place not in SIGN_IN_PLACES and (fault is None or fault.body is None):
            self._add_headers(call, response)
        headers = self._headers(call, response)
        write_what_is_late(scope)
        if fault is not None and await _deliver_oddly(
            fault, response, headers, scope, receive, send
        ):
            return
        if response.status not in BODILESS:
            headers.append((b"content-length", b"%d" % len(response.body)))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if fault is not None and fault.truncate:
            half = response.body[: len(response.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await finish(scope, receive)
            return
        await send({"type": "http.response.body", "body": response.body})
        if fault is not None and fault.repeat:
            write_late(scope, on_the_wire(response.status, headers, response.body))

    def _headers(self, call: Call, response: Response) -> Headers:
        headers = [
            (b"ms-requestid", call.request_id.encode("latin-1")),
            (b"ms-correlationid", call.correlation_id.encode("latin-1")),
            (b"ms-cv", self._state.next_vector()),
            (b"ms-serverid", SERVER_ID),
        ]
        if call.place in SIGN_IN_PLACES:
            headers.clear()
        given = response.headers
        if all(name.lower() != b"date" for name, _ in given):
            headers.append((b"date", formatdate(self._state.clock(), usegmt=True).encode()))
        if response.content_type is not None and all(name != b"content-type" for name, _ in given):
            headers.append((b"content-type", response.content_type))
        return headers + given

    def _add_headers(self, call: Call, response: Response) -> None:
        """Add the byte order mark and the compression that the options set."""
        options = self._state.options
        kind = "success" if response.status < 400 else "error"  # noqa: PLR2004
        if response.body and options.bom in (kind, "all"):
            response.body = BOM + response.body
        if response.body and options.gzip and "gzip" in call.header(b"accept-encoding"):
            response.body = gzip.compress(response.body, compresslevel=1)
            response.headers += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]

    def _note_refusal(self, call: Call, headers: Headers) -> None:
        state = self._state
        text = dict(headers).get(b"retry-after", b"").decode("latin-1")
        until = 0.0
        if text.isascii() and text.isdecimal() and len(text) < MAX_NUMBER_LENGTH:
            until = state.clock() + int(text)
        elif text:
            with contextlib.suppress(ValueError, OverflowError):
                until = parsedate_to_datetime(text).timestamp()
        state.journal.close(state.quota_key(call), until)


async def _deliver_oddly(  # noqa: PLR0913, PLR0917 - the ASGI trio and what to say
    fault: Fault,
    response: Response,
    headers: Headers,
    scope: dict[str, Any],
    receive: Receive,
    send: Send,
) -> bool:
    """Send a response in a way of its own, if the fault has one; return whether it was sent."""
    if fault.interim is not None:
        write(scope, b"HTTP/1.1 %d Interim\r\n\r\n" % fault.interim)
    if fault.huge_body:
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        for piece in huge_body(fault.huge_body):
            if is_disconnected(scope):
                break
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return True
    if fault.drip is not None:
        immediate, delayed = drip(fault.drip, response.status, headers, response.body)
        write(scope, immediate)
        for piece in delayed:
            await _pause(PAUSE, receive)
            write(scope, piece)
        await finish(scope, receive)
        return True
    if fault.unframed:
        write(scope, on_the_wire(response.status, headers, response.body))
        await finish(scope, receive)
        return True
    return False


async def _pause(seconds: float, receive: Receive) -> None:
    """Wait, or raise `ClientGoneError` as soon as the client has left."""
    if not seconds:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
            raise ClientGoneError


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def _live(receive: Receive, send: Send) -> None:
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
