"""Streams by date: no row is lost, and a bookmark never moves back."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partnercenter_emulator import Emulator, Fault, Options
from tests.command_line import QuickClock, Result, catalog_of, run_tap
from tests.test_properties import BOUNDED
from tests.truth import complete_lines, last_state

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = dt.datetime(2026, 11, 21, 3, 30, tzinfo=dt.UTC)
CATALOG = catalog_of("audit_records")
_DAY = 86_400.0


class World:
    """An emulator and a tap on a shared calendar, days apart from ours."""

    def __init__(self, **options: Any) -> None:
        self.now = NOW.timestamp()
        self.emulator = Emulator(Options(customers=3, **options), clock=lambda: self.now)

    def run(self, state: dict[str, Any] | None = None, **settings: Any) -> Result:
        world = self

        class WorldClock(QuickClock):
            def now(self) -> float:
                return world.now

        config = {**self.emulator.tap_config(app_only=True), **settings}
        return run_tap(config=config, catalog=CATALOG, state=state, clock=WorldClock)

    def written(self, since: str) -> set[str]:
        """The ids of all records in the log since a day, if they have one."""
        records = self.emulator.held("audit_records")
        return {r["id"] for r in records if r.get("id") and r["operationDate"] >= since}


def ids(lines: list[str], result: Result) -> set[str]:
    shown = Result(result.exit_code, "\n".join(lines), "")
    return {record["id"] for record in shown.records("audit_records")}


def bookmark(state: dict[str, Any] | None) -> str:
    stored = ((state or {}).get("bookmarks") or {}).get("audit_records") or {}
    return str(stored.get("replication_key_value", ""))


def day(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).date().isoformat()


def days_of(world: World) -> list[str]:
    """The days requested since the last call, each once."""
    asked = [r.path for r in world.emulator.requests if r.place == "audit_records"]
    world.emulator.reset_stats()
    return sorted(path.partition("startDate=")[2][:10] for path in asked)


@pytest.fixture
def world() -> Iterator[World]:
    world = World(audit_per_day=2)
    with world.emulator:
        yield world


def test_the_first_run_reads_what_the_service_keeps(world: World) -> None:
    """Ninety days including today, and a bookmark at the start of today."""
    result = world.run()
    assert result.exit_code == 0, result.stderr
    days = days_of(world)
    assert (days[0], days[-1], len(set(days))) == ("2026-08-24", "2026-11-21", 90)
    assert result.state["bookmarks"]["audit_records"] == {
        "replication_key": "operationDate",
        "replication_key_value": "2026-11-21T00:00:00Z",
    }
    assert result.levels("WARNING") == []


def test_the_next_run_reads_two_days_again(world: World) -> None:
    """Some records arrive late, and some are replaced."""
    state = world.run().state
    days_of(world)
    world.now += 3 * _DAY
    again = world.run(state)
    assert days_of(world) == [f"2026-11-{day}" for day in range(19, 25)]
    assert bookmark(again.state) == "2026-11-24T00:00:00Z"


def test_a_gap_beyond_the_retention_period_is_reported(world: World) -> None:
    """The bookmark is older than the log: the missing days are reported, and the rest is read."""
    state = world.run().state
    world.now += 100 * _DAY
    result = world.run(state)
    assert result.exit_code == 0
    (warning,) = result.levels("WARNING")
    assert "from 2026-11-21 to 2026-12-01 were not read" in warning


def test_a_bookmark_as_old_as_the_log_misses_nothing(world: World) -> None:
    """The first day that the service keeps is the first that was not read."""
    state = world.run().state
    days_of(world)
    world.now += 89 * _DAY
    result = world.run(state)
    assert days_of(world)[0] == "2026-11-21"
    assert result.levels("WARNING") == []


@pytest.mark.parametrize("value", ["", "soon", 7, None, "2026-13-41T00:00:00Z", {"a": 1}])
def test_an_invalid_bookmark_means_from_the_start(world: World, value: Any) -> None:
    """State may be edited by hand."""
    stored = {"replication_key": "operationDate", "replication_key_value": value}
    result = world.run({"bookmarks": {"audit_records": stored}})
    assert result.exit_code == 0, result.stderr
    assert len(days_of(world)) == 90


def from_bookmark(value: str) -> dict[str, Any]:
    stored = {"replication_key": "operationDate", "replication_key_value": value}
    return {"bookmarks": {"audit_records": stored}}


@pytest.mark.parametrize("ahead", ["2026-11-21T04:30:00Z", "2026-11-22T00:00:00Z"])
def test_a_clock_that_was_slightly_ahead_costs_nothing(world: World, ahead: str) -> None:
    """An hour later or tomorrow: the last days are read again, and the bookmark stays."""
    result = world.run(from_bookmark(ahead))
    assert result.exit_code == 0, result.stderr
    assert days_of(world) == ["2026-11-19", "2026-11-20", "2026-11-21"]
    assert bookmark(result.state) == ahead
    assert result.levels("WARNING") == []


@pytest.mark.parametrize("later", ["2026-11-23T00:00:00Z", "2027-01-01T00:00:00Z", "9999-12-31"])
def test_a_bookmark_in_the_future_loses_no_records(world: World, later: str) -> None:
    """It does not say which days were read: all are read again, and the bookmark is true again."""
    result = world.run(from_bookmark(later))
    assert result.exit_code == 0, result.stderr
    assert len(days_of(world)) == 90
    (warning,) = result.levels("WARNING")
    assert f"audit_records: the bookmark in the state, {later[:10]}, is in the future" in warning
    assert bookmark(result.state) == "2026-11-21T00:00:00Z"
    world.now += 10 * _DAY
    again = world.run(result.state)
    assert days_of(world)[0] == "2026-11-19"
    assert again.levels("WARNING") == []


def test_an_interrupted_run_from_a_bookmark_in_the_future_resumes(world: World) -> None:
    """The first complete day replaces the bookmark."""
    world.emulator.faults = [Fault(place="audit_records", skip=40, status=501)]
    first = world.run(from_bookmark("2027-01-01T00:00:00Z"), max_concurrent_requests=1)
    assert first.exit_code == 1
    assert bookmark(first.state) == "2026-10-03T00:00:00Z"


def test_an_interrupted_run_resumes_after_its_last_complete_day(world: World) -> None:
    """Days already emitted are not read again, except for the overlap."""
    world.emulator.faults = [Fault(place="audit_records", skip=40, status=501)]
    first = world.run(max_concurrent_requests=1)
    assert first.exit_code == 1
    assert bookmark(first.state) == "2026-10-03T00:00:00Z"
    days_of(world)
    world.emulator.faults = ()
    world.run(first.state)
    assert days_of(world)[0] == "2026-10-01"


nights = st.lists(
    st.tuples(
        st.floats(0.2, 6),  # days that pass
        st.lists(st.floats(0, 1.9), max_size=3),  # changes, and days until the log shows them
        st.none() | st.floats(0, 1, allow_nan=False),  # where the run is cut off, if at all
        st.none() | st.integers(0, 6),  # the request that fails, if any
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@BOUNDED
@given(nights, st.sampled_from([1, 8]))
def test_no_row_is_lost_and_the_bookmark_never_moves_back(
    nights: list[tuple[float, list[float], float | None, int | None]], at_once: int
) -> None:
    """After late records, failures and kills, everything in the log was emitted in the end."""
    world = World(audit_per_day=1)
    with world.emulator as emulator:
        (customer, *_) = [one["id"] for one in emulator.customers()]
        state: dict[str, Any] | None = None
        emitted: set[str] = set()
        oldest = ""
        for passed, changes, where, failing in [*nights, (3.0, [], None, None)]:
            world.now += passed * _DAY
            for number, late in enumerate(changes):
                emulator.rename_customer(customer, f"Name {number}", late=late * _DAY)
            emulator.faults = (
                [] if failing is None else [Fault(place="audit_records", skip=failing, status=501)]
            )
            reached = day(world.now - 89 * _DAY)
            if bookmark(state) < reached:
                oldest = reached  # the service keeps nothing older
            result = world.run(state, max_concurrent_requests=at_once)
            end = len(result.stdout) if where is None else round(where * len(result.stdout))
            lines = complete_lines(result.stdout[:end])
            emitted |= ids(lines, result)
            following = last_state(lines) or state
            assert bookmark(following) >= bookmark(state)
            state = following
        assert world.written(since=oldest) <= emitted
