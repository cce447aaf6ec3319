"""What a contestant has left behind, counted after its run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Record(msgspec.Struct):
    """The members that make keys. dlt names the parent's key in its own way."""

    id: str
    customer_id: str = ""
    reseller_id: str = ""
    relationshipType: str | None = None  # noqa: N815 - the API's name
    customers_id: str = msgspec.field(name="_customers_id", default="")
    resellers_id: str = msgspec.field(name="_resellers_id", default="")

    def key(self) -> tuple[str, ...]:
        """Return what must be unique within a stream."""
        parent = self.customer_id or self.reseller_id or self.customers_id or self.resellers_id
        return parent, self.id, self.relationshipType or "none"


class _Message(msgspec.Struct):
    type: str
    stream: str = ""
    record: Record | None = None


@dataclass
class Counted:
    """Records of each stream, and the messages around them."""

    records: dict[str, int] = field(default_factory=dict)
    distinct: dict[str, int] = field(default_factory=dict)
    schemas: int = 0
    states: int = 0
    state_bytes: int = 0

    def wrong(self, expected: Mapping[str, int]) -> str:
        """Tell how the records differ from what must be there; nothing if they do not."""
        problems = []
        for stream in sorted({*expected, *self.records}):
            wanted, found = expected.get(stream, 0), self.records.get(stream, 0)
            if found != wanted:
                problems.append(f"{stream}: {found} records instead of {wanted}")
            elif self.distinct[stream] != wanted:
                problems.append(f"{stream}: {wanted - self.distinct[stream]} records twice")
        return "; ".join(problems)


def count_messages(lines: Iterable[bytes]) -> Counted:
    """Count Singer messages."""
    counted = Counted()
    keys: dict[str, set[int]] = {}
    decoder = msgspec.json.Decoder(_Message)
    for line in lines:
        message = decoder.decode(line)
        if message.record is not None:
            stream = message.stream
            counted.records[stream] = counted.records.get(stream, 0) + 1
            # A hash instead of the key: there may be a million.
            keys.setdefault(stream, set()).add(hash(message.record.key()))
        elif message.type == "SCHEMA":
            counted.schemas += 1
        elif message.type == "STATE":
            counted.states += 1
            counted.state_bytes += len(line)
    counted.distinct = {stream: len(found) for stream, found in keys.items()}
    return counted


def count_extracted(folder: Path) -> Counted:
    """Count what dlt has extracted into the folder of a pipeline."""
    counted = Counted()
    keys: dict[str, set[int]] = {}
    decoder = msgspec.json.Decoder(list[Record])
    for path in folder.glob("**/new_jobs/*.typed-jsonl"):
        stream = path.name.partition(".")[0]
        if stream.startswith("_"):
            continue  # dlt's own
        with path.open("rb") as file:
            for line in file:
                records = decoder.decode(line)
                counted.records[stream] = counted.records.get(stream, 0) + len(records)
                keys.setdefault(stream, set()).update(hash(each.key()) for each in records)
    counted.distinct = {stream: len(found) for stream, found in keys.items()}
    return counted
