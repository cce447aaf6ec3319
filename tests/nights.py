"""A calendar with an emulator and a tap, the tables that runs fill, and today's rows in them."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from partnercenter_emulator import Emulator, Options
from tests import truth
from tests.command_line import QuickClock, Result, catalog_of, run_tap
from tests.truth import complete_lines, last_state

if TYPE_CHECKING:
    from collections.abc import Iterable

CHILDREN = ("customer_relationships", "subscriptions")
#: Streams with their keys, and the emulator's names for their records.
KEYS = {**truth.KEYS, **truth.REFRESHES, "subscriptions": ("customer_id", "id")}
PLACES = {
    "customers": "customers",
    "indirect_resellers": "resellers",
    "reseller_customers": "partition",
    "customer_relationships": "relationships",
    "subscriptions": "subscriptions",
}
LISTS = tuple(PLACES)[:3]
DAY = 86_400.0
NOW = dt.datetime(2026, 11, 21, 3, 30, tzinfo=dt.UTC).timestamp()

Row = dict[str, Any]
catalog = functools.cache(catalog_of)


def part(customer_id: str, first: int, parts: int) -> int:
    """Four bytes of a hash, as documented: from 0 for shards, from 4 for turns."""
    digest = hashlib.md5(customer_id.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[first : first + 4], "big") % parts


def contents(rows: Iterable[Row]) -> list[str]:
    """Rows in any order, with the fields that both the emulator and the tap have."""
    names = ("customer_id", "reseller_id", "id", "quantity", "friendlyName")
    return sorted(json.dumps([row.get(name) for name in names]) for row in rows)


def held(emulator: Emulator, stream: str) -> list[Row]:
    return list(emulator.held(PLACES[stream]))


class Tables:
    """Tables of a target that updates rows, and never removes one."""

    def __init__(self) -> None:
        self.tables: defaultdict[str, dict[tuple[str, ...], tuple[dt.datetime, Row]]]
        self.tables = defaultdict(dict)

    def load(self, lines: Iterable[str]) -> None:
        for message in map(json.loads, lines):
            if message["type"] == "RECORD":
                row = message["record"]
                key = tuple(row[name] for name in KEYS[message["stream"]])
                extracted = dt.datetime.fromisoformat(message["time_extracted"])
                self.tables[message["stream"]][key] = (extracted, row)

    def today(self, stream: str) -> list[Row]:
        """The rows that the API holds, by the rules of docs/warehouse.md."""
        found = self.tables[stream].values()
        if stream in LISTS:
            return [row for since, row in found if not self._left(stream, since, row)]
        here = {row["id"] for row in self.today("customers")}
        read = self.tables["customer_refreshes"]
        return [
            row
            for since, row in found
            if row["customer_id"] in here
            and not _newer(read.get((row["customer_id"], stream)), since)
        ]

    def _left(self, stream: str, since: dt.datetime, row: Row) -> bool:
        """Whether a list that should contain the row was read without it."""
        return any(
            _newer((at, list_refresh), since)
            for at, list_refresh in self.tables["list_refreshes"].values()
            if list_refresh["stream"] == stream
            and list_refresh.get("reseller_id") in {None, row.get("reseller_id")}
            and (
                list_refresh.get("reseller_id")
                or part(row["id"], 0, list_refresh["shard_count"]) == list_refresh["shard_index"]
            )
        )

    def assert_current_rows(self, emulator: Emulator, *streams: str) -> None:
        for stream in streams or PLACES:
            assert contents(self.today(stream)) == contents(held(emulator, stream)), stream


def _newer(refresh: tuple[dt.datetime, Row] | None, since: dt.datetime) -> bool:
    return refresh is not None and dt.datetime.fromisoformat(refresh[1]["refreshed_at"]) > since


class World:
    """An emulator and a tap on one calendar, and the tables that runs fill."""

    def __init__(self, **options: Any) -> None:
        self.now = NOW
        self.emulator = Emulator(
            Options(**{"customers": 21, "resellers": 3, "audit_per_day": 0, **options}),
            clock=lambda: self.now,
        )
        self.tables = Tables()
        self.state: Row | None = None

    def run(self, *streams: str, **settings: Any) -> Result:
        """Run the tap; what it emits before it is cut off is loaded into the tables."""
        cut = settings.pop("cut", 1.0)
        world = self

        class WorldClock(QuickClock):
            def now(self) -> float:
                return world.now

        result = run_tap(
            config={**self.emulator.tap_config(), "page_size": 7, **settings},
            catalog=catalog(*(streams or KEYS)),
            state=self.state,
            clock=WorldClock,
        )
        lines = complete_lines(result.stdout[: round(cut * len(result.stdout))])
        self.tables.load(lines)
        self.state = last_state(lines) or self.state
        return result

    def ids(self) -> list[str]:
        return [customer["id"] for customer in self.emulator.customers()]

    def asked(self) -> dict[str, int]:
        """The number of requests since the last call, by place."""
        by_place = {place: sum(n.values()) for place, n in self.emulator.stats().by_place.items()}
        self.emulator.reset_stats()
        return by_place


def read(result: Result, stream: str = "subscriptions") -> dict[str, str]:
    """The customers that a run has read, each with the reason."""
    rows = result.records("customer_refreshes")
    return {row["customer_id"]: row["reason"] for row in rows if row["stream"] == stream}


def turns(world: World, days: int, nights: int) -> set[str]:
    """The customers whose turn came in the last nights."""
    number = int(world.now // DAY) + dt.date(1970, 1, 1).toordinal()
    return {one for one in world.ids() if (number - part(one, 4, days)) % days < nights}
