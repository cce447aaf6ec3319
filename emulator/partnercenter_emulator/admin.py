"""The admin API below `/_emulator`: inspect a running emulator and change it.

It requires no token, so web pages must not be able to use it: a page may send requests to addresses
of the machine that shows it (their `Origin` is the page's), and may make its own name resolve to
one ("DNS rebinding": their `Host` is that name).
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .changes import AuditOptions
from .credentials import TENANT_DOMAIN
from .faults import Fault
from .journal import as_json_lines
from .responses import as_json
from .truth import held

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from .state import State

T = TypeVar("T")

PREFIX = "_emulator"
LINES_AT_ONCE = 500


class NewCustomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /_emulator/customers`."""

    name: str
    domain: str | None = None
    reseller_id: str | None = None


class Change(msgspec.Struct, frozen=True):
    """Query of a request that changes something."""

    customer_id: str | None = None
    audited: bool = True
    late: Annotated[float, msgspec.Meta(ge=0)] = 0

    @property
    def audit_options(self) -> AuditOptions:
        """What the audit log records of it."""
        return AuditOptions(self.audited, self.late)


class Rename(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `PATCH /_emulator/customers/{id}`."""

    name: str


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /_emulator/customers/{id}/reseller`; null for a direct customer."""

    reseller_id: str | None


def create_admin(state: State, allowed_hosts: Collection[str] = ()) -> ASGIApp:
    """Return the admin API of one emulator.

    Args:
        state: The emulator.
        allowed_hosts: Host names to accept, besides `localhost` and any IP address.
    """
    admin = _Admin(state)
    app = Starlette(
        routes=[
            Route(f"/{PREFIX}", admin.about),
            Route(f"/{PREFIX}/stats", admin.stats),
            Route(f"/{PREFIX}/stats", admin.reset, methods=["DELETE"]),
            Route(f"/{PREFIX}/requests", admin.requests),
            Route(f"/{PREFIX}/requests", admin.reset, methods=["DELETE"]),
            Route(f"/{PREFIX}/faults", admin.faults),
            Route(f"/{PREFIX}/faults", admin.replace_faults, methods=["PUT"]),
            Route(f"/{PREFIX}/options", admin.change_options, methods=["PATCH"]),
            Route(f"/{PREFIX}/data/counts", admin.counts),
            Route(f"/{PREFIX}/data/{{place}}", admin.data),
            Route(f"/{PREFIX}/customers", admin.create, methods=["POST"]),
            Route(f"/{PREFIX}/customers/{{id}}", admin.remove, methods=["DELETE"]),
            Route(f"/{PREFIX}/customers/{{id}}", admin.rename, methods=["PATCH"]),
            Route(f"/{PREFIX}/customers/{{id}}/reseller", admin.move, methods=["POST"]),
            Route(f"/{PREFIX}/records/{{place}}", admin.add, methods=["POST"]),
            Route(f"/{PREFIX}/records/{{place}}/{{key}}", admin.change, methods=["PATCH"]),
            Route(f"/{PREFIX}/records/{{place}}/{{key}}", admin.take, methods=["DELETE"]),
        ],
        exception_handlers={ValueError: _invalid, KeyError: _unknown},
    )
    names = {"localhost", *(name.lower() for name in allowed_hosts)}

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        problem = _untrusted(dict(scope["headers"]), names)
        await (app if problem is None else _json({"error": problem}, 403))(scope, receive, send)

    return guarded


def _untrusted(headers: dict[bytes, bytes], names: Collection[str]) -> str | None:
    """Return why a request may come from a web page, None if it does not."""
    host = headers.get(b"host", b"").decode("latin-1")
    if host and not _is_ours(host, names):
        return f"the host {host} is not allowed: see --allowed-host and allowed_hosts"
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and origin.lower() != f"http://{host}".lower():
        return f"pages from {origin} may not use the admin API"
    return None


def _is_ours(host: str, names: Collection[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    # An address, unlike a name, cannot be made to resolve elsewhere.
    return True


class _Admin:
    def __init__(self, state: State) -> None:
        self._state = state

    async def about(self, request: Request) -> Response:
        state = self._state
        return _json(
            {
                "address": str(request.base_url).rstrip("/"),
                "tenant_id": state.credentials.tenant_id,
                "tenant_domain": TENANT_DOMAIN,
                "client_id": state.credentials.client_id,
                "options": state.options,
                "faults": state.faults.faults,
            }
        )

    async def stats(self, _: Request) -> Response:
        return _json(self._state.stats())

    async def requests(self, _: Request) -> Response:
        return _json(list(self._state.journal.requests))

    async def reset(self, _: Request) -> Response:
        self._state.reset_stats()
        return Response(status_code=204)

    async def faults(self, _: Request) -> Response:
        return _json(self._state.faults.faults)

    async def replace_faults(self, request: Request) -> Response:
        self._state.faults.replace(await _read(request, list[Fault]))
        return _json(self._state.faults.faults)

    async def change_options(self, request: Request) -> Response:
        changes = await _read(request, dict[str, Any])
        self._state.configure(changes)
        return _json(self._state.options)

    async def counts(self, _: Request) -> Response:
        return _json(self._state.directory.counts())

    async def data(self, request: Request) -> Response:
        records = held(self._state, request.path_params["place"])
        return StreamingResponse(_lines(records), media_type="application/x-ndjson")

    async def create(self, request: Request) -> Response:
        requested = await _read(request, NewCustomer)
        record = self._state.changes.create_customer(
            requested.name,
            domain=requested.domain,
            reseller_id=requested.reseller_id,
            audit_options=_change_query(request).audit_options,
        )
        return _json(record, 201)

    async def remove(self, request: Request) -> Response:
        self._state.changes.remove_customer(
            request.path_params["id"], _change_query(request).audit_options
        )
        return Response(status_code=204)

    async def rename(self, request: Request) -> Response:
        requested = await _read(request, Rename)
        audit_options = _change_query(request).audit_options
        self._state.changes.rename_customer(
            request.path_params["id"], requested.name, audit_options
        )
        return Response(status_code=204)

    async def move(self, request: Request) -> Response:
        requested = await _read(request, Move)
        self._state.changes.move_customer(request.path_params["id"], requested.reseller_id)
        return Response(status_code=204)

    async def add(self, request: Request) -> Response:
        members, asked = await _read(request, dict[str, Any]), _change_query(request)
        place = request.path_params["place"]
        record = self._state.changes.add(place, members, asked.customer_id, asked.audit_options)
        return _json(record, 201)

    async def change(self, request: Request) -> Response:
        members, asked = await _read(request, dict[str, Any]), _change_query(request)
        place, key = request.path_params["place"], request.path_params["key"]
        return _json(
            self._state.changes.change(place, key, members, asked.customer_id, asked.audit_options)
        )

    async def take(self, request: Request) -> Response:
        asked = _change_query(request)
        place, key = request.path_params["place"], request.path_params["key"]
        self._state.changes.remove(place, key, asked.customer_id, asked.audit_options)
        return Response(status_code=204)


def _change_query(request: Request) -> Change:
    return msgspec.convert(dict(request.query_params), Change, strict=False)


async def _read(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except RecursionError:
        msg = "too deep"
        raise ValueError(msg) from None


def _json(document: object, status: int = 200) -> Response:
    return Response(as_json(document), status, media_type="application/json")


async def _invalid(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 400)


async def _unknown(_: Request, error: Exception) -> Response:
    return _json({"error": str(error.args[0])}, 404)


async def _lines(records: Iterator[Any]) -> AsyncIterator[bytes]:
    while lines := list(itertools.islice(records, LINES_AT_ONCE)):
        yield as_json_lines(lines)
        await asyncio.sleep(0)  # lets the API serve in the meantime
