"""Bytes for choosing a record's members, and the ways in which the vendor writes dates."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

NEVER = "0001-01-01T00:00:00"
"""How the vendor writes "never"; without a time zone."""
NO_END = "9999-12-14T00:00:00Z"
PACIFIC = timezone(timedelta(hours=-8))
FIRST_DAY = datetime(2018, 1, 1, tzinfo=UTC)
FRACTIONS = (0, 1, 3, 6, 7)
"""Observed numbers of fractional digits of a second."""


class Draw:
    """Bytes derived from a seed and a name: the same name, the same choices, in any order."""

    __slots__ = ("_bytes",)

    def __init__(self, seed: bytes, *name: str | int) -> None:
        """Draw for one item, such as the third subscription of a customer."""
        text = "/".join(map(str, name)).encode()
        self._bytes = hashlib.blake2b(text, key=seed).digest()

    def __getitem__(self, number: int) -> int:
        """Return one of 64 bytes."""
        return self._bytes[number]

    def one_of(self, number: int, choices: Sequence[T]) -> T:
        """Choose by one byte."""
        return choices[self._bytes[number] % len(choices)]

    def number(self, number: int, size: int = 4) -> int:
        """Return a number from this many bytes."""
        return int.from_bytes(self._bytes[number : number + size])

    def hex(self, number: int, size: int) -> str:
        """Return this many bytes in hexadecimal digits."""
        return self._bytes[number : number + size].hex()

    def bytes(self, number: int, size: int = 16) -> bytes:
        """Return this many bytes."""
        return self._bytes[number : number + size]


def guid(digest: bytes) -> str:
    """Return the first 16 bytes of `digest` as a GUID of version 4."""
    text = digest[:16].hex()
    variant = "89ab"[digest[8] >> 6]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def day(draw: Draw, number: int, within: int = 3000) -> datetime:
    """Return a time in the eight years from 2018 on, or in this many days."""
    seconds = draw.number(number, 5) % (within * 86_400)
    return FIRST_DAY + timedelta(seconds=seconds, microseconds=draw.number(number, 3) % 1_000_000)


def utc(moment: datetime, digits: int = 0) -> str:
    """Return a date with `Z` and this many fractional digits, up to seven."""
    text = moment.isoformat(timespec="microseconds")
    fraction = f"{text[19:26]}7"[: digits + 1] if digits else ""
    return f"{text[:19]}{fraction}Z"


def pacific(moment: datetime) -> str:
    """Return a date with seven digits and an offset, as in some orders."""
    local = moment.astimezone(PACIFIC)
    return f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond:06d}7-08:00"


def zoneless(moment: datetime) -> str:
    """Return a date without a time zone."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}"


def midnight(moment: datetime) -> str:
    """Return a day in the vendor's format for the end of a commitment."""
    return f"{moment.isoformat()[:10]}T00:00:00Z"


def money(draw: Draw, number: int) -> Decimal:
    """Return an amount; one in four has the 22 digits of a sum of floats, some are negative."""
    cents = draw.number(number, 3) % 5_000_000
    amount = f"{cents // 100}.{cents % 100:02d}"
    if draw[number] % 4 == 0:
        amount = f"{amount}82999999999995904716"[:23]
    return Decimal(f"-{amount}" if draw[number] % 16 == 1 else amount)
