"""One request, and which kind of request it is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .resources import route

if TYPE_CHECKING:
    from .listing import Listing
    from .resources import Resource


@dataclass(slots=True)
class Call:
    """One request and its way through the emulator.

    `target` is the unmodified path and query; `place` is the kind of request, as in `Fault.place`,
    or "other"; `resource` is its row in the table of resources.
    """

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    arrived_at: float
    number: int = 0
    place: str = "other"
    resource: Resource | None = None
    body: bytes = b""
    customer_id: str | None = None
    reseller_id: str | None = None
    listing: Listing | None = None
    request_id: str = ""
    correlation_id: str = ""
    bearer: str = field(default="", repr=False)

    @classmethod
    def from_scope(cls, scope: dict[str, Any], arrived_at: float) -> Call:
        """Read a request from its ASGI scope and find its place."""
        call = cls(
            scope["method"],
            scope["path"],
            scope["query_string"],
            dict(scope["headers"]),
            arrived_at,
        )
        kind, _, text = call.header(b"authorization").partition(" ")
        if kind.lower() == "bearer":
            call.bearer = text.strip()
        call.request_id = call.header(b"ms-requestid") or str(uuid.uuid4())
        call.correlation_id = call.header(b"ms-correlationid") or str(uuid.uuid4())
        call.resource, call.customer_id = route(call.method, call.path)
        if call.resource is not None:
            call.place = call.resource.place
        else:
            call.place = _sign_in_place(call.path) or call.place
        return call

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query.decode('latin-1')}" if self.query else self.path

    def header(self, name: bytes) -> str:
        """Return a header by its lower-case name; empty if it is missing."""
        return self.headers.get(name, b"").decode("latin-1")


def _sign_in_place(path: str) -> str | None:
    """Return the name of an endpoint or page of Entra."""
    match path.split("/")[1:]:
        case [_, "oauth2", "token"] | [_, "oauth2", "v2.0", "token"]:
            return "token"
        case [_, "oauth2", "v2.0", "authorize"]:
            return "authorize"
        case [_, "oauth2", "v2.0", "devicecode"]:
            return "devicecode"
        case ["common", "oauth2", "deviceauth"]:
            return "devicelogin"
        case _:
            return None
