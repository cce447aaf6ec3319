"""The scale model keeps to its quota, loses nothing, and matches the documentation."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any, get_args

import msgspec
import pytest

from partnercenter_benchmarks.results import Results
from partnercenter_benchmarks.scale import model
from partnercenter_benchmarks.scale.model import (
    PAGE_SIZE,
    STAGGER,
    Collection,
    Counting,
    Outcome,
    Scenario,
    Service,
    reseller_sizes,
    simulate,
)
from partnercenter_benchmarks.scale.tables import (
    SCALE_JSON,
    SMALL_TENANTS,
    load,
    machine,
    scenarios,
    sections,
    span,
)
from tests.benchmarks.made_up import run, session

#: Large enough that a run's last minutes, after some shards have ended, still matter little.
SMALL = Scenario(customers=6_000)
#: The largest documented scenario that the tests simulate again, in a second or two.
AGAIN = 12_000


@dataclasses.dataclass
class Recorder:
    """The requests to a service."""

    times: list[float] = dataclasses.field(default_factory=list)
    accepted: list[float] = dataclasses.field(default_factory=list)
    customers: Counter[int] = dataclasses.field(default_factory=Counter)


class RecordingService(Service):
    """A service that records its requests."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.recorder = Recorder()

    def ask(self, now: float, collection: Collection) -> float | None:
        wait = super().ask(now, collection)
        self.recorder.times.append(now)
        if wait is None:
            self.recorder.accepted.append(now)
            if collection.kind == "relationships":
                self.recorder.customers[collection.customer] += 1
        return wait


def like(scenario: Scenario, **changes: Any) -> Scenario:
    return msgspec.structs.replace(scenario, **changes)


def recorded(scenario: Scenario) -> tuple[Outcome, Recorder]:
    service = RecordingService(scenario)
    return simulate(scenario, service), service.recorder


@pytest.mark.parametrize("quota", [0, 500])
@pytest.mark.parametrize("shards", [1, 4, 16])
def test_everything_is_read_exactly_once(shards: int, quota: int) -> None:
    """Children and partitions are each read by one shard, the lists by all."""
    scenario = like(SMALL, shards=shards, quota=quota)
    outcome, recorder = recorded(scenario)
    assert recorder.customers == Counter(range(scenario.customers))
    pages = math.ceil(scenario.customers / PAGE_SIZE)
    assert outcome.relationships == scenario.customers
    assert outcome.lists == shards * (pages + 2)
    assert outcome.partitions == sum(
        max(1, math.ceil(size / PAGE_SIZE)) for size in reseller_sizes(scenario)
    )
    assert outcome.requests == len(recorder.times)
    assert outcome.answered == len(recorder.accepted)


def test_without_relationships_only_lists_are_read() -> None:
    """This leaves the streams with one request for hundreds of customers."""
    scenario = like(SMALL, relationships=False, shards=4)
    outcome, _ = recorded(scenario)
    assert outcome.relationships == 0
    assert outcome.lists == 4 * (math.ceil(scenario.customers / PAGE_SIZE) + 2)


@pytest.mark.parametrize("counting", ["fixed_window", "sliding_window", "token_bucket"])
@pytest.mark.parametrize("shards", [1, 16])
def test_the_quota_is_kept(counting: Any, shards: int) -> None:
    """No window has more accepted requests than allowed, counted independently."""
    scenario = like(SMALL, shards=shards, counting=counting)
    _, recorder = recorded(scenario)
    if counting == "fixed_window":
        windows: list[tuple[float, list[float]]] = []
        for at in recorder.times:
            if not windows or at >= windows[-1][0] + 60:
                windows.append((at, []))
            windows[-1][1].append(at)
        for begin, _ in windows:
            used = sum(begin <= at < begin + 60 for at in recorder.accepted)
            assert used <= scenario.quota
    else:
        # A full bucket holds a minute's worth, and another minute's worth is added within a minute.
        most = scenario.quota * (2 if counting == "token_bucket" else 1)
        spans = zip(recorder.accepted, recorder.accepted[most:], strict=False)
        assert all(later - earlier > 59.999 for earlier, later in spans)


def test_requests_in_flight_are_bounded() -> None:
    """Each shard has at most the configured number, sent at once, and no others meanwhile."""
    scenario = like(SMALL, quota=0, latency=10.0)
    _, recorder = recorded(scenario)
    # No answer takes less than half the latency.
    spans = zip(recorder.times, recorder.times[scenario.concurrency :], strict=False)
    assert all(later - earlier >= 5 for earlier, later in spans)


def test_the_same_scenario_has_the_same_outcome() -> None:
    """A different seed has a different outcome."""
    scenario = like(SMALL, shards=4)
    assert simulate(scenario) == simulate(scenario)
    assert simulate(scenario) != simulate(like(scenario, seed=2))


def test_more_shards_under_one_quota_save_no_time() -> None:
    """A service that grants a number of requests does not grant more to several clients."""
    alone = simulate(SMALL).seconds
    for shards in (4, 16):
        assert simulate(like(SMALL, shards=shards)).seconds >= 0.98 * alone


def test_more_shards_save_time_when_latency_is_the_limit() -> None:
    """This needs no quota; more concurrent requests in one process also save time."""
    free = like(SMALL, quota=0)
    alone = simulate(free).seconds
    assert simulate(like(free, concurrency=32)).seconds < 0.4 * alone
    assert simulate(like(free, shards=4)).seconds < 0.4 * alone + STAGGER


@pytest.mark.parametrize("shards", [1, 4, 16])
def test_refusals_are_few(shards: int) -> None:
    """No request is refused for so long that the run would fail."""
    outcome = simulate(like(SMALL, customers=20_000, shards=shards))
    # Each of the sixteen hits the end of a window itself: 3 % of the window's quota.
    assert outcome.refused_share <= (0.03 if shards == 16 else 0.02)
    assert outcome.patience < 900


@pytest.mark.parametrize("counting", get_args(Counting))
def test_many_shards_do_not_starve_each_other(counting: Counting) -> None:
    """If refused requests use up the quota, shards that come back together get nothing."""
    outcome = simulate(like(SMALL, customers=20_000, shards=16, counting=counting))
    assert outcome.failed == 0
    # Measured, and not ideal: a slower probe would be refused less, but share less evenly.
    assert outcome.refused_share <= 0.08
    assert outcome.patience < 300


def test_shards_of_a_small_tenant_end_together() -> None:
    """Within 1.3 times one process's time, however the larger quota is counted."""
    alone, *divided = (
        [simulate(scenario).seconds for scenario in scenarios] for scenarios in SMALL_TENANTS
    )
    for times in divided:
        for seconds, one in zip(times, alone, strict=True):
            assert seconds <= 1.3 * one


def test_shards_are_started_as_airflow_does_it() -> None:
    """The first alone, then as slots become free; each still reads its own customers."""
    scenario = like(SMALL, shards=4, at_once=2, ceiling=250)
    outcome, recorder = recorded(scenario)
    assert recorder.customers == Counter(range(scenario.customers))
    assert outcome.refused == 0
    # The last one has half of the quota and runs alone: a quarter of the work takes twice as long.
    fitting = simulate(like(scenario, at_once=3, ceiling=500 // 3)).seconds
    assert 1.15 * fitting <= outcome.seconds <= 1.35 * fitting


def test_a_shard_that_may_not_wait_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends nothing more, and the others continue."""
    monkeypatch.setattr(model, "MAX_RETRY_SECONDS", 10.0)
    scenario = like(SMALL, shards=4)
    outcome, recorder = recorded(scenario)
    assert 0 < outcome.failed <= 4
    assert len(recorder.customers) < scenario.customers
    assert set(recorder.customers.values()) == {1}


def test_shards_that_know_their_part_are_not_refused() -> None:
    """With its share of the quota in `max_requests_per_minute`: no refusal, about as fast."""
    outcome = simulate(like(SMALL, shards=4, ceiling=500 // 4))
    assert outcome.refused == 0
    # The share is slightly reduced, and a shard that ends early does not pass its own on.
    assert outcome.seconds <= 1.05 * simulate(like(SMALL, shards=4)).seconds


def test_the_saved_figures_are_the_models() -> None:
    """Simulated again if that is quick: a change of pacing or model must reach the pages."""
    kept = load(SCALE_JSON)
    assert [each.scenario for each in kept.simulated] == scenarios(), "run `scale`"
    again = [each for each in kept.simulated if each.scenario.customers <= AGAIN]
    assert len(again) >= 8
    for each in again:
        assert simulate(each.scenario) == each.outcome, "run `scale`"


def test_full_refresh_days_makes_a_large_partner_fit_into_a_night() -> None:
    """A seventh of the customers plus those that changed: less than three hours."""
    kept = load(SCALE_JSON)
    whole, week = (kept.of(Scenario(customers=500_000, days=days)) for days in (1, 7))
    assert week.seconds < 3 * 3600 < whole.seconds
    assert len(sections(kept, session())["nights"].splitlines()) == 2 + 4


def test_tables_show_outcomes_and_costs() -> None:
    """A row for each scenario; 100 requests took half a second beyond the start."""
    results = session(run(case="children-0ms", cpu=1.25))
    parts = sections(load(SCALE_JSON), results)
    assert len(parts["shards"].splitlines()) == 2 + 5
    assert len(parts["latencies"].splitlines()) == 2 + 4
    measured = parts["measured"].splitlines()
    assert measured[2].startswith("| The case children-100ms; 8 at once | 7.0 |")
    assert "| processor time of one record of a page | 10.0 µs |" in parts["machine"]
    assert "| requests a minute that keep one core busy | 12,000 |" in parts["machine"]
    assert "| tenants at 500 requests a minute that keep one core busy | 24 |" in parts["machine"]
    costs = sections(load(SCALE_JSON), results)["costs"]
    assert len(costs.splitlines()) == 2 + 2 + 8
    assert "1,000 customers, without" in costs


def test_a_session_without_the_figures_shows_none() -> None:
    """Nothing is computed from missing measurements."""
    empty = Results(python="", platform="", processors=1, versions={})
    assert machine(empty) is None
    for part in ("machine", "measured"):
        assert sections(load(SCALE_JSON), empty)[part] == "Not measured in this session."
    assert all(
        row.endswith("| – |")  # noqa: RUF001 - as in all tables of the documentation
        for row in sections(load(SCALE_JSON), empty)["costs"].splitlines()[4:]
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (119, "119 s"), (600, "10 min"), (7_199, "120 min"), (63_000, "17.5 h")],
)
def test_times_have_readable_units(seconds: float, text: str) -> None:
    """Seconds, minutes, hours."""
    assert span(seconds) == text
