"""Repairs bodies whose text contains invalid characters, and reports the fields.

JSON allows half of a surrogate pair to be written as an escape (RFC 8259, section 8.2), and a
service may cut UTF-8 in the middle. Text can contain neither, so msgspec rejects the whole body:
one such character in one name would make its page, and all later ones, unreadable. NUL is a valid
character, but PostgreSQL and others reject text that contains it, so every load would fail.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from tap_partnercenter.records import SILENT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_partnercenter.records import Json

#: Replaces a character that is lost.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_BROKEN = re.compile("[\ud800-\udfff]")
_INVALID = re.compile("[\0\ud800-\udfff]")
#: A body without this escape contains no NUL: an unescaped one is not valid JSON.
NUL = rb"\u0000"
_RECORDS = "items."


def repaired(body: bytes) -> tuple[Any, list[str]]:
    """Decode JSON with U+FFFD in place of lone surrogates, NUL and bytes that are not UTF-8.

    It takes several times as long as msgspec: use it only if that fails, or with :data:`NUL`.

    Returns:
        The document, and the path within its record of each value of `items` that was changed.

    Raises:
        ValueError: If it is not JSON even so.
        RecursionError: If it is nested too deeply.
    """
    # This decoder keeps lone surrogates, and bytes that are not UTF-8 can be turned into them.
    text = body.decode(errors="surrogateescape")
    # Control characters within text are not valid JSON either, but accepting them loses nothing.
    document = json.loads(text, parse_float=Decimal, parse_constant=_refuse, strict=False)
    changed: list[str] = []
    document = _fixed(document, "", changed.append)
    paths = [path.removeprefix(_RECORDS) for path in changed if path.startswith(_RECORDS)]
    return document, [path for path in paths if SILENT_FIELDS.isdisjoint(path.lower().split("."))]


def _fixed(value: Json, path: str, on_change: Callable[[str], None]) -> Json:
    if isinstance(value, str):
        fixed, count = _INVALID.subn(REPLACEMENT, value)
        if count:
            on_change(path)
        return fixed
    if isinstance(value, list):
        return [_fixed(item, path, on_change) for item in value]
    if isinstance(value, dict):
        if _BROKEN.search("".join(value)):
            # It may have been `items`, or the link to the next page.
            message = "a member's name is broken"
            raise ValueError(message)
        inside = f"{path}." if path else ""
        return {
            name.replace("\0", REPLACEMENT): _fixed(item, inside + name, on_change)
            for name, item in value.items()
        }
    return value


def _refuse(constant: str) -> NoReturn:
    """Reject NaN and Infinity, which are not JSON."""
    raise ValueError(constant)
