"""The records of a collection, as its pages read them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .data import Record
    from .directory import Directory, Filter


class Rows(Protocol):
    """Records in the API's order; each has a permanent number, in ascending order."""

    def page(self, start: int, size: int) -> tuple[list[int], int | None]:
        """Return up to `size` numbers from `start` on, and where the next page starts."""

    def slice(self, first: int, size: int) -> list[int]:
        """Return up to `size` numbers after the current first `first`."""

    def count(self) -> int:
        """Return how many records there are."""

    def record(self, number: int) -> Record:
        """Return the record with this number."""

    def all(self) -> Iterator[Record]:
        """Yield every record."""


class Customers:
    """The partner's customers, or those that match a filter."""

    def __init__(self, directory: Directory, condition: Filter | None) -> None:
        self._directory = directory
        self._condition = condition
        self.record = directory.listed

    def page(self, start: int, size: int) -> tuple[list[int], int | None]:
        """Return positions, and the one at which the next page starts."""
        return self._directory.page(self._condition, start, size)

    def slice(self, first: int, size: int) -> list[int]:
        """Return the positions after the first `first` customers."""
        return self._directory.slice(self._condition, first, size)

    def count(self) -> int:
        """Return how many customers there are."""
        return self._directory.count(self._condition)

    def all(self) -> Iterator[Record]:
        """Yield every customer; changes in the meantime are safe."""
        return map(self.record, self._directory.positions(self._condition))


class Listed:
    """A list of records; None is the gap left by a removed one."""

    def __init__(self, records: Sequence[Record | None]) -> None:
        """Number the records by their position in `records`."""
        self._records = records

    def page(self, start: int, size: int) -> tuple[list[int], int | None]:
        """Return numbers, and the one at which the next page starts."""
        found = list(itertools.islice(self._numbers(start), size + 1))
        return found[:size], found[size] if len(found) > size else None

    def slice(self, first: int, size: int) -> list[int]:
        """Return the numbers after the first `first`."""
        return list(itertools.islice(self._numbers(0), first, first + size))

    def count(self) -> int:
        """Return how many records there are."""
        return sum(record is not None for record in self._records)

    def record(self, number: int) -> Record:
        """Return one record."""
        record = self._records[number]
        assert record is not None, number  # noqa: S101 - numbers name no gaps
        return record

    def all(self) -> Iterator[Record]:
        """Yield every record."""
        return (record for record in self._records if record is not None)

    def _numbers(self, start: int) -> Iterator[int]:
        numbers = range(start, len(self._records))
        return (number for number in numbers if self._records[number] is not None)
