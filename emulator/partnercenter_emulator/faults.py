"""Faults on demand: rules for which requests fail, and how."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta

from .drip import Part  # noqa: TC001 - msgspec reads it
from .errors import entra_error
from .fault_checks import problem_of
from .resources import SIGN_IN_PLACES
from .responses import (
    BODILESS,
    MAX_NUMBER_LENGTH,
    Headers,
    Response,
    Shape,
    as_json,
    error_response,
    json_response,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .calls import Call

Place: TypeAlias = str
"""One of `PLACES`."""
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Times: TypeAlias = Annotated[int, Meta(ge=1)]

CHUNK = 65_536
_read = msgspec.json.Decoder(float_hook=Decimal).decode


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: which requests (the first seven members), and what happens to them.

    Actions can be combined where that makes sense: `hang` before any of them, `headers` with any
    response, `status` with `body` and `json`. Anything without effect is refused.
    """

    place: Annotated[
        Place, Meta(description="Kind of request; `any` is every one, tokens included.")
    ] = "any"
    customer_id: Annotated[
        str | None, Meta(description="Only requests whose path names this customer.")
    ] = None
    reseller_id: Annotated[
        str | None, Meta(description="Only lists filtered by this reseller.")
    ] = None
    skip: Annotated[Count, Meta(description="Let this many matching requests pass first.")] = 0
    times: Annotated[
        Times | None, Meta(description="Apply at most this many times; null for no limit.")
    ] = None
    every: Annotated[Times, Meta(description="Of the rest, only every n-th.")] = 1
    share: Annotated[
        float,
        Meta(gt=0, le=1, description="Only this share of the URLs, always the same ones."),
    ] = 1.0

    status: Annotated[
        Annotated[int, Meta(ge=200, le=599)] | None,
        Meta(description="Return an error with this status; also the status of `body`/`json`."),
    ] = None
    code: Annotated[
        int | str | None, Meta(description="The error's code; at `token` an AADSTS number.")
    ] = None
    shape: Annotated[
        Shape | None, Meta(description="Shape of the error: A, B, C, D (no body) or html.")
    ] = None
    description: Annotated[str | None, Meta(description="The error's text.")] = None
    headers: Annotated[
        dict[str, str] | None, Meta(description="Additional headers, for example `Retry-After`.")
    ] = None
    hang: Annotated[float, Meta(ge=0, description="Wait this many seconds first.")] = 0
    reset: Annotated[bool, Meta(description="Cut the connection instead of answering.")] = False
    truncate: Annotated[
        bool, Meta(description="Send half of the promised body, then cut the connection.")
    ] = False
    drip: Annotated[
        Part | None,
        Meta(description="Send this share of the response one byte at a time."),
    ] = None
    interim: Annotated[
        Annotated[int, Meta(ge=100, le=199)] | None,
        Meta(description="Send an interim response with this status first, such as 103."),
    ] = None
    unframed: Annotated[
        bool, Meta(description="Send no length, but close the connection after the body.")
    ] = False
    repeat: Annotated[
        bool,
        Meta(description="Send the response again, before the next one on its connection."),
    ] = False
    expire_token: Annotated[
        bool, Meta(description="Revoke the access token that was used, and return 401.")
    ] = False
    body: Annotated[
        bytes | None, Meta(description="Send these bytes; base64 if the rule is JSON.")
    ] = None
    json: Annotated[Any, Meta(description="Send this document.")] = UNSET
    not_json: Annotated[bool, Meta(description="Return 200 with a body that is not JSON.")] = False
    empty_body: Annotated[bool, Meta(description="Return 200 without a body.")] = False
    redirect: Annotated[
        str | None, Meta(description="Return 302 (or `status`) with this location.")
    ] = None
    huge_body: Annotated[Count, Meta(description="Return a JSON string of this many bytes.")] = 0
    deep_json: Annotated[Count, Meta(description="Return this many nested arrays.")] = 0
    link_to: Annotated[
        str | None, Meta(description="Make the page's next link point to this URL.")
    ] = None
    cycle: Annotated[
        Literal[0, 1, 2],
        Meta(description="Make the next link point to the same page (1) or the previous one (2)."),
    ] = 0
    duplicate_first_item: Annotated[
        bool, Meta(description="Repeat the first item at the end of the page.")
    ] = False
    add_fields: Annotated[
        dict[str, Any] | None, Meta(description="Merge these members into each item.")
    ] = None
    drop_field: Annotated[
        str | None,
        Meta(description="Drop a member of the body by dotted path; `items.` goes into each item."),
    ] = None
    items_not_list: Annotated[bool, Meta(description="Make `items` an object.")] = False
    item_not_object: Annotated[bool, Meta(description="Make the first item a string.")] = False

    def __post_init__(self) -> None:
        """Refuse a rule that would have no effect, even in part."""
        problem = problem_of(self)
        if problem is not None:
            raise ValueError(problem)

    def changes_document(self) -> bool:
        """Return whether this fault alters the body that the API would send."""
        return bool(
            self.link_to
            or self.duplicate_first_item
            or self.add_fields
            or self.drop_field
            or self.items_not_list
            or self.item_not_object
        )

    def replacement(self, place: str) -> Response | None:
        """Return the response to send instead of the API's; None to let the API respond."""
        response = self._replacement(place)
        if response is not None:
            response.headers.extend(self.extra_headers())
        return response

    def extra_headers(self) -> Headers:
        """Return `headers` as they are on the wire."""
        return [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (self.headers or {}).items()
        ]

    def _replacement(self, place: str) -> Response | None:  # noqa: C901, PLR0911 - a line per action
        status = self.status or 200
        if self.expire_token:
            return error_response(401, "A", 400, "Access denied: the token has expired.")
        if self.body is not None:
            return Response(status, self.body)
        if self.json is not UNSET:
            return json_response(self.json, status)
        if self.not_json:
            return Response(status, b"{this is not JSON")
        if self.empty_body:
            return Response(status, content_type=None) if status in BODILESS else Response(status)
        if self.redirect is not None:
            return Response(
                self.status or 302, headers=[(b"location", self.redirect.encode("latin-1"))]
            )
        if self.huge_body:
            return Response(status)
        if self.deep_json:
            return Response(status, b"[" * self.deep_json + b"]" * self.deep_json)
        if self.status is None:
            return None
        if self.status in BODILESS:
            return Response(status, content_type=None)
        text = self.description or f"Fault on demand: {_phrase(status)}."
        if place in SIGN_IN_PLACES and self.shape is None:
            number = str(self.code)
            known = number.isascii() and number.isdecimal() and len(number) < MAX_NUMBER_LENGTH
            return entra_error(status, int(number) if known else 90033, text)
        return error_response(status, self.shape, self.code, text)


def tampered(fault: Fault, response: Response) -> Response:
    """Return the API's response as changed by the fault; only JSON objects can be changed."""
    response.headers.extend(fault.extra_headers())
    document = _read(response.body) if fault.changes_document() else None
    if not isinstance(document, dict):
        return response
    items = document.get("items")
    if fault.link_to is not None:
        following = document.setdefault("links", {}).setdefault(
            "next", {"method": "GET", "headers": []}
        )
        following["uri"] = fault.link_to
    if fault.add_fields:
        for item in items if items is not None else [document]:
            item.update(fault.add_fields)
    if fault.drop_field is not None:
        _drop(document, fault.drop_field.split("."))
    if items and fault.duplicate_first_item:
        items.append(items[0])
    if items and fault.item_not_object:
        items[0] = "not an object"
    if fault.items_not_list:
        document["items"] = {"0": items}
    response.body = as_json(document)
    return response


def huge_body(size: int) -> Iterable[bytes]:
    """Yield a JSON string of `size` bytes in pieces."""
    chunks, rest = divmod(max(0, size - 2), CHUNK)
    yield b'"'
    for _ in range(chunks):
        yield b"x" * CHUNK
    yield b"x" * rest + b'"'


def checked_fault(fault: Fault) -> Fault:
    """Return `fault` after checking types and bounds.

    Raises:
        ValueError: A member has an invalid type or value; the message names it.
    """
    return msgspec.convert(msgspec.to_builtins(fault), Fault)


@dataclass(slots=True)
class _Rule:
    fault: Fault
    seen: int = 0
    applied: int = 0

    def applies_to(self, call: Call) -> bool:
        fault = self.fault
        return (
            fault.place in ("any", call.place)
            and (fault.customer_id or "").lower() in ("", call.customer_id)
            and (fault.reseller_id or "").lower() in ("", call.reseller_id)
        )

    def is_due(self, call: Call) -> bool:
        fault, number = self.fault, self.seen - self.fault.skip
        return (
            number > 0
            and number % fault.every == 0
            and (fault.times is None or self.applied < fault.times)
            and (fault.share >= 1 or _fraction(call.target) < fault.share)
        )


class FaultBook:
    """The rules in force and how often each was matched."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The rules in order."""
        return tuple(rule.fault for rule in self._rules)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Replace the rules and reset their counts.

        Raises:
            ValueError: A rule has a member of an invalid type or value.
        """
        self._rules = [_Rule(checked_fault(fault)) for fault in faults]

    def match(self, call: Call) -> Fault | None:
        """Return the first rule that is due for a request; all rules that match it count it."""
        chosen: Fault | None = None
        for rule in self._rules:
            if rule.applies_to(call):
                rule.seen += 1
                if chosen is None and rule.is_due(call):
                    rule.applied += 1
                    chosen = rule.fault
        return chosen


def _drop(value: Any, path: list[str]) -> None:  # noqa: ANN401 - any JSON
    for element in value if isinstance(value, list) else [value]:
        if isinstance(element, dict):
            if len(path) == 1:
                element.pop(path[0], None)
            else:
                _drop(element.get(path[0]), path[1:])


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) / 2**32


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return str(status)
