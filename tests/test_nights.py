"""Nightly runs that request only what changed, and a warehouse that knows today's rows."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import random
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from typing_extensions import override

from partnercenter_emulator import Emulator, Fault, Options
from tests.command_line import QuickClock, Result, catalog_of, run_tap
from tests.models import Models
from tests.truth import last_state, whole_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from partnercenter_demo.postgres import Server

pytestmark = pytest.mark.slow

CHILDREN = ("customer_relationships", "subscriptions")
#: Streams with their keys, and the emulator's names for their records.
KEYS = {
    "customers": ("id",),
    "indirect_resellers": ("id",),
    "reseller_customers": ("reseller_id", "id"),
    "customer_relationships": ("customer_id", "id", "relationshipType"),
    "subscriptions": ("customer_id", "id"),
    "customer_refreshes": ("customer_id", "stream"),
    "list_refreshes": ("id",),
}
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
            _newer((at, told), since)
            for at, told in self.tables["list_refreshes"].values()
            if told["stream"] == stream
            and told.get("reseller_id") in {None, row.get("reseller_id")}
            and (
                told.get("reseller_id")
                or part(row["id"], 0, told["shard_count"]) == told["shard_index"]
            )
        )

    def assert_today(self, emulator: Emulator, *streams: str) -> None:
        for stream in streams or PLACES:
            assert contents(self.today(stream)) == contents(held(emulator, stream)), stream


class Warehouse(Tables):
    """PostgreSQL tables with dbt's models as well: both must agree."""

    def __init__(self, models: Models) -> None:
        super().__init__()
        self.models = models
        models.empty()

    @override
    def load(self, lines: Iterable[str]) -> None:
        lines = list(lines)
        super().load(lines)
        self.models.load(map(json.loads, lines))

    @override
    def today(self, stream: str) -> list[Row]:
        found = self.models.today(stream)
        assert contents(found) == contents(super().today(stream)), stream
        return found

    def assert_answers(self, emulator: Emulator, before: Iterable[str]) -> None:
        """Check that the marts match the emulator, and list who left since the last build."""
        names = {one["id"]: one["name"] for one in emulator.resellers()}
        pairs = [(one["reseller_id"], one["customer_id"]) for one in emulator.memberships()]
        sizes = Counter(reseller for reseller, _ in pairs)
        answer = self.models.rows("customers_by_reseller")
        assert {row["reseller_name"]: row["customers"] for row in answer} == {
            name: sizes[key] for key, name in names.items()
        }
        customers = {one["id"] for one in emulator.customers()}
        answer = self.models.rows("customers_without_reseller")
        assert {row["customer_id"] for row in answer} == customers - {one for _, one in pairs}
        answer = self.models.rows("vanished_customers")
        assert {row["customer_id"] for row in answer} == {*before} - customers


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
        lines = whole_lines(result.stdout[: round(cut * len(result.stdout))])
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


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with world.emulator:
        yield world


# Today's rows


@pytest.mark.parametrize("deletes", [False, True])
def test_rows_that_are_gone_are_known_without_deletes(world: World, *, deletes: bool) -> None:
    """A customer that left, one that lost all relationships, one that moved, a subscription."""
    world.run(emit_activate_version_messages=deletes)
    world.tables.assert_today(world.emulator)
    gone, moved, alone, *_ = world.ids()
    resellers = [one["id"] for one in world.emulator.resellers()]
    world.emulator.remove_customer(gone)
    world.emulator.move_customer(moved, resellers[-1])
    world.emulator.move_customer(alone, None)
    ended = next(one for one in held(world.emulator, "subscriptions"))
    world.emulator.remove("subscriptions", ended["id"], ended["customer_id"])
    result = world.run(emit_activate_version_messages=deletes)
    world.tables.assert_today(world.emulator)
    assert {*read(result).values()} == {"all"}
    assert [*read(result)] == world.ids()


def test_shards_know_what_is_gone(world: World) -> None:
    """Each for its own part, even after runs with a different number of shards."""
    for count in (1, 3, 2):
        for index in range(count):
            world.run(shard_count=count, shard_index=index)
            world.state = None
        world.tables.assert_today(world.emulator)
        world.emulator.remove_customer(world.ids()[0])
        world.emulator.move_customer(world.ids()[0], None)


def test_a_skipped_customer_keeps_its_rows(world: World) -> None:
    """For the refused stream: the API does not say which rows are gone."""
    world.run()
    before = world.tables.today("subscriptions")
    lost = before[0]["customer_id"]
    world.emulator.remove("subscriptions", before[0]["id"], lost)
    world.emulator.faults = [Fault(place="subscriptions", customer_id=lost, status=403, code=20002)]
    result = world.run()
    assert lost not in read(result)
    assert lost in read(result, "customer_relationships")
    assert contents(world.tables.today("subscriptions")) == contents(before)


@pytest.mark.parametrize("place", ["continuation", "subscriptions", "partition"])
def test_an_interrupted_run_tells_what_it_read(world: World, place: Any) -> None:
    """The next run reports the rest; lists are reported only when read in one go."""
    world.run()
    for customer in world.ids()[1::4]:
        world.emulator.move_customer(customer, None)
    ended = held(world.emulator, "subscriptions")[::3]
    for one in ended:
        world.emulator.remove("subscriptions", one["id"], one["customer_id"])
    world.emulator.faults = [Fault(place=place, skip=1, status=501)]
    assert world.run().exit_code == 1
    world.emulator.faults = ()
    assert world.run().exit_code == 0
    world.tables.assert_today(world.emulator, *CHILDREN)
    world.run()
    world.tables.assert_today(world.emulator)


def test_a_resellers_list_that_is_read_on_in_its_middle_is_not_told(world: World) -> None:
    """Its first rows were read by the interrupted run, and would be taken for gone."""
    streams = ("reseller_customers", "list_refreshes")
    first, second, third = (one["id"] for one in world.emulator.resellers())
    fault = Fault(place="partition_continuation", reseller_id=second, status=501)
    world.emulator.faults = [fault]
    interrupted = world.run(*streams, page_size=1)
    assert interrupted.exit_code == 1
    assert {row["reseller_id"] for row in interrupted.records("list_refreshes")} == {first}
    world.emulator.faults = ()
    resumed = world.run(*streams, page_size=1)
    assert resumed.exit_code == 0
    assert {row["reseller_id"] for row in resumed.records("reseller_customers")} == {second, third}
    assert {row["reseller_id"] for row in resumed.records("list_refreshes")} == {third}


def test_rows_of_a_list_that_is_read_again_are_those_of_the_second_reading(world: World) -> None:
    """A row that left between the two is gone, although the same run emitted it."""
    world.emulator.configure(link_form="token_only")
    leaves = world.ids()[0]
    world.emulator.faults = [Fault(place="continuation", times=1, status=400, code=2000)]
    result = world.run("customers", "list_refreshes")
    assert result.exit_code == 0, result.stderr
    first, *_, last = [r for r in result.messages if r["type"] == "RECORD"]
    assert (first["record"]["id"], last["record"]["id"]) == (leaves, "customers")
    assert first["time_extracted"] < last["record"]["refreshed_at"]


def test_without_a_table_there_is_no_account_of_it(world: World) -> None:
    """For example a list that only its children need, and children that are not selected."""
    result = world.run("subscriptions", "customer_refreshes", "list_refreshes")
    assert [*read(result)] == world.ids()
    assert result.records("list_refreshes") == []
    assert world.run("customers", "customer_refreshes").records("customer_refreshes") == []


# Nights


def test_each_night_reads_a_part_and_a_week_reads_all(world: World) -> None:
    """Each customer once, in its turn; the first run reads everything and says why."""
    first = world.run(full_refresh_days=7)
    assert {*read(first).values()} == {"all"}
    assert any("no complete run with the same" in line for line in first.log)
    world.asked()
    seen: list[str] = []
    for _ in range(7):
        world.now += DAY
        result = world.run(full_refresh_days=7)
        assert result.levels("WARNING") == []
        number = int(world.now // DAY) + dt.date(1970, 1, 1).toordinal()
        due = [one for one in world.ids() if (number - part(one, 4, 7)) % 7 == 0]
        assert read(result) == dict.fromkeys(due, "turn")
        assert world.asked().get("subscriptions", 0) == len(due)
        seen += due
    assert sorted(seen) == sorted(world.ids())


def test_a_second_run_of_the_day_reads_only_what_changed(world: World) -> None:
    """Unknown operations count as changes, and so do failed ones."""
    world.run(full_refresh_days=7)
    one, other, *_ = world.ids()
    world.now += DAY
    world.run(full_refresh_days=7)
    for customer, status in ((one, "succeeded"), (other.upper(), "failed")):
        entry = {"customerId": customer, "operationType": "odd", "operationStatus": status}
        world.emulator.add("audit_records", entry)
    assert read(world.run(full_refresh_days=7)) == {one: "audit", other: "audit"}


def test_a_day_of_the_log_is_acted_on_again_when_something_came_late(world: World) -> None:
    """Or if a record was replaced; an unchanged day costs only its own requests."""
    world.run(full_refresh_days=90)
    one, other, *_ = world.ids()
    entry = world.emulator.add("audit_records", {"customerId": one, "operationStatus": "progress"})

    def named(after: float) -> set[str]:
        world.now += after
        found = read(world.run(full_refresh_days=90)).items()
        return {customer for customer, reason in found if reason == "audit"}

    assert named(DAY) == {one}
    assert named(DAY) == set()
    late = {"customerId": other, "operationDate": "2026-11-21T09:00:00.0000000Z"}
    world.emulator.add("audit_records", late)
    assert named(DAY / 2) == {one, other}
    assert named(60.0) == set()
    world.emulator.change("audit_records", entry["id"], {"operationStatus": "succeeded"})
    assert named(60.0) == {one, other}


def test_nights_that_never_ran_are_made_up_for(world: World) -> None:
    """Three turns at once after three days; everything after a week."""
    world.run(full_refresh_days=7)
    world.now += 3 * DAY
    number = int(world.now // DAY) + dt.date(1970, 1, 1).toordinal()
    due = [one for one in world.ids() if (number - part(one, 4, 7)) % 7 < 3]
    assert [*read(world.run(full_refresh_days=7))] == due
    world.now += 7 * DAY
    result = world.run(full_refresh_days=7)
    assert {*read(result).values()} == {"all"}
    assert any("every customer has been due since" in line for line in result.log)


@pytest.mark.parametrize(
    ("days", "settings", "streams", "says"),
    [
        (1, {"full_refresh_days": 8}, (), "no complete run with the same"),
        (1, {"shard_count": 1, "stream_maps": {"orders": None}}, (), "no complete run"),
        (1, {}, ("customers", "subscriptions", "customer_refreshes"), "no complete run"),
        (-2, {}, (), "which is in the future"),
        (88, {}, (), "audit records do not go back that far"),
    ],
)
def test_everything_is_read_where_a_part_would_not_do(
    world: World, days: int, settings: Row, streams: tuple[str, ...], says: str
) -> None:
    """The log says why."""
    world.run(full_refresh_days=90)
    world.now += days * DAY
    result = world.run(*streams, **{"full_refresh_days": 90, **settings})
    assert read(result) == dict.fromkeys(world.ids(), "all")
    assert any(says in line for line in result.log)
    assert result.levels("WARNING") == []


def test_everything_is_read_where_the_audit_log_cannot_be(world: World) -> None:
    """With a warning, as the night takes longer than it should."""
    world.run(full_refresh_days=7)
    world.now += DAY
    world.emulator.faults = [Fault(place="audit_records", status=403)]
    result = world.run(full_refresh_days=7)
    assert {*read(result).values()} == {"all"}
    (warning,) = result.levels("WARNING")
    assert "children of all customers are read, because audit records cannot be read: " in warning


@pytest.mark.parametrize("stored", [7, None, {}, {"scope": 1}, {"complete": "soon"}])
def test_a_bookmark_that_is_none_means_everything(world: World, stored: Any) -> None:
    """State may be edited by hand."""
    world.run(full_refresh_days=7)
    bookmark = (world.state or {})["bookmarks"]["customers"]
    kept = stored | {"scope": bookmark["nights"]["scope"]} if stored == {} else stored
    bookmark["nights"] = kept
    result = world.run(full_refresh_days=7)
    assert result.exit_code == 0, result.stderr
    assert {*read(result).values()} == {"all"}


@pytest.mark.parametrize("later", [0.1, 1.0])
def test_a_part_that_was_interrupted_is_read_to_its_end(world: World, later: float) -> None:
    """On the same day from where it stopped; on the next from the start, with both turns."""
    world.run(full_refresh_days=2)
    world.now += DAY
    due = [one for one in world.ids() if one in _due(world, 2, 1)]
    world.emulator.faults = [Fault(place="continuation", skip=1, status=501)]
    first = world.run(full_refresh_days=2)
    assert first.exit_code == 1
    assert 0 < len(read(first)) < len(due)
    world.emulator.faults = ()
    world.now += later * DAY
    second = world.run(full_refresh_days=2)
    if later < 1:
        assert [*read(first), *read(second)] == due
    else:
        assert [*read(second)] == world.ids()


def test_a_late_record_of_a_customer_read_before_an_interruption_is_acted_on(world: World) -> None:
    """The resumed run reads the record, but not the customer again: the next night does."""
    world.run(full_refresh_days=90)
    world.now += 2 * DAY
    world.emulator.faults = [Fault(place="continuation", skip=1, status=501)]
    assert world.run(full_refresh_days=90).exit_code == 1
    world.emulator.faults = ()
    one = world.ids()[0]
    late = {"customerId": one, "operationDate": "2026-11-21T09:00:00.0000000Z"}
    world.emulator.add("audit_records", late)
    assert one not in read(world.run(full_refresh_days=90))
    world.now += DAY
    assert read(world.run(full_refresh_days=90))[one] == "audit"


def test_a_first_run_that_takes_all_night_goes_on_after_midnight(world: World) -> None:
    """Seventeen hours of work must not start over; the next night catches up on the new day."""
    world.emulator.faults = [Fault(place="continuation", skip=1, status=501)]
    first = world.run(full_refresh_days=2)
    world.emulator.faults = ()
    world.now += 0.9 * DAY
    second = world.run(full_refresh_days=2)
    assert [*read(first), *read(second)] == world.ids()
    assert (world.state or {})["bookmarks"]["customers"]["nights"]["complete"] == "2026-11-21"
    assert {*read(world.run(full_refresh_days=2)).values()} == {"turn"}


def test_no_child_has_a_version_in_a_part(world: World) -> None:
    """Only the list of customers has one: it is read in full."""
    settings = {"full_refresh_days": 7, "emit_activate_version_messages": True}
    versions = []
    for _ in range(2):
        result = world.run(**settings)
        versions.append([m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"])
        world.now += DAY
    assert sorted(versions[0]) == sorted(PLACES)
    assert sorted(versions[1]) == sorted(LISTS)


def test_shards_and_maps_have_their_nights(world: World) -> None:
    """Together the shards read all turns; customers that a map filters out cost nothing."""
    maps = {"customers": {"__filter__": f"id != '{world.ids()[0]}'"}}
    settings = {"full_refresh_days": 3, "stream_maps": maps, "shard_count": 2}
    states: list[Row | None] = [None, None]
    found: list[str] = []
    for night in range(4):
        for index in (0, 1):
            world.state = states[index]
            result = world.run(shard_index=index, **settings)
            states[index] = world.state
            found += read(result) if night else ()
        world.now += DAY
    assert sorted(found) == sorted(world.ids()[1:])


def test_two_refused_customers_of_a_part_are_no_system(world: World) -> None:
    """A night's part may hold only two customers, and both may be refused."""
    world.run(full_refresh_days=7)
    world.now += DAY
    refused = sorted(_due(world, 7, 1))[:2] or world.ids()[:2]
    for customer in refused:
        world.emulator.add("audit_records", {"customerId": customer})
    world.emulator.faults = [
        Fault(place="subscriptions", customer_id=one, status=403, code=20002)
        for one in {*refused, *_due(world, 7, 1)}
    ]
    result = world.run(full_refresh_days=7)
    assert result.exit_code == 0, result.stderr
    assert read(result) == {}


def _due(world: World, days: int, nights: int) -> set[str]:
    """The customers whose turn came in the last nights."""
    number = int(world.now // DAY) + dt.date(1970, 1, 1).toordinal()
    return {one for one in world.ids() if (number - part(one, 4, days)) % days < nights}


# Sixty nights


class Season:
    """Nights with changes, failures, kills and missed runs; and the checks after each."""

    def __init__(self, days: int, seed: int, tables: Tables) -> None:
        self.days = days
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self.world = World(customers=24, audit_per_day=0)
        self.world.tables = tables
        #: For each customer and child stream: since when it held which rows.
        self.history: defaultdict[tuple[str, str], list[tuple[float, list[str]]]]
        self.history = defaultdict(lambda: [(0.0, [])])
        #: Changes in the audit log: the customer, when it happened, and when it is logged.
        self.audited: list[tuple[str, float, float]] = []
        #: When the last complete run started.
        self.complete = 0.0
        #: Requests for children in each complete night, and their upper limit.
        self.requests: list[tuple[int, int]] = []

    def night(self, *, quiet: bool = False) -> None:
        """Let a day pass, and run; after a failure perhaps run again."""
        world, chance = self.world, self.random.random
        morning = world.now
        for moment in sorted(chance() for _ in range(0 if quiet else self.random.randint(0, 3))):
            world.now = morning + moment * DAY
            self.change()
            self.note()
        world.now = morning + DAY
        self.note()
        if not quiet and chance() < 0.1:
            return  # the machine was off
        places: list[Any] = ["customers", "continuation", "subscriptions", "relationships"]
        place: Any = self.random.choice([*places, "resellers", "partition", "audit_records"])
        fault = Fault(place=place, skip=self.random.randint(0, 5), times=1, status=501)
        world.emulator.faults = [fault] if chance() < 0.3 and not quiet else []
        cut = chance() if chance() < 0.15 and not quiet else 1.0
        if not self.run(cut) and chance() < 0.6:
            world.now += DAY / 24
            world.emulator.faults = []
            self.run(1.0)
        world.now = morning + DAY

    def change(self) -> None:
        """Change something of a customer; the audit log has it at once, late, or never."""
        emulator, pick = self.world.emulator, self.random.choice
        telling: Any = {
            "audited": self.random.random() < 0.6,
            "late": pick([0.0, 0.0, 0.7, 1.9]) * DAY,
        }
        one = pick(held(emulator, "subscriptions"))
        customer, key = one["customer_id"], one["id"]
        kind = self.random.randrange(7)
        if kind == 0:
            customer = pick(self.world.ids())
            emulator.add("subscriptions", {}, customer, **telling)
        elif kind == 1:
            emulator.remove("subscriptions", key, customer, **telling)
        elif kind == 2:
            telling["audited"] = False
            resellers = [None, *(one["id"] for one in emulator.resellers())]
            emulator.move_customer(pick(self.world.ids()), pick(resellers))
        elif kind == 3:
            emulator.remove_customer(customer, **telling)
        elif kind == 4:
            customer = emulator.create_customer("New, Inc.", **telling)["id"]
        else:
            quantity = {"quantity": self.random.randint(1, 99)}
            emulator.change("subscriptions", key, quantity, customer, **telling)
        if telling["audited"]:
            self.audited.append((customer, self.world.now, self.world.now + telling["late"]))

    def note(self) -> None:
        """Record what each customer holds from now on."""
        for (customer, stream), rows in self.held().items():
            known = self.history[customer, stream]
            if known[-1][1] != rows:
                known.append((self.world.now, rows))

    def held(self) -> dict[tuple[str, str], list[str]]:
        return grouped({s: held(self.world.emulator, s) for s in CHILDREN}, self.world.ids())

    def run(self, cut: float) -> bool:
        """Run and check everything that must hold; return whether the run was complete."""
        world, started = self.world, self.world.now
        # What a failed run had sent may still arrive.
        seen = -1
        while seen < (seen := len(world.emulator.requests)):
            time.sleep(0.02)
        world.asked()
        result = world.run(full_refresh_days=self.days, cut=cut)
        asked = world.asked()
        assert len(json.dumps(world.state)) < 1500
        if result.exit_code or cut < 1:
            return False
        resumed = any("resumed where" in line for line in result.log)
        # Departures are known if the list was read in one go.
        here = {*world.ids()} | {row["id"] for row in world.tables.today("customers") if resumed}
        today = {stream: world.tables.today(stream) for stream in CHILDREN}
        for (customer, stream), rows in grouped(today, here).items():
            if customer in world.ids():
                self.assert_young(customer, stream, rows)
        if not resumed:
            world.tables.assert_today(world.emulator, *LISTS)
            self.count(result, asked)
        self.complete = started
        return True

    def assert_young(self, customer: str, stream: str, rows: list[str]) -> None:
        """Check that the rows are from one moment of the last days, with all audited changes."""
        now, known = self.world.now, self.history[customer, stream]
        ends = [*(since for since, _ in known[1:]), now + 1]
        assert any(
            rows == then and until > now - self.days * DAY
            for (_, then), until in zip(known, ends, strict=True)
        ), (customer, stream, rows, known)
        if any(one == customer and self.complete < told <= now for one, _, told in self.audited):
            assert rows == known[-1][1], (customer, stream)

    def count(self, result: Result, asked: dict[str, int]) -> None:
        """Check that requests stay within those for turns and changes."""
        everything = {*read(result).values()} == {"all"}
        today, before = int(self.world.now // DAY), int(self.complete // DAY)
        due = _due(self.world, self.days, today - before)
        named = {one for one, done, _ in self.audited if done >= (before - 2) * DAY}
        most = len(CHILDREN) * len({*self.world.ids()} if everything else due | named)
        requests = asked.get("subscriptions", 0) + asked.get("relationships", 0)
        assert requests <= most
        reasons = read(result).values()
        failed = any("audit records cannot be" in line for line in result.levels("WARNING"))
        assert everything == ("all" in reasons) or not reasons
        assert not everything or failed or self.days == 1 or today - before >= self.days
        self.requests.append((requests, most))


def grouped(
    rows: dict[str, list[Row]], customers: Iterable[str]
) -> dict[tuple[str, str], list[str]]:
    """The rows of each customer and child stream, even if there are none."""
    found: dict[tuple[str, str], list[Row]] = {
        (customer, stream): [] for customer in customers for stream in rows
    }
    for stream, all_rows in rows.items():
        for row in all_rows:
            found[row["customer_id"], stream].append(row)
    return {place: contents(own) for place, own in found.items()}


def test_nights_keep_their_promises() -> None:
    """Children are never too old, audited changes come at once, and in the end all rows match."""
    season = Season(3, 1, Tables())
    with season.world.emulator:
        season.note()
        for _ in range(9):
            season.night()
        for _ in range(season.days):
            season.night(quiet=True)
        season.world.tables.assert_today(season.world.emulator)


@pytest.fixture(scope="module")
def models(database: Server, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The models of empty tables."""
    models = Models(database, tmp_path_factory.mktemp("dbt"), KEYS)
    models.create()
    return models


#: How many nights are tried for each number of days: sixty with `--hypothesis-profile whole`.
SAMPLE = {1: 6, 3: 12, 7: 16, 30: 10}


@pytest.mark.e2e
@pytest.mark.parametrize("days", SAMPLE)
def test_models_hold_what_is_promised(days: int, models: Models) -> None:
    """After each night, on PostgreSQL; after some quiet ones, exactly what the API holds."""
    warehouse = Warehouse(models)
    season = Season(days, days, warehouse)
    world = season.world
    is_whole = settings.get_current_profile_name() == "whole"
    builds = is_whole or days == 7
    with world.emulator:
        season.note()
        for _ in range(60 if is_whole else SAMPLE[days]):
            season.night()
        season.night(quiet=True)
        if builds:
            models.build()
        before = world.ids()
        # The next build notices who had customers and has none now.
        world.emulator.remove_customer(before[0])
        world.emulator.move_customer(before[1], None)
        season.note()
        for _ in range(days):
            season.night(quiet=True)
        warehouse.assert_today(world.emulator)
        if builds:
            models.build()
            warehouse.assert_answers(world.emulator, before)
    print(f"\n{days} days: requests, and the most: {season.requests}")  # noqa: T201 - for -s
