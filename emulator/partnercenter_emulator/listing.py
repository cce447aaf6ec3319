"""`GET /v1/customers`: reading the query, and the page that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, quote

import msgspec

from .answers import LONGEST_NUMBER, ApiError, service_error
from .continuation import SHARD_HEADER, TOKEN_HEADER, Cursor, next_link
from .directory import Filter

if TYPE_CHECKING:
    from .calls import Call
    from .continuation import Continuations
    from .directory import Directory
    from .options import Options

LARGEST_SIZE = 500
FILTER_FIELDS = {name.lower(): name for name in ("CompanyName", "Domain", "IndirectReseller")}


@dataclass(slots=True)
class Listing:
    """What a request for customers asks for; `problem` is why it must be refused, if it must."""

    size: int = LARGEST_SIZE
    echo: str = ""
    filter: str = ""
    cursor: Cursor | None = None
    problem: ApiError | None = None

    @property
    def condition(self) -> Filter | None:
        """The filter, taken apart."""
        if not self.filter:
            return None
        members = msgspec.json.decode(self.filter)
        return Filter(members["Field"], members["Value"])


def read_listing(call: Call, options: Options, continuations: Continuations) -> None:
    """Read a request's query into `call.listing`; `call` learns its exact place and reseller."""
    listing = call.listing = Listing()
    token = call.header(TOKEN_HEADER.lower().encode())
    try:
        if token:
            listing.cursor = continuations.open(options, token)
            listing.filter, listing.size = listing.cursor.filter, listing.cursor.size
            if listing.cursor.ended:
                _refuse("There are no more items.")
        _read_query(call, listing)
    except ApiError as error:
        listing.problem = error
    condition = listing.condition
    partition = condition is not None and condition.field == "IndirectReseller"
    if partition and condition is not None:
        call.reseller_id = condition.value.lower()
    going_on = token or b"seekoperation" in call.query.lower()
    if partition:
        call.place = "partition_continuation" if going_on else "partition"
    elif going_on:
        call.place = "continuation"


def _read_query(call: Call, listing: Listing) -> None:
    text = call.query.decode("utf-8", "replace")
    cursor = listing.cursor
    if "?" in text and (cursor is None or cursor.form != "double_question"):
        _refuse("The query string is malformed.")
    members = {
        name.lower(): value
        for name, value in parse_qsl(text.replace("?", "&"), keep_blank_values=True)
    }
    asked = _canonical(members["filter"]) if members.get("filter") else ""
    if cursor is None:
        listing.filter = asked
    elif asked and not cursor.same_filter(asked):
        _refuse("The filter differs from the one the continuation token belongs to.")
    seek = members.get("seekoperation")
    if (seek is None) != (cursor is None):
        _refuse("seekOperation and a continuation token must come together.")
    if seek is not None and seek.lower() != "next":
        _refuse(f"seekOperation '{seek}' is not supported.")
    if cursor is not None and cursor.shard >= 0:
        shard = call.header(SHARD_HEADER.lower().encode())
        if shard != str(cursor.shard):
            _refuse(f"The header {SHARD_HEADER} of the link is missing.")
    listing.echo = members.get("size", "")
    size = _size(listing.echo)
    if cursor is None:
        listing.size = size
    elif listing.echo and size != cursor.size:
        _refuse("The size differs from the one the continuation token belongs to.")


def _size(text: str) -> int:
    if not text:
        return LARGEST_SIZE
    if not (
        text.isascii()
        and text.isdigit()
        and len(text) < LONGEST_NUMBER
        and int(text) <= LARGEST_SIZE
    ):
        _refuse(f"size must be a number from 0 to {LARGEST_SIZE}.")
    return int(text) or LARGEST_SIZE


def _canonical(text: str) -> str:
    """Return a filter as compact JSON with the documented spelling of keys and field."""
    try:
        members = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:
        _refuse("The filter is not a JSON object of strings.")
    lowered = {name.lower(): value for name, value in members.items()}
    field = FILTER_FIELDS.get(lowered.get("field", "").lower())
    if lowered.keys() != {"field", "value", "operator"} or field is None:
        _refuse("The filter must have a supported Field, a Value and an Operator.")
    if lowered["operator"].lower() != "starts_with":
        _refuse("Only the operator starts_with is supported for customers.")
    canonical = {"Field": field, "Value": lowered["value"], "Operator": "starts_with"}
    return msgspec.json.encode(canonical).decode()


@dataclass(frozen=True, slots=True)
class Pager:
    """Makes the pages of one listing request."""

    directory: Directory
    continuations: Continuations
    options: Options
    origin: str
    """Scheme, host and port as the client knows them, for absolute links."""

    def page(self, listing: Listing, cycle: int) -> dict[str, Any]:
        """Return the page that `listing` asks for; `cycle` is that of a fault, or 0."""
        options, condition = self.options, listing.condition
        here = listing.cursor or Cursor(filter=listing.filter, size=listing.size, start=0, page=0)
        every = options.empty_page_every
        positions: list[int] = []
        start: int | None = here.start
        if not every or (here.page + 1) % every:
            size = min(here.size, options.page_limit)
            positions, start = self._positions(condition, here.start, size)
        following = self._after(here, start, positions, cycle)
        document: dict[str, Any] = {
            "totalCount": self._total(condition, len(positions), here.page),
            "items": [self.directory.listed(position) for position in positions],
            "links": {"self": _self_link(listing, options)},
        }
        if following is not None:
            self._lead_on(document, following)
        elif options.ending == "no_links":
            del document["links"]
        elif options.ending == "empty_links":
            document["links"] = {}
        elif options.ending == "null_next":
            document["links"]["next"] = None
        document["attributes"] = {"objectType": "Collection"}
        return document

    def _positions(
        self, condition: Filter | None, start: int, size: int
    ) -> tuple[list[int], int | None]:
        """Return a page, and where the next one starts: a position, or a number of customers."""
        if self.options.continuation_by == "key":
            return self.directory.page(condition, start, size)
        found = self.directory.slice(condition, start, size + 1)
        return found[:size], start + size if len(found) > size else None

    def _after(
        self, here: Cursor, start: int | None, positions: list[int], cycle: int
    ) -> Cursor | None:
        """Return where the page after this one begins; None when this is the last."""
        ending = self.options.ending
        cursor = msgspec.structs.replace(
            here, start=start or 0, page=here.page + 1, previous=here.start
        )
        if cycle == 1:
            return here
        if cycle:
            return msgspec.structs.replace(
                cursor, start=here.previous, page=max(0, here.page - 1), previous=here.start
            )
        if start is not None:
            return cursor
        if not positions or ending not in ("empty", "code_2000", "code_2000_link"):
            return None
        by_key = self.options.continuation_by == "key"
        start = positions[-1] + 1 if by_key else here.start + len(positions)
        return msgspec.structs.replace(cursor, start=start, ended=ending != "empty")

    def _lead_on(self, document: dict[str, Any], following: Cursor) -> None:
        cursor = self.continuations.stamp(self.options, following)
        token = self.continuations.seal(cursor)
        by_link = cursor.form != "token_only" and (
            not cursor.ended or self.options.ending == "code_2000_link"
        )
        if by_link:
            document["links"]["next"] = next_link(cursor, token, self.origin)
        # The vendor's samples have the token in both places; one form shows that.
        if not by_link or cursor.form == "versioned":
            document["continuationToken"] = token

    def _total(self, condition: Filter | None, on_page: int, page: int) -> int:
        match self.options.total_count:
            case "page":
                return on_page
            case "all":
                return self.directory.count(condition)
            case "wrong":
                return on_page + 25 if page % 2 == 0 else max(0, on_page - 1)


def _self_link(listing: Listing, options: Options) -> dict[str, Any]:
    prefix = "/v1" if options.link_form == "versioned" else ""
    query = f"size={listing.echo or listing.size}"
    if listing.filter:
        query += f"&filter={quote(listing.filter, safe='')}"
    return {"uri": f"{prefix}/customers?{query}", "method": "GET", "headers": []}


def _refuse(description: str) -> NoReturn:
    raise service_error(400, 2000, description) from None
