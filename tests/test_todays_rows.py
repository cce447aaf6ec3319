"""A warehouse without deletes that knows today's rows."""

from __future__ import annotations

import datetime as dt
import itertools
import sys
from typing import Any

import pytest

from partnercenter_emulator import Fault
from tests.nights import CHILDREN, LISTS, World, contents, held, read

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("deletes", [False, True])
def test_vanished_rows_can_be_found_without_deletes(world: World, *, deletes: bool) -> None:
    """A customer that left, one that lost all relationships, one that moved, a subscription."""
    settings = {"emit_activate_version_messages": deletes, "max_vanished_percent": 100}
    world.run(**settings)
    world.tables.assert_current_rows(world.emulator)
    gone, moved, alone, *_ = world.ids()
    resellers = [one["id"] for one in world.emulator.resellers()]
    world.emulator.remove_customer(gone)
    world.emulator.move_customer(moved, resellers[-1])
    world.emulator.move_customer(alone, None)
    ended = next(one for one in held(world.emulator, "subscriptions"))
    world.emulator.remove("subscriptions", ended["id"], ended["customer_id"])
    result = world.run(**settings)
    world.tables.assert_current_rows(world.emulator)
    assert {*read(result).values()} == {"all"}
    assert [*read(result)] == world.ids()
    refreshed = result.keys("customer_refreshes", "stream", "customer_id")
    assert sorted(refreshed) == sorted(itertools.product(CHILDREN, world.ids()))


def test_vanished_rows_can_be_found_with_shards(world: World) -> None:
    """Each for its own part, even after runs with a different number of shards."""
    for count in (1, 3, 2):
        for index in range(count):
            world.run(shard_count=count, shard_index=index)
            world.state = None
        world.tables.assert_current_rows(world.emulator)
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
def test_an_interrupted_run_records_what_it_read(world: World, place: Any) -> None:
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
    world.tables.assert_current_rows(world.emulator, *CHILDREN)
    world.run()
    world.tables.assert_current_rows(world.emulator)


@pytest.mark.parametrize("deletes", [False, True])
def test_a_resellers_list_that_is_resumed_in_its_middle_is_not_recorded(
    world: World, *, deletes: bool
) -> None:
    """Its first rows were read by the interrupted run, and would be taken for gone.

    With deletes, `max_vanished_percent` decides at the end, which a resumed run cannot know.
    """
    streams = ("reseller_customers", "list_refreshes")
    first, second, third = (one["id"] for one in world.emulator.resellers())
    fault = Fault(place="partition_continuation", reseller_id=second, status=501)
    world.emulator.faults = [fault]
    settings = {"page_size": 1, "emit_activate_version_messages": deletes}
    interrupted = world.run(*streams, **settings)
    assert interrupted.exit_code == 1
    recorded = [] if deletes else [(first,), (third,)]
    assert interrupted.keys("list_refreshes", "reseller_id") == recorded[:1]
    world.emulator.faults = ()
    resumed = world.run(*streams, **settings)
    assert resumed.exit_code == 0
    assert {row["reseller_id"] for row in resumed.records("reseller_customers")} == {second, third}
    assert resumed.keys("list_refreshes", "reseller_id") == recorded[1:]


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


@pytest.mark.parametrize("maps", [{}, {"*": {"tags": "None"}}], ids=["unmapped", "mapped"])
def test_no_row_seems_gone_when_the_clock_is_set_back(
    maps: dict[str, Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here by an hour at each look."""
    looks = itertools.count(1)

    class SetBack(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return dt.datetime.now(tz) - next(looks) * dt.timedelta(hours=1)

    for name, module in [*sys.modules.items()]:
        if name.startswith("tap_partnercenter") and getattr(module, "datetime", 0) is dt.datetime:
            monkeypatch.setattr(module, "datetime", SetBack)
    monkeypatch.setattr("singer_sdk.streams.core.utc_now", lambda: SetBack.now(dt.UTC))
    assert world.run(stream_maps=maps).exit_code == 0
    world.tables.assert_current_rows(world.emulator)


def test_a_table_that_is_not_loaded_gets_no_refresh_rows(world: World) -> None:
    """For example a list that only its children need, and children that are not selected."""
    result = world.run("subscriptions", "customer_refreshes", "list_refreshes")
    assert [*read(result)] == world.ids()
    assert result.records("list_refreshes") == []
    assert world.run("customers", "customer_refreshes").records("customer_refreshes") == []


def test_a_table_that_a_map_removes_keeps_its_rows(world: World) -> None:
    """Earlier runs loaded it: that no row was written now does not mean that they are gone."""
    world.run()
    maps = {"customers": None, "subscriptions": None}
    result = world.run(stream_maps=maps)
    assert result.exit_code == 0, result.stderr
    assert {row["stream"] for row in result.records("list_refreshes")} == {*LISTS} - {*maps}
    assert {row["stream"] for row in result.records("customer_refreshes")} == {
        "customer_relationships"
    }
    world.tables.assert_current_rows(world.emulator)
