"""Collections that are read by `size` and `offset`: invoices."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from .continuation import ROTATION, prefix
from .paging import whole
from .parameters import refuse

if TYPE_CHECKING:
    from .listing import Listing
    from .options import LinkForm, Options
    from .resources import Resource
    from .rows import Rows


def offset_page(  # noqa: PLR0913, PLR0917 - the same as a `Pager` has
    resource: Resource, rows: Rows, listing: Listing, options: Options, origin: str, cycle: int
) -> dict[str, Any]:
    """Return the page that begins at an offset, or everything if no size is given.

    A link to the next page has no headers, since there is nothing to remember.
    """
    paging = options.invoice_paging
    document = whole(resource, rows, listing, options)
    size = min(listing.size, options.page_limit)
    if not size or paging == "ignored":
        return document
    links = document["links"]
    following = listing.offset + size
    total = len(document["items"])
    if options.ending == "code_2000_link" and listing.offset >= total > 0:
        refuse("There are no more items.")
    if paging != "ignored_with_next":
        first = 0 if paging == "offset_ignored" else listing.offset
        document["items"] = list(itertools.islice(document["items"], first, first + size))
        document["totalCount"] = _total(document["items"], total, options, listing.offset // size)
    if cycle:
        following = listing.offset if cycle == 1 else max(0, listing.offset - size)
    beyond = options.ending in {"empty", "code_2000_link"} and following - size < total
    links["self"]["uri"] += f"?size={listing.echo}&offset={listing.offset}"
    if cycle or beyond or following < total or paging == "ignored_with_next":
        form = options.link_form
        if form == "rotate":
            form = ROTATION[listing.offset // size % len(ROTATION)]
        links["next"] = _next_link(f"{listing.path}?size={size}", following, form, origin)
    elif options.ending == "no_links":
        del document["links"]
    elif options.ending == "empty_links":
        document["links"] = {}
    elif options.ending == "null_next":
        links["next"] = None
    return document


def _next_link(uri: str, offset: int, form: LinkForm, origin: str) -> dict[str, Any]:
    separator = "?" if form == "double_question" else "&"
    return {
        "uri": f"{prefix(form, origin)}{uri}{separator}offset={offset}",
        "method": "GET",
        "headers": [],
    }


def _total(items: list[Any], total: int, options: Options, page: int) -> int:
    match options.total_count:
        case "page":
            return len(items)
        case "all":
            return total
        case "wrong":
            return len(items) + 25 if page % 2 == 0 else max(0, len(items) - 1)
