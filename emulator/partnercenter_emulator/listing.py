"""Requests for collections: what their query means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from .continuation import SHARD_HEADER, TOKEN_HEADER, Cursor
from .parameters import condition_of, refuse
from .resources import BY_PLACE
from .responses import MAX_NUMBER_LENGTH, ApiError

if TYPE_CHECKING:
    from .calls import Call
    from .continuation import Continuations
    from .options import Options
    from .resources import Resource

MAX_PAGE_SIZE = 500


@dataclass(slots=True)
class Listing:
    """What a request for a collection asks for; `problem` is why it must be refused, if it must.

    `path` is the collection's, without the version; `paged` is whether the response has pages;
    `echo` is the size as the client spelled it; `offset` is for lists that are read by offset.
    """

    path: str
    paged: bool
    size: int = MAX_PAGE_SIZE
    echo: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    offset: int = 0
    cursor: Cursor | None = None
    problem: ApiError | None = None


def read_listing(call: Call, options: Options, continuations: Continuations) -> None:
    """Read a request's query into `call.listing`; sets the exact place and reseller of `call`."""
    resource = call.resource
    if resource is None or resource.rows is None:
        return
    paged = resource.paging != "plain" or options.collection_page_limit > 0
    if not (paged or resource.parameters or resource.envelope == "full"):
        return
    listing = call.listing = Listing(resource.path(call.customer_id), paged)
    seeks = paged and resource.paging != "offset"
    token = call.header(TOKEN_HEADER.lower().encode()) if seeks else ""
    try:
        if token:
            cursor = listing.cursor = continuations.open(options, token)
            if cursor.path != listing.path:
                refuse("The continuation token belongs to another list.")
            listing.parameters, listing.size = dict(cursor.query), cursor.size
            if cursor.ended:
                refuse("There are no more items.")
        _read_query(call, resource, listing)
    except ApiError as error:
        listing.problem = error
    if resource.place == "customers":
        _narrow(call, listing)
    if resource.paging == "offset":
        call.place = resource.continuation_place if listing.offset else resource.place
    elif call.resource is not None and (
        token or (paged and b"seekoperation" in call.query.lower())
    ):
        call.place = call.resource.continuation_place


def _narrow(call: Call, listing: Listing) -> None:
    """Distinguish a list of one reseller's customers from the list of all."""
    condition = condition_of(listing.parameters)
    if condition is not None and condition.field == "IndirectReseller":
        call.reseller_id = condition.value.lower()
        call.resource = BY_PLACE["partition"]
        call.place = call.resource.place


def _read_query(call: Call, resource: Resource, listing: Listing) -> None:
    text = call.query.decode("utf-8", "replace")
    cursor = listing.cursor
    if (
        listing.paged
        and resource.paging != "offset"
        and "?" in text
        and (cursor is None or cursor.form != "double_question")
    ):
        refuse("The query string is malformed.")
    members = _members(text, resource)
    _read_parameters(resource, listing, members)
    if resource.paging == "offset":
        listing.echo = members.get("size", "")
        listing.size = _count("size", listing.echo)
        listing.offset = _count("offset", members.get("offset", ""))
        return
    if not listing.paged:
        return
    seek = members.get("seekoperation")
    if (seek is None) != (cursor is None):
        refuse("seekOperation and a continuation token must come together.")
    if seek is not None and seek.lower() != "next":
        refuse(f"seekOperation '{seek}' is not supported.")
    if cursor is not None and cursor.shard >= 0:
        shard = call.header(SHARD_HEADER.lower().encode())
        if shard != str(cursor.shard):
            refuse(f"The header {SHARD_HEADER} of the link is missing.")
    listing.echo = members.get("size", "")
    size = _size(listing.echo)
    if cursor is None:
        listing.size = size
    elif listing.echo and size != cursor.size:
        refuse("The size differs from the one the continuation token belongs to.")


def _members(text: str, resource: Resource) -> dict[str, str]:
    """Return the query's values by lower-case name."""
    pairs = parse_qsl(text.replace("?", "&"), keep_blank_values=True)
    members = {name.lower(): value for name, value in pairs}
    for parameter in resource.parameters:
        if parameter.repeats:
            values = [value for name, value in pairs if name.lower() == parameter.name.lower()]
            members[parameter.name.lower()] = ",".join(values)
    return members


def _read_parameters(resource: Resource, listing: Listing, members: dict[str, str]) -> None:
    for parameter in resource.parameters:
        given = members.get(parameter.name.lower(), "")
        asked = parameter.read(given) if given else ""
        if listing.cursor is None:
            if asked:
                listing.parameters[parameter.name] = asked
            elif parameter.required:
                parameter.read("")
        elif asked.casefold() not in ("", listing.parameters.get(parameter.name, "").casefold()):
            refuse(f"The {parameter.name} differs from the one the continuation token belongs to.")


def _count(name: str, text: str) -> int:
    """Return a number of records, 0 if there is none."""
    if text and not (text.isascii() and text.isdigit() and len(text) < MAX_NUMBER_LENGTH):
        refuse(f"{name} must be a number.")
    return int(text or 0)


def _size(text: str) -> int:
    size = _count("size", text)
    if size > MAX_PAGE_SIZE:
        refuse(f"size must be a number from 0 to {MAX_PAGE_SIZE}.")
    return size or MAX_PAGE_SIZE
