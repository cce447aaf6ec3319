"""What a response contains, and which parts of it may be shown to an operator."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_partnercenter.connection_errors import Route

#: Members of an envelope besides `items`.
_ENVELOPE = frozenset({"totalCount", "attributes", "links", "continuationToken"})
#: Members of an error, in any of its shapes.
_ERROR = ("code", "error", "message", "statusCode")
_CODE = re.compile(r"[0-9]{1,10}")
#: A count that is not zero: the service sends it as a number and as a string, such as "04".
_SOME = re.compile(r"0*[1-9][0-9]*")
#: A base of 16 or 22 characters, then counters.
_CORRELATION_VECTOR = re.compile(r"[\w+/-]{16,22}(\.[0-9a-fA-F]{1,8}){1,20}", re.ASCII)


class ApiResponse(requests.Response):
    """A response whose body was read and decoded once, inside the retried call.

    Attributes:
        route: The way to its origin.
        document: The collection envelope: `items`, `links`, `continuationToken`, …
        broken: The path of each field of `items` whose characters had to be repaired.
    """

    route: Route
    document: Mapping[str, Any]
    broken: Sequence[str] = ()

    @property
    def items(self) -> list[dict[str, Any]]:
        """The records of the page, perhaps none."""
        return self.document.get("items") or []

    @property
    def promises_records(self) -> bool:
        """Whether a response without records claims to have some."""
        total = str(self.document.get("totalCount"))
        return not self.items and _SOME.fullmatch(total) is not None


def is_collection(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a page of records."""
    items = document.get("items")
    if not items and any(document.get(name) for name in _ERROR):
        return False
    if items is None:
        # An envelope may lack `items`; anything else without them, such as a record or a list by
        # another name, would silently end the data.
        members = document.keys() - {"items"}
        return bool(members) and members <= _ENVELOPE
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def is_entity(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one record, with an id."""
    return isinstance(document.get("id"), str)


def code_of(document: Mapping[str, Any]) -> str | None:
    """Read `code`: the service sends it as a number and as a string."""
    code = document.get("code")
    text = str(code)
    # All known codes are numbers; any other text could be anything, even a name.
    return text if isinstance(code, int | str) and _CODE.fullmatch(text) else None


def support_ids(response: requests.Response) -> str:
    """The ids that Microsoft support needs to find a request, as a sentence."""
    request = response.request.headers
    sent = {name: str(request.get(name)) for name in ("MS-CorrelationId", "MS-RequestId")}
    cv = response.headers.get("MS-CV", "")
    if _CORRELATION_VECTOR.fullmatch(cv):
        sent["MS-CV"] = cv
    return ", ".join(f"{name} {value}" for name, value in sent.items()) + ". "
