"""Nightly runs that request only what changed, and each customer in its turn."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from partnercenter_emulator import Fault
from tests.nights import DAY, LISTS, PLACES, Row, World, part, read, turns

pytestmark = pytest.mark.slow


def test_each_night_reads_a_part_and_a_week_reads_all(world: World) -> None:
    """Each customer once, in its turn; the first run reads everything and says why.

    Lists without children have no turns.
    """
    first = world.run(full_refresh_days=7)
    assert {*read(first).values()} == {"all"}
    (why,) = [line for line in first.log if "no complete run with the same" in line]
    assert why.startswith("customers: ")
    bookmarks = first.state["bookmarks"]
    assert [name for name, bookmark in bookmarks.items() if "nights" in bookmark] == ["customers"]
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


def test_a_second_run_on_the_same_day_reads_only_changes(world: World) -> None:
    """Unknown operations count as changes, and so do failed ones."""
    world.run(full_refresh_days=7)
    one, other, *_ = world.ids()
    world.now += DAY
    world.run(full_refresh_days=7)
    for customer, status in ((one, "succeeded"), (other.upper(), "failed")):
        entry = {"customerId": customer, "operationType": "odd", "operationStatus": status}
        world.emulator.add("audit_records", entry)
    assert read(world.run(full_refresh_days=7)) == {one: "audit", other: "audit"}


def test_a_changed_customer_is_found_whatever_the_case_of_its_id(world: World) -> None:
    """The list and the log may spell it differently."""
    one = world.ids()[0]
    page = {"items": [{"id": one.upper()}]}
    world.emulator.faults = [Fault(place="customers", json=page)]
    world.run(full_refresh_days=90)
    world.emulator.add("audit_records", {"customerId": one})
    result = world.run(full_refresh_days=90)
    assert {*result.keys("customer_refreshes", "customer_id", "reason")} == {(one.upper(), "audit")}


def test_a_day_of_the_log_is_processed_again_when_a_record_came_late(world: World) -> None:
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


def test_a_change_that_may_not_be_visible_yet_is_read_again(world: World) -> None:
    """Orders and subscriptions follow their records within 15 minutes; an hour is enough."""
    midnight = (world.now // DAY + 1) * DAY
    world.run(full_refresh_days=90)
    one = world.ids()[0]
    late = {"customerId": one, "operationDate": "2026-11-21T23:50:00.0000000Z"}
    world.emulator.add("audit_records", late)
    found = []
    for seconds in (1800, 3601, 7200):
        world.now = midnight + seconds
        found.append(read(world.run(full_refresh_days=90)).get(one))
    assert found == ["audit", "audit", None]


def test_missed_runs_are_made_up_for(world: World) -> None:
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
def test_everything_is_read_where_a_part_is_not_enough(
    world: World, days: int, settings: Row, streams: tuple[str, ...], says: str
) -> None:
    """The log says why."""
    world.run(full_refresh_days=90)
    world.now += days * DAY
    result = world.run(*streams, **{"full_refresh_days": 90, **settings})
    assert read(result) == dict.fromkeys(world.ids(), "all")
    assert any(says in line for line in result.log)
    assert result.levels("WARNING") == []


@pytest.mark.parametrize(
    "answer",
    [{"status": 403}, {"reset": True}, {"json": {"items": [], "nextLink": "/v1/auditrecords"}}],
    ids=str,
)
def test_everything_is_read_where_the_audit_log_is_unavailable(answer: Row, world: World) -> None:
    """With a warning, as the night takes longer than it should."""
    world.run(full_refresh_days=7)
    world.now += DAY
    world.emulator.faults = [Fault(place="audit_records", **answer)]
    result = world.run(full_refresh_days=7)
    assert {*read(result).values()} == {"all"}
    (warning,) = result.levels("WARNING")
    assert "children of all customers are read, because audit records cannot be read: " in warning


@pytest.mark.parametrize(
    "stored", [7, None, {}, {"scope": 1}, {"complete": "soon"}, {"complete": 7}, {"complete": None}]
)
def test_an_invalid_bookmark_means_a_full_refresh(world: World, stored: Any) -> None:
    """State may be edited by hand."""
    world.run(full_refresh_days=7)
    bookmark = (world.state or {})["bookmarks"]["customers"]
    scope = {"scope": bookmark["nights"]["scope"]}
    bookmark["nights"] = scope | stored if isinstance(stored, dict) else stored
    result = world.run(full_refresh_days=7)
    assert result.exit_code == 0, result.stderr
    assert {*read(result).values()} == {"all"}


@pytest.mark.parametrize("seen", [None, 7, [], {"2026-11-21": 7}])
def test_an_invalid_record_of_the_days_read_means_that_they_are_read_again(
    world: World, seen: Any
) -> None:
    """Only those days: the turns are as before. A customer id may be a number."""
    world.run(full_refresh_days=90)
    one = world.ids()[0]
    for customer in (5, one):
        world.emulator.add("audit_records", {"customerId": customer})
    (world.state or {})["bookmarks"]["customers"]["nights"]["seen"] = seen
    result = world.run(full_refresh_days=90)
    assert result.exit_code == 0, result.stderr
    assert read(result) == {one: "audit"}


@pytest.mark.parametrize("later", [0.1, 1.0])
def test_an_interrupted_part_is_completed(world: World, later: float) -> None:
    """On the same day from where it stopped; on the next from the start, with both turns."""
    world.run(full_refresh_days=3)
    world.now += DAY
    world.emulator.faults = [Fault(place="continuation", skip=1, status=501)]
    first = world.run(full_refresh_days=3)
    assert first.exit_code == 1
    assert 0 < len(read(first)) < len(turns(world, 3, 1))
    world.emulator.faults = ()
    world.now += later * DAY
    second = world.run(full_refresh_days=3)
    due = [one for one in world.ids() if one in turns(world, 3, 1 if later < 1 else 2)]
    assert [*(read(first) if later < 1 else ()), *read(second)] == due


def test_a_late_record_of_a_customer_read_before_an_interruption_is_processed(world: World) -> None:
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


def test_a_first_run_continues_after_midnight(world: World) -> None:
    """Seventeen hours of work must not start over; the next night catches up on the new day."""
    world.emulator.faults = [Fault(place="continuation", skip=1, status=501)]
    first = world.run(full_refresh_days=2)
    world.emulator.faults = ()
    world.now += 0.9 * DAY
    second = world.run(full_refresh_days=2)
    assert [*read(first), *read(second)] == world.ids()
    assert (world.state or {})["bookmarks"]["customers"]["nights"]["complete"] == "2026-11-21"
    assert {*read(world.run(full_refresh_days=2)).values()} == {"turn"}


def test_no_child_has_a_version_in_a_partial_run(world: World) -> None:
    """Only the list of customers has one: it is read in full."""
    # The rows that a part leaves out would be deleted: here the check of their number is disabled.
    settings: Row = {"full_refresh_days": 7, "max_vanished_percent": 100}
    settings["emit_activate_version_messages"] = True
    versions = []
    for _ in range(2):
        result = world.run(**settings)
        versions.append([m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"])
        world.now += DAY
    assert sorted(versions[0]) == sorted(PLACES)
    assert sorted(versions[1]) == sorted(LISTS)


def test_incremental_refresh_works_with_shards_and_maps(world: World) -> None:
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


def test_two_refused_customers_of_a_partial_run_are_not_systematic(world: World) -> None:
    """A night's part may hold only two customers, and both may be refused."""
    world.run(full_refresh_days=7)
    world.now += DAY
    refused = sorted(turns(world, 7, 1))[:2] or world.ids()[:2]
    for customer in refused:
        world.emulator.add("audit_records", {"customerId": customer})
    world.emulator.faults = [
        Fault(place="subscriptions", customer_id=one, status=403, code=20002)
        for one in {*refused, *turns(world, 7, 1)}
    ]
    result = world.run(full_refresh_days=7)
    assert result.exit_code == 0, result.stderr
    assert read(result) == {}
