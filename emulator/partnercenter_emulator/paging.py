"""Pages of collections, and the links between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from .continuation import Cursor, next_link

if TYPE_CHECKING:
    from .continuation import Continuations
    from .listing import Listing
    from .options import Options
    from .resources import Resource
    from .rows import Rows


@dataclass(slots=True)
class Pager:
    """Creates the page that answers a request for a collection."""

    resource: Resource
    rows: Rows
    listing: Listing
    continuations: Continuations
    options: Options
    origin: str
    """Scheme, host and port as the client knows them, for absolute links."""

    def page(self, cycle: int) -> dict[str, Any]:
        """Return one page, with a link to the next; `cycle` is that of a fault, or 0."""
        options, listing = self.options, self.listing
        here = listing.cursor or Cursor(
            path=listing.path,
            query=tuple(listing.parameters.items()),
            size=listing.size,
            start=0,
            page=0,
        )
        every = options.empty_page_every
        numbers: list[int] = []
        start: int | None = here.start
        if not every or (here.page + 1) % every:
            plain = self.resource.paging == "plain"
            limit = options.collection_page_limit if plain else options.page_limit
            numbers, start = self._numbers(here.start, min(here.size, limit))
        following = self._after(here, start, numbers, cycle)
        document: dict[str, Any] = {
            "totalCount": self._total(len(numbers), here.page),
            "items": [self.rows.record(number) for number in numbers],
            "links": {"self": self._self_link()},
        }
        if following is not None:
            self._add_next(document, following)
        elif options.ending == "no_links":
            del document["links"]
        elif options.ending == "empty_links":
            document["links"] = {}
        elif options.ending == "null_next":
            document["links"]["next"] = None
        document["attributes"] = {"objectType": "Collection"}
        return document

    def _numbers(self, start: int, size: int) -> tuple[list[int], int | None]:
        """Return a page, and where the next one starts: a record, or the number before it."""
        if self.options.continuation_by == "key":
            return self.rows.page(start, size)
        found = self.rows.slice(start, size + 1)
        return found[:size], start + size if len(found) > size else None

    def _after(
        self, here: Cursor, start: int | None, numbers: list[int], cycle: int
    ) -> Cursor | None:
        """Return where the next page begins; None if this is the last."""
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
        if not numbers or ending not in ("empty", "code_2000", "code_2000_link"):
            return None
        by_key = self.options.continuation_by == "key"
        start = numbers[-1] + 1 if by_key else here.start + len(numbers)
        return msgspec.structs.replace(cursor, start=start, ended=ending != "empty")

    def _add_next(self, document: dict[str, Any], following: Cursor) -> None:
        cursor = self.continuations.stamp(self.options, following)
        token = self.continuations.seal(cursor)
        by_link = cursor.form != "token_only" and (
            not cursor.ended or self.options.ending == "code_2000_link"
        )
        if by_link:
            address = self._uri(str(cursor.size))
            document["links"]["next"] = next_link(cursor, token, address, self.origin)
        # The vendor's samples have the token in both places; one form reproduces that.
        if not by_link or cursor.form in ("versioned", "token_apart"):
            document["continuationToken"] = token

    def _total(self, on_page: int, page: int) -> int:
        match self.options.total_count:
            case "page":
                return on_page
            case "all":
                return self.rows.count()
            case "wrong":
                return on_page + 25 if page % 2 == 0 else max(0, on_page - 1)

    def _self_link(self) -> dict[str, Any]:
        return self_link(self._uri(self.listing.echo or str(self.listing.size)), self.options)

    def _uri(self, size: str) -> str:
        return uri(self.resource, self.listing, f"size={size}")


def whole(
    resource: Resource, rows: Rows, listing: Listing | None, options: Options
) -> dict[str, Any]:
    """Return the single response that contains a whole collection."""
    items = list(rows.all())
    document: dict[str, Any] = {"totalCount": len(items), "items": items}
    if resource.envelope == "full" and listing is not None:
        document["links"] = {"self": self_link(uri(resource, listing), options)}
    if resource.envelope != "bare":
        document["attributes"] = {"objectType": "Collection"}
    return document


def uri(resource: Resource, listing: Listing, size: str = "") -> str:
    """Return path and query of a collection, without version."""
    given = listing.parameters
    written = [size] if size else []
    if given:
        known = resource.parameters
        written += [one.write(given[one.name]) for one in known if one.name in given]
    return f"{listing.path}?{'&'.join(written)}" if written else listing.path


def self_link(uri: str, options: Options) -> dict[str, Any]:
    """Return the link in a response to itself."""
    version = "/v1" if options.link_form == "versioned" else ""
    return {"uri": version + uri, "method": "GET", "headers": []}
