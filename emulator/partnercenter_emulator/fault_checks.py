"""Finds rules that make no sense because a part of them would have no effect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from .resources import PLACES, RESOURCES
from .responses import BODILESS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from .faults import Fault

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
#: Headers that are derived from the body; different values would break the connection.
_FRAMING = {"content-length", "transfer-encoding"}

ERROR_DETAILS = ("code", "shape", "description")
REPLACEMENTS = (
    *("reset", "expire_token", "body", "json", "not_json", "empty_body"),
    *("redirect", "huge_body", "deep_json"),
)
"""Actions that replace the API's whole response."""
WAYS = ("reset", "truncate", "drip", "huge_body", "unframed", "repeat")
"""Ways in which a response is sent, or not."""
OF_THE_DOCUMENT = (
    *("link_to", "cycle", "duplicate_first_item", "add_fields", "drop_field"),
    *("items_not_list", "item_not_object"),
)
COLLECTIONS = frozenset(place for row in RESOURCES if row.rows is not None for place in row.places)
EFFECTIVE_AT: dict[str, AbstractSet[str]] = {
    "customer_id": frozenset(place for row in RESOURCES if row.of_customer for place in row.places),
    "reseller_id": {"partition", "partition_continuation"},
    "cycle": COLLECTIONS,
    "link_to": COLLECTIONS,
    "duplicate_first_item": COLLECTIONS,
    "item_not_object": COLLECTIONS,
}
"""Where a member can have an effect; members not listed can everywhere."""


def problem_of(fault: Fault) -> str | None:  # noqa: C901, PLR0911 - a line per reason
    """Return why a rule, or a part of it, would have no effect."""
    fields = msgspec.structs.fields(fault)
    given = [field.name for field in fields if getattr(fault, field.name) != field.default]
    first = next(index for index, field in enumerate(fields) if field.name == "status")
    if not {field.name for field in fields[first:]}.intersection(given):
        return "a fault requires an action: status, reset, body, hang, ..."
    if fault.place not in PLACES:
        return f"place: there is no {fault.place!r}, only {', '.join(PLACES)}"
    for name in given:
        if name != "json" and getattr(fault, name) in ("", {}):
            return f"{name} is empty, which has no effect"
        effective_at = EFFECTIVE_AT.get(name)
        if effective_at is not None and fault.place not in {"any", *effective_at}:
            return (
                f"{name} has no effect at {fault.place}, only at {', '.join(sorted(effective_at))}"
            )
    replacements = [name for name in REPLACEMENTS if name in given]
    document = [name for name in OF_THE_DOCUMENT if name in given]
    if len(replacements) > 1 or (replacements and document):
        return f"only one of {', '.join(replacements + document)} can be used"
    alone = [name for name in ("reset", "expire_token") if name in given] or document
    if fault.status is not None and alone:
        return f"status and {alone[0]} cannot be combined"
    details = [name for name in ERROR_DETAILS if name in given]
    if details and (fault.status is None or replacements):
        return f"{details[0]} requires status, and no other kind of response"
    if fault.status in BODILESS and (
        details or not {"redirect", "empty_body"}.issuperset(replacements)
    ):
        return f"a response with status {fault.status} has no body"
    if fault.truncate and (
        {"reset", "empty_body", "huge_body"}.intersection(replacements)
        or fault.status in BODILESS
        or fault.shape == "D"
    ):
        return "truncate needs a body whose length is promised"
    ways = [name for name in WAYS if name in given]
    if len(ways) > 1 and {"unframed", "repeat"}.intersection(ways):
        return f"only one of {', '.join(ways)} can be used"
    return _bad_header(fault)


def _bad_header(fault: Fault) -> str | None:
    """Return which header could not be sent (RFC 9110, 5.1 and 5.5)."""
    for name, value in (fault.headers or {}).items():
        if not _FIELD_NAME.fullmatch(name):
            return f"headers: {name!r} is not a header name"
        if name.lower() in _FRAMING:
            return f"headers: {name} is set by the server from the body"
        if not _FIELD_VALUE.fullmatch(value):
            return (
                f"headers: the value of {name} contains a character that is not allowed in a header"
            )
    if fault.redirect is not None and not _FIELD_VALUE.fullmatch(fault.redirect):
        return "redirect contains a character that is not allowed in a header"
    return None
