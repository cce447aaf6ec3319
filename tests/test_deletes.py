"""ACTIVATE_VERSION removes rows, and must never remove what the service still has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from partnercenter_emulator.credentials import TENANT_DOMAIN
from tests.command_line import QuickClock, catalog_of, deselect, run_tap
from tests.truth import KEYS, Warehouse, held

if TYPE_CHECKING:
    from partnercenter_emulator import Emulator
    from partnercenter_emulator.faults import Place
    from tests.command_line import Result
    from tests.conftest import Start, Sync

LISTS = ("customers", "indirect_resellers", "reseller_customers")
DELETES: dict[str, Any] = {"emit_activate_version_messages": True}


def activated(result: Result) -> set[str]:
    return {m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"}


def at_hour(
    emulator: Emulator, number: int, state: dict[str, Any] | None = None, **more: Any
) -> Result:
    """Run the tap some hours later, so that each pass has its own version."""

    class LaterClock(QuickClock):
        def now(self) -> float:
            return super().now() + number * 3600

    config = {**emulator.tap_config(), "page_size": 5, **DELETES, **more}
    return run_tap(config=config, state=state, clock=LaterClock)


def interrupt(emulator: Emulator, place: Place, after: int) -> None:
    """Make the next run fail after a number of continuations."""
    emulator.faults = [Fault(place=place, skip=after, status=501)]


def leave(emulator: Emulator, number: int) -> None:
    """Remove the first customers of the list."""
    for customer in [*emulator.customers()][:number]:
        emulator.remove_customer(str(customer["id"]))


@pytest.mark.parametrize("place", ["continuation", "partition_continuation"])
def test_a_customer_that_leaves_during_an_interruption_causes_no_other_deletes(
    place: Place, start: Start
) -> None:
    """If tokens count by position, rows move to pages already read: they must not be deleted."""
    emulator = start(customers=60, resellers=2, continuation_by="position")
    warehouse = Warehouse()
    first = at_hour(emulator, 0)
    interrupt(emulator, place, 4)
    aborted = at_hour(emulator, 1, first.state)
    leave(emulator, 6)
    emulator.faults = []
    resumed = at_hour(emulator, 2, aborted.state, max_vanished_percent=100)
    assert (first.exit_code, aborted.exit_code, resumed.exit_code) == (0, 1, 0)
    for run in (first, aborted, resumed):
        warehouse.load(run.stdout.splitlines())
    for stream, keys in held(emulator).items():
        assert set(keys) <= set(warehouse.tables[stream])
    reported = [line for line in resumed.log if "deletes are disabled" in line.lower()]
    assert len(reported) == 1
    read_in_one_go = {"indirect_resellers"}
    if place == "partition_continuation":
        read_in_one_go |= {"customers", "customer_relationships"}
    else:
        read_in_one_go |= {"reseller_customers"}
    assert activated(resumed) == read_in_one_go
    # Nor is any part of the resumed list reported as read: its number of rows is not known.
    assert {*resumed.keys("list_refreshes", "stream")} == {
        (stream,) for stream in read_in_one_go & {*LISTS}
    }
    again = at_hour(emulator, 3, resumed.state, max_vanished_percent=100)
    assert activated(again) == set(KEYS)
    warehouse.load(again.stdout.splitlines())
    warehouse.assert_equals(emulator)


def test_two_states_on_the_same_tables_delete_no_customer(start: Start) -> None:
    """A nightly and a weekly job, both interrupted and both resumed, one after the other."""
    emulator, warehouse = start(customers=60, resellers=1), Warehouse()
    runs = {}
    for hour, (job, pages) in enumerate((("nightly", 3), ("weekly", 8))):
        interrupt(emulator, "continuation", pages)
        runs[job] = at_hour(emulator, hour)
        assert runs[job].exit_code == 1
        warehouse.load(runs[job].stdout.splitlines())
    emulator.faults = []
    for hour, interrupted in enumerate(runs.values()):
        resumed = at_hour(emulator, 2 + hour, interrupted.state)
        assert resumed.exit_code == 0
        warehouse.load(resumed.stdout.splitlines())
        warehouse.assert_equals(emulator)


def rows(result: Result) -> dict[str, int | None]:
    """The row counts in the state."""
    bookmarks = result.state["bookmarks"].items()
    return {name: mark.get("rows") for name, mark in bookmarks if "refreshes" not in name}


def test_many_customers_vanishing_at_once_disables_deletes(start: Start) -> None:
    """A pass with over a tenth fewer rows deletes nothing, until the setting is raised."""
    emulator, warehouse = start(customers=60, resellers=2), Warehouse()
    first = at_hour(emulator, 0)
    counts = {stream: len(keys) for stream, keys in held(emulator).items()}
    assert rows(first) == counts
    leave(emulator, 7)
    second = at_hour(emulator, 1, first.state)
    third = at_hour(emulator, 2, second.state)
    for guarded in (second, third):
        assert guarded.exit_code == 0
        assert activated(guarded) == {"indirect_resellers"}
        assert rows(guarded) == counts
        # The lists are not reported as read either, nor any reseller's part of one.
        assert guarded.keys("list_refreshes", "stream") == [("indirect_resellers",)]
        reported, *others = guarded.levels("WARNING")
        assert reported.startswith("customers: 53 rows, 60 in the last complete pass: ")
        assert "max_vanished_percent (10)" in reported
        assert [line.split(":")[0] for line in others] == ["reseller_customers"]
    lifted = at_hour(emulator, 3, third.state, max_vanished_percent=100)
    assert lifted.levels("WARNING") == []
    assert {*lifted.keys("list_refreshes", "stream")} == {(stream,) for stream in LISTS}
    assert len(lifted.records("list_refreshes")) == 2 + emulator.options.resellers
    counts = {stream: len(keys) for stream, keys in held(emulator).items()}
    assert rows(lifted) == counts
    for run in (first, second, third, lifted):
        warehouse.load(run.stdout.splitlines())
    warehouse.assert_equals(emulator)


@pytest.mark.parametrize(
    ("leaving", "most", "vanish"), [(6, 10, True), (1, 0, False), (7, 12, True)]
)
def test_the_share_that_may_vanish_is_the_settings(
    leaving: int,
    most: int,
    vanish: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
) -> None:
    """Exactly the limit is allowed; without deletes the count follows the service."""
    emulator = start(customers=60)
    customers = catalog_of("customers")
    first = sync(emulator, catalog=customers)
    assert first.state == {"bookmarks": {"customers": {"rows": 60}}}
    leave(emulator, leaving)
    settings: dict[str, Any] = {
        "catalog": customers,
        "state": first.state,
        "max_vanished_percent": most,
    }
    result = sync(emulator, **settings, **DELETES)
    assert (activated(result) == {"customers"}) == vanish
    without = sync(emulator, **settings)
    assert without.levels("WARNING") == []
    assert rows(without) == {"customers": 60 - leaving}


def test_only_complete_passes_are_counted(start: Start, sync: Sync) -> None:
    """Resumed passes, gaps, new starts and shards do not falsify the count."""
    emulator = start(customers=12)
    first = sync(emulator, page_size=4)
    state, counts = first.state, rows(first)
    emulator.faults = [Fault(place="continuation", skip=1, status=501)]
    state = sync(emulator, page_size=4, state=state).state
    emulator.faults = []
    resumed = sync(emulator, page_size=4, state=state)
    emulator.faults = [Fault(place="relationships", times=1, status=404, code=1000)]
    gap = sync(emulator, page_size=4, state=resumed.state)
    emulator.faults = [Fault(place="continuation", skip=1, times=1, status=400, code=2000)]
    again = sync(emulator, page_size=4, state=gap.state)
    emulator.faults = []
    shard = sync(emulator, page_size=4, state=again.state, shard_count=2)
    for run in (resumed, gap, again, shard):
        assert run.exit_code == 0, run.stderr
        assert rows(run) == counts


@pytest.mark.parametrize("number", [None, True, "60", -1, 1e9, []])
def test_an_invalid_row_count_is_ignored(number: object, start: Start, sync: Sync) -> None:
    """State may be edited by hand or written by another version."""
    state = {"bookmarks": {"customers": {"rows": number}}}
    result = sync(start(customers=3), state=state, catalog=catalog_of("customers"), **DELETES)
    assert activated(result) == {"customers"}
    assert rows(result) == {"customers": 3}


def test_configured_resellers_are_not_a_complete_list(start: Start, sync: Sync) -> None:
    """Rows of resellers that were not requested are kept."""
    emulator = start(customers=20, resellers=3)
    first, *_ = emulator.resellers()
    result = sync(emulator, reseller_ids=[first["id"]], **DELETES)
    assert activated(result) == {"customers", "customer_relationships", "indirect_resellers"}
    assert (
        "reseller_customers: not all resellers were read, so deletes are disabled for this run"
        in result.log
    )


def test_an_empty_list_of_resellers_does_not_empty_a_table(start: Start, sync: Sync) -> None:
    """An empty answer may mean that the user has lost a role."""
    empty = {"totalCount": 0, "items": [], "attributes": {"objectType": "Collection"}}
    result = sync(start(Fault(place="resellers", json=empty), customers=5), **DELETES)
    assert result.exit_code == 0
    assert "reseller_customers" not in activated(result)


def test_skips_of_an_interrupted_run_are_reported_again(start: Start, sync: Sync) -> None:
    """The run that completes the pass says what is missing, and why nothing is deleted."""
    emulator = start(customers=9)
    first, *_ = emulator.customers()
    emulator.faults = [
        Fault(place="relationships", customer_id=first["id"], status=404, code=1000),
        Fault(place="continuation", skip=1, times=1, status=501),
    ]
    interrupted = sync(emulator, page_size=3, **DELETES)
    assert interrupted.exit_code == 1
    resumed = sync(emulator, page_size=3, state=interrupted.state, **DELETES)
    assert resumed.exit_code == 0
    assert "customer_relationships" not in activated(resumed)
    reported = "the interrupted run skipped 1 customer, whose rows are missing too"
    assert f"customer_relationships: {reported}" in resumed.levels("WARNING")


@pytest.mark.parametrize(
    "fault",
    [
        *({"status": status} for status in (204, 400, 403, 404, 409, 410, 412, 416, 500, 503)),
        {"empty_body": True},
        {"json": {}},
    ],
    ids=str,
)
def test_a_refused_checkpoint_means_from_the_start(
    fault: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Whatever the answer by which the service rejects an old continuation, after all retries."""
    emulator = start(Fault(place="continuation", skip=1, status=501), customers=9)
    interrupted = sync(emulator, page_size=3)
    assert interrupted.exit_code == 1
    emulator.faults = [Fault(place="continuation", times=1, **fault)]
    again = sync(emulator, page_size=3, state=interrupted.state, max_retry_seconds=0)
    assert again.exit_code == 0
    assert again.keys("customers", "id") == held(emulator)["customers"]


@pytest.mark.parametrize(
    ("before", "changed"),
    [
        ({}, {"stream_map_config": {"least": 1}}),
        ({}, {"flattening_enabled": True, "flattening_max_depth": 1}),
        ({}, {"emit_activate_version_messages": True}),
        ({}, {"tenant_id": TENANT_DOMAIN}),
        # Settings that the SDK's mapper removes from the dict it is given.
        (
            {"stream_maps": {"customers": {}, "__else__": None}},
            {"stream_maps": {"customers": {}}},
        ),
    ],
)
def test_other_settings_need_another_pass(
    before: dict[str, Any], changed: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Rows of an interrupted run count only if they would be emitted the same way again."""
    emulator = start(Fault(place="continuation", skip=1, times=1, status=501), customers=9)
    interrupted = sync(emulator, page_size=3, **before)
    assert interrupted.exit_code == 1
    again = sync(emulator, page_size=3, state=interrupted.state, **changed)
    assert again.exit_code == 0
    found = [m for m in again.messages if m["type"] == "RECORD" and m["stream"] == "customers"]
    assert len(found) == 9


def test_another_schema_in_the_catalog_needs_another_pass(start: Start, sync: Sync) -> None:
    """A field must not be a boolean in one half of the table and text in the other."""
    emulator = start(Fault(place="continuation", skip=1, times=1, status=501), customers=9)
    catalog = catalog_of("customers")
    (stream,) = (s for s in catalog["streams"] if s["stream"] == "customers")
    stream["schema"]["properties"]["allowDelegatedAccess"] = {"type": ["string", "null"]}
    interrupted = sync(emulator, page_size=3, catalog=catalog)
    assert interrupted.exit_code == 1
    again = sync(emulator, page_size=3, catalog=catalog_of("customers"), state=interrupted.state)
    assert again.keys("customers", "id") == held(emulator)["customers"]


def test_another_selection_needs_another_pass(start: Start, sync: Sync) -> None:
    """A newly selected field must not be missing in the first half of the table."""
    emulator = start(Fault(place="continuation", skip=1, times=1, status=501), customers=9)
    catalog = catalog_of("customers")
    deselect(catalog, "customers", "companyProfile")
    interrupted = sync(emulator, page_size=3, catalog=catalog)
    assert not any("companyProfile" in record for record in interrupted.records("customers"))
    again = sync(emulator, page_size=3, catalog=catalog_of("customers"), state=interrupted.state)
    assert again.keys("customers", "id") == held(emulator)["customers"]
    assert all(record["companyProfile"] for record in again.records("customers"))


def test_a_child_that_is_selected_later_is_read_for_every_customer(
    start: Start, sync: Sync
) -> None:
    """That includes the customers that the interrupted run read."""
    emulator = start(Fault(place="continuation", skip=1, times=1, status=501), customers=9)
    interrupted = sync(emulator, page_size=3, catalog=catalog_of("customers"))
    assert interrupted.exit_code == 1
    catalog = catalog_of("customers", "customer_relationships")
    again = sync(emulator, page_size=3, catalog=catalog, state=interrupted.state)
    assert again.exit_code == 0, again.stderr
    found = again.keys("customer_relationships", "customer_id", "id", "relationshipType")
    assert found == held(emulator)["customer_relationships"]


def test_a_reseller_that_is_added_before_the_checkpoint_is_read(start: Start, sync: Sync) -> None:
    """Finding the checkpoint's partition again does not mean that all others were read."""
    emulator = start(customers=20, resellers=3)
    first, added, last = (str(reseller["id"]) for reseller in emulator.resellers())
    emulator.faults = [Fault(place="partition", reseller_id=last, times=1, status=501)]
    catalog = catalog_of("reseller_customers")
    interrupted = sync(emulator, catalog=catalog, reseller_ids=[first, last])
    assert interrupted.exit_code == 1
    assert interrupted.state["bookmarks"]["reseller_customers"]["resume"]["partition"] == last
    wanted = [added, last]
    again = sync(emulator, catalog=catalog, reseller_ids=wanted, state=interrupted.state)
    assert again.exit_code == 0, again.stderr
    keys = held(emulator)["reseller_customers"]
    expected = [key for reseller in wanted for key in keys if key[0] == reseller]
    assert again.keys("reseller_customers", "reseller_id", "id") == expected


def test_a_table_that_a_map_drops_keeps_its_children(start: Start, sync: Sync) -> None:
    """`customers: null` drops the customers, not their relationships."""
    emulator = start(customers=9)
    result = sync(emulator, page_size=3, stream_maps={"customers": None}, **DELETES)
    assert result.exit_code == 0
    assert result.records("customers") == []
    found = result.keys("customer_relationships", "customer_id", "id", "relationshipType")
    assert found == held(emulator)["customer_relationships"]


def test_a_pause_of_a_day_fails_all_streams_at_once(start: Start, sync: Sync) -> None:
    """No request waits for longer than `max_retry_seconds` allows."""
    long = Fault(place="relationships", status=429, headers={"Retry-After": "999999999999"})
    result = sync(start(long, customers=40, latency=0.01))
    assert result.exit_code == 1
    assert "max_retry_seconds allows 900" in result.error
    assert sum(result.waits) < 100
