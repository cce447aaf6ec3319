"""Counts a contestant's output after its run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Record(msgspec.Struct):
    """The members that form keys. dlt has its own name for the parent's key."""

    id: str
    customer_id: str = ""
    reseller_id: str = ""
    relationshipType: str | None = None  # noqa: N815 - the API's name
    customers_id: str = msgspec.field(name="_customers_id", default="")
    resellers_id: str = msgspec.field(name="_resellers_id", default="")

    def key(self) -> tuple[str, ...]:
        """Return the key, which must be unique within a stream."""
        parent = self.customer_id or self.reseller_id or self.customers_id or self.resellers_id
        return parent, self.id, self.relationshipType or "none"


class _Message(msgspec.Struct):
    type: str
    stream: str = ""
    record: Record | None = None


class Counted:
    """The number of records in each stream, and how many of them have unique keys."""

    def __init__(self) -> None:
        """Begin without records."""
        self.records: dict[str, int] = {}
        # Hashes instead of keys, because there may be a million.
        self._keys: dict[str, set[int]] = defaultdict(set)

    def add(self, stream: str, record: Record) -> None:
        """Count a record."""
        self.records[stream] = self.records.get(stream, 0) + 1
        self._keys[stream].add(hash(record.key()))

    def wrong(self, expected: Mapping[str, int]) -> str:
        """Return how the records differ from the expected ones; empty if they do not."""
        problems = []
        for stream in sorted({*expected, *self.records}):
            wanted, found = expected.get(stream, 0), self.records.get(stream, 0)
            if found != wanted:
                problems.append(f"{stream}: {found} records instead of {wanted}")
            elif repeated := wanted - len(self._keys[stream]):
                problems.append(f"{stream}: {repeated} records twice")
        return "; ".join(problems)


def count_messages(folder: Path) -> Counted:
    """Count the Singer messages in the file `stdout` of a folder."""
    counted = Counted()
    decoder = msgspec.json.Decoder(_Message)
    with (folder / "stdout").open("rb") as lines:
        for message in map(decoder.decode, lines):
            if message.record is not None:
                counted.add(message.stream, message.record)
    return counted


def count_extracted(folder: Path) -> Counted:
    """Count the records that dlt has extracted into a pipeline's folder."""
    counted = Counted()
    decoder = msgspec.json.Decoder(list[Record])
    for path in folder.glob("**/new_jobs/*.typed-jsonl"):
        stream = path.name.partition(".")[0]
        if stream.startswith("_"):
            continue  # dlt's own
        with path.open("rb") as lines:
            for records in map(decoder.decode, lines):
                for record in records:
                    counted.add(stream, record)
    return counted
