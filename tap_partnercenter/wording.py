"""Wording of messages: suggestions for misspelt names, and counts of things."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")


def printable(name: str) -> str:
    """Return the name of a field or setting, unless it may be something else, like a secret."""
    return name if _NAME.fullmatch(name) else "(invalid name)"


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a suggestion to append to an unknown name, found by what follows a common prefix."""
    rest = sorted(word.removeprefix(prefix) for word in known)
    close = difflib.get_close_matches(name.removeprefix(prefix), rest, n=1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 record`, `2 records`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
