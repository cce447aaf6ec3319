"""Reads a contestant's output after its run, and compares it with what the emulator holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
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


def messages(folder: Path) -> Iterator[tuple[str, Record]]:
    """Yield the stream and the record of each RECORD message in the file `stdout` of a folder."""
    with (folder / "stdout").open("rb") as lines:
        for message in map(msgspec.json.Decoder(_Message).decode, lines):
            if message.record is not None:
                yield message.stream, message.record


def extracted(folder: Path) -> Iterator[tuple[str, Record]]:
    """Yield the stream and the record of each record that dlt has extracted into a folder."""
    decode = msgspec.json.Decoder(list[Record]).decode
    for path in folder.glob("**/new_jobs/*.typed-jsonl"):
        stream = path.name.partition(".")[0]
        if not stream.startswith("_"):  # dlt's own
            with path.open("rb") as lines:
                for records in map(decode, lines):
                    yield from ((stream, record) for record in records)


def counted(records: Iterable[tuple[str, Record]], expected: Mapping[str, int]) -> tuple[int, str]:
    """Return the number of records, and how they differ from the expected ones: empty if not."""
    number = Counter[str]()
    # Hashes instead of keys, because there may be a million.
    keys = defaultdict[str, set[int]](set)
    for stream, record in records:
        number[stream] += 1
        keys[stream].add(hash(record.key()))
    problems = []
    for stream in sorted({*expected, *number}):
        wanted, found = expected.get(stream, 0), number[stream]
        if found != wanted:
            problems.append(f"{stream}: {found} records instead of {wanted}")
        elif repeated := wanted - len(keys[stream]):
            problems.append(f"{stream}: {repeated} records twice")
    return number.total(), "; ".join(problems)
