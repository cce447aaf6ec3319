"""What the emulator holds, what a run emitted, and whether the two agree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from partnercenter_emulator import Emulator
    from tests.command_line import Result

KEYS = {
    "customers": ("id",),
    "customer_relationships": ("customer_id", "id", "relationshipType"),
    "indirect_resellers": ("id",),
    "reseller_customers": ("reseller_id", "id"),
}
#: The tap's own streams about its run, with their keys.
REFRESHES = {"customer_refreshes": ("customer_id", "stream"), "list_refreshes": ("id",)}


class Truth(Protocol):
    """An emulator's report of all that it holds."""

    def customers(self) -> Iterable[dict[str, Any]]: ...
    def resellers(self) -> Iterable[dict[str, Any]]: ...
    def memberships(self) -> Iterable[dict[str, Any]]: ...
    def relationships(self) -> Iterable[dict[str, Any]]: ...


def held(emulator: Truth) -> dict[str, list[tuple[str, ...]]]:
    """The keys of all that the emulator holds, in the order of the API."""
    resellers = [reseller["id"] for reseller in emulator.resellers()]
    order = {reseller: place for place, reseller in enumerate(resellers)}
    memberships = [(m["reseller_id"], m["customer_id"]) for m in emulator.memberships()]
    return {
        "customers": [(customer["id"],) for customer in emulator.customers()],
        "customer_relationships": [
            (r["customer_id"], r["id"], r.get("relationshipType") or "none")
            for r in emulator.relationships()
        ],
        "indirect_resellers": [(reseller,) for reseller in resellers],
        "reseller_customers": sorted(memberships, key=lambda pair: order[pair[0]]),
    }


def complete_lines(stdout: str) -> list[str]:
    """The lines that a target can read: a killed run may leave an incomplete one."""
    return stdout[: stdout.rfind("\n") + 1].splitlines()


def emitted(lines: Iterable[str]) -> dict[str, set[tuple[Any, ...]]]:
    """The keys of all records, as stored by a target that upserts."""
    found: dict[str, set[tuple[Any, ...]]] = {stream: set() for stream in KEYS}
    for line in lines:
        message = json.loads(line)
        if message["type"] == "RECORD" and message["stream"] in KEYS:
            key = tuple(message["record"][name] for name in KEYS[message["stream"]])
            found[message["stream"]].add(key)
    return found


def last_state(lines: Iterable[str]) -> dict[str, Any] | None:
    """The last STATE, or None."""
    states = [m["value"] for m in map(json.loads, lines) if m["type"] == "STATE"]
    return states[-1] if states else None


def assert_complete(result: Result, emulator: Emulator) -> None:
    """Check that a successful run emitted everything, once and in order."""
    assert result.exit_code == 0, result.stderr
    for stream, keys in held(emulator).items():
        assert result.keys(stream, *KEYS[stream]) == keys
    assert_no_checkpoint(result.state)


def assert_customers(result: Result, emulator: Emulator) -> None:
    """Check that a successful run emitted every customer, once and in order."""
    assert result.exit_code == 0, result.stderr
    assert result.keys("customers", "id") == held(emulator)["customers"]


def assert_no_checkpoint(state: dict[str, Any]) -> None:
    """Check that nothing is left to resume; bookmarks may still hold their stream's row count."""
    assert all(bookmark.keys() <= {"rows"} for bookmark in state["bookmarks"].values())


def assert_all_records(lines: Iterable[str], emulator: Emulator) -> None:
    """Check that several runs together emitted what the emulator holds, and nothing else."""
    assert emitted(lines) == {stream: set(keys) for stream, keys in held(emulator).items()}


class Warehouse:
    """Tables as kept by a target that upserts and obeys ACTIVATE_VERSION."""

    def __init__(self) -> None:
        """Start empty."""
        self.tables: dict[str, dict[tuple[Any, ...], int | None]] = {stream: {} for stream in KEYS}
        self.removed: set[tuple[str, tuple[Any, ...]]] = set()

    def load(self, lines: Iterable[str]) -> None:
        """Apply the messages."""
        for message in map(json.loads, lines):
            if message["type"] == "RECORD" and message["stream"] in KEYS:
                key = tuple(message["record"][name] for name in KEYS[message["stream"]])
                self.tables[message["stream"]][key] = message.get("version")
            elif message["type"] == "ACTIVATE_VERSION":
                table = self.tables[message["stream"]]
                for key in [key for key in table if table[key] != message["version"]]:
                    del table[key]
                    self.removed.add((message["stream"], key))

    def assert_equals(self, emulator: Emulator) -> None:
        """Check that the tables hold exactly the API's rows, and that none was ever removed."""
        for stream, keys in held(emulator).items():
            assert set(self.tables[stream]) == set(keys), stream
            assert not {(stream, key) for key in keys} & self.removed
