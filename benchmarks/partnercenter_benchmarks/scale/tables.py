"""The scale model's figures: what is simulated, how it is kept, and how it is shown.

Each table asks for the scenarios that it shows, and what they ask for is what is simulated.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from partnercenter_benchmarks.aims import ONE_RECORD, marginal
from partnercenter_benchmarks.cases import cases as measured_cases
from partnercenter_benchmarks.render import MEGABYTE, NONE, NOT_MEASURED, table
from partnercenter_benchmarks.results import Results

from .model import (
    CHANGED,
    CUSTOMERS_OF_A_RESELLER,
    PAGE_SIZE,
    RECORDED,
    STAGGER,
    Counting,
    Outcome,
    Scenario,
)

#: The figures that the documentation shows.
SCALE_JSON = Path(__file__).resolve().parents[2] / "scale.json"
#: Customers of the large partner, and of a tenant that is read in minutes.
PARTNER, SMALL = 500_000, 4_000
#: Requests a minute: the vendor's figure for the resource Customer, and what might be granted.
PUBLISHED, GRANTED = 500, 3_000
QUOTAS = {PUBLISHED: f"{PUBLISHED} a minute", GRANTED: f"{GRANTED:,} a minute", 0: "no quota"}
LATENCIES = (0.1, 0.3)
#: Values of full_refresh_days.
DAYS = (1, 3, 7, 30)
COUNTINGS: dict[Counting, str] = {
    "fixed_window": "in minutes that begin with a request",
    "sliding_window": "in any sixty seconds",
    "token_bucket": "by tokens that come back evenly",
}
#: Ways of counting under which shards of a small tenant meet, with the burst of a bucket.
VARIANTS: dict[tuple[Counting, int], str] = {
    ("fixed_window", 0): "minutes that begin with a request",
    ("sliding_window", 0): "any sixty seconds",
    ("token_bucket", 50): "tokens, 50 at once",
    ("token_bucket", 500): "tokens, 500 at once",
}
#: A small tenant under the larger quota in more and more shards, counted in all ways.
SMALL_TENANTS = [
    [
        Scenario(customers=SMALL, shards=shards, quota=GRANTED, counting=counting, burst=burst)
        for counting, burst in VARIANTS
    ]
    for shards in (1, 2, 4, 10)
]
_MINUTE, _HOUR = 60.0, 3600.0
_BASELINE = Scenario(customers=PARTNER)


class Simulated(msgspec.Struct):
    """A scenario and its outcome."""

    scenario: Scenario
    outcome: Outcome


class ScaleFigures(msgspec.Struct):
    """All of them."""

    simulated: list[Simulated]

    def of(self, scenario: Scenario) -> Outcome:
        """Return the outcome of a scenario."""
        return next(each.outcome for each in self.simulated if each.scenario == scenario)


class _Recorder(ScaleFigures):
    """Records the scenarios that it is asked for."""

    def of(self, scenario: Scenario) -> Outcome:
        self.simulated.append(Simulated(scenario, Outcome(seconds=1.0, lists=1)))
        return self.simulated[-1].outcome


def scenarios() -> list[Scenario]:
    """Return all that the documentation shows, each once, the largest first."""
    recorder = _Recorder([])
    sections(recorder, Results(python="", platform="", processors=1, versions={}))
    found = dict.fromkeys(each.scenario for each in recorder.simulated)
    return sorted(found, key=lambda scenario: -scenario.customers)


def load(path: Path) -> ScaleFigures:
    """Read the figures."""
    return msgspec.json.decode(path.read_bytes(), type=ScaleFigures)


class Machine(NamedTuple):
    """What one process costs, as measured, in seconds of the processor and bytes."""

    start: float
    #: Of one more request, with the records of a customer's relationships.
    request: float
    #: Of one more record of a page.
    record: float
    memory: float

    def seconds(self, outcome: Outcome, customers: int) -> float:
        """Return the processor time of a run in one process, which reads each customer twice."""
        return self.start + outcome.requests * self.request + 2 * customers * self.record


def machine(results: Results) -> Machine | None:
    """Return what a process costs, None where the session did not measure it."""
    one, asking = results.row(ONE_RECORD, "tap"), results.row("children-0ms", "tap")
    record = marginal(results, "tap")
    if one is None or asking is None or record is None:
        return None
    start = one.cpu
    request = (asking.cpu - start) / asking.requests
    memory = max(row.memory for row in results.rows if row.contestant == "tap")
    return Machine(start, request, record / 1e6, memory)


def sections(figures: ScaleFigures, results: Results) -> dict[str, str]:
    """Return every generated part by its name."""
    return {
        "assumptions": _assumptions(),
        "shards": _shards(figures),
        "small": _small(figures),
        "starts": _starts(figures),
        "latencies": _latencies(figures),
        "nights": _nights(figures),
        "machine": _machine(figures, results),
        "measured": _measured(figures, results),
        "costs": _costs(figures, results),
    }


def _assumptions() -> str:
    rows = [
        ["customers of the tenant", f"{PARTNER:,}"],
        ["customers in a page", f"{PAGE_SIZE}"],
        ["customers for each indirect reseller", f"{CUSTOMERS_OF_A_RESELLER}"],
        ["concurrent requests of one shard, unless stated otherwise", f"{_BASELINE.concurrency}"],
        ["requests a minute for each tenant: the vendor's published figure", f"{PUBLISHED}"],
        ["… and a larger quota, as one might be granted", f"{GRANTED:,}"],
        [
            "mean latency of a response in ms, unless stated otherwise",
            f"{_BASELINE.latency * 1000:.0f}",
        ],
        ["seconds within which the shards begin", f"{STAGGER:.0f}"],
        ["customers whom the audit records of a day name", f"{CHANGED:.0%}"],
        ["audit records of a day for each customer", f"{RECORDED}"],
    ]
    return table(["", "assumed"], rows)


def _shards(figures: ScaleFigures) -> str:
    """Show the partner in more and more shards, with and without a limit for each."""
    rows = []
    for shards, held in ((1, False), (4, False), (4, True), (16, False), (16, True)):
        scenario = Scenario(
            customers=PARTNER, shards=shards, ceiling=PUBLISHED // shards if held else 0
        )
        counted = [figures.of(replace(scenario, counting=each)) for each in COUNTINGS]
        outcome = counted[0]
        row = [
            f"{shards}",
            f"{scenario.ceiling}" if held else NONE,
            f"{outcome.requests:,}",
            f"{outcome.lists:,}",
            f"{outcome.patience:.0f}",
            span(outcome.seconds),
            *(f"{_used(each)}, {each.refused_share:.2%}" for each in counted),
        ]
        rows.append(row)
    head = ["shards", "each limited to", "requests", "of them for lists", "longest retry, s"]
    head += ["time", *(f"used, refused: {text}" for text in COUNTINGS.values())]
    return table(head, rows)


def _used(outcome: Outcome) -> str:
    """Return the share of the published quota that was used, or how many shards failed."""
    if outcome.failed:
        return f"{outcome.failed} fail"
    return f"{outcome.answered / (PUBLISHED * outcome.seconds / _MINUTE):.1%}"


def _small(figures: ScaleFigures) -> str:
    rows = []
    for scenarios in SMALL_TENANTS:
        outcomes = [figures.of(scenario) for scenario in scenarios]
        cells = [f"{each.seconds:.0f} s, {each.refused_share:.1%}" for each in outcomes]
        rows.append([f"{scenarios[0].shards}", *cells])
    return table(["shards", *(f"{text}: time, refused" for text in VARIANTS.values())], rows)


def _starts(figures: ScaleFigures) -> str:
    """Show the small tenant under the published quota, in shards that Airflow starts."""
    rows = []
    for shards, slots in ((1, 0), (3, 2), (4, 3), (4, 2), (9, 4)):
        ceiling = PUBLISHED // slots if slots else 0
        scenario = Scenario(customers=SMALL, shards=shards, at_once=slots, ceiling=ceiling)
        shown = (f"{each}" if each else NONE for each in (slots, ceiling))
        rows.append([f"{shards}", *shown, f"{figures.of(scenario).seconds:.0f} s"])
    return table(["shards", "slots", "ceiling of each slot", "time"], rows)


def _latencies(figures: ScaleFigures) -> str:
    """Show the partner in several forms, at each quota and each latency."""
    rows = []
    for shards, concurrency in ((1, 8), (1, 32), (4, 8), (16, 8)):
        form = Scenario(customers=PARTNER, shards=shards, concurrency=concurrency)
        name = "1 process" if shards == 1 else f"{shards} shards"
        found = [replace(form, quota=quota, latency=each) for quota in QUOTAS for each in LATENCIES]
        times = [span(figures.of(scenario).seconds) for scenario in found]
        rows.append([f"{name}, {concurrency} at once", *times])
    head = [f"{text}, {each * 1000:.0f} ms" for text in QUOTAS.values() for each in LATENCIES]
    return table(["", *head], rows)


def _nights(figures: ScaleFigures) -> str:
    """Show partners with the tenants that they are spread over, one of them by each setting."""
    rows = []
    for customers in (100_000, PARTNER):
        for tenants in (1, 5):
            each = customers // tenants
            outcomes = [figures.of(Scenario(customers=each, days=days)) for days in DAYS]
            times = [span(outcome.seconds) for outcome in outcomes]
            weeks = [f"{7 * tenants * outcome.requests:,}" for outcome in outcomes]
            rows.append([f"{customers:,}", f"{tenants}", *times, *weeks])
    head = [f"a night, {days}" for days in DAYS] + [f"requests a week, {days}" for days in DAYS]
    return table(["customers", "tenants", *head], rows)


def _machine(figures: ScaleFigures, results: Results) -> str:
    cost = machine(results)
    if cost is None:
        return NOT_MEASURED
    busy = _MINUTE / cost.request
    whole = span(cost.seconds(figures.of(_BASELINE), PARTNER))
    rows = [
        [
            "processor time of one request with a customer's relationships",
            f"{cost.request * 1000:.2f} ms",
        ],
        ["processor time of one record of a page", f"{cost.record * 1e6:.1f} µs"],
        ["processor time to start", f"{cost.start:.2f} s"],
        ["requests a minute that keep one core busy", f"{busy:,.0f}"],
        [
            f"tenants at {PUBLISHED} requests a minute that keep one core busy",
            f"{busy / PUBLISHED:,.0f}",
        ],
        [f"processor time for {PARTNER:,} customers, one process", whole],
        ["largest memory of a process in any case", f"{cost.memory / MEGABYTE:.0f} MB"],
    ]
    return f"Python {results.python} on {results.platform}.\n\n{table(['', 'measured'], rows)}"


def _measured(figures: ScaleFigures, results: Results) -> str:
    """Show what the tap has read from an emulator next to what is simulated for it."""
    rows = []
    one = results.row(ONE_RECORD, "tap")
    titles = {(facts.name, facts.customers): facts.title for facts in results.cases}
    for case in measured_cases():
        if case.section not in {"children", "quota"} or not case.latency:
            continue
        for concurrency in (each.concurrency for each in case.entries if each.name == "tap"):
            scenario = Scenario(
                customers=case.customers,
                quota=case.quota,
                latency=case.latency,
                concurrency=concurrency,
                resellers="reseller_customers" in case.streams,
            )
            outcome = figures.of(scenario)
            row = results.row(case.name, "tap", concurrency)
            title = titles.get((case.name, case.customers))
            if row is None or one is None or title is None:
                continue
            cells = [
                f"{title}; {concurrency} at once",
                f"{row.wall:.1f}",
                f"{one.cpu + outcome.seconds:.1f}",
                f"{row.refused / row.requests:.2%}",
                f"{outcome.refused_share:.2%}",
            ]
            rows.append(cells)
    if not rows:
        return NOT_MEASURED
    return table(["", "seconds measured", "simulated", "refused, measured", "simulated"], rows)


def _costs(figures: ScaleFigures, results: Results) -> str:
    """Show partners of several sizes in one process, under the published quota and under none."""
    cost = machine(results)
    rows = []
    for customers in (1_000, 10_000, 100_000, PARTNER):
        for relationships in (True, False):
            scenario = Scenario(customers=customers, relationships=relationships)
            throttled, free = figures.of(scenario), figures.of(replace(scenario, quota=0))
            cells = [
                f"{customers:,} customers, {'all' if relationships else 'without'}",
                f"{throttled.answered:,}",
                span(throttled.seconds),
                span(free.seconds),
                span(cost.seconds(free, customers)) if cost else NONE,
            ]
            rows.append(cells)
    head = ["streams: all, or without `customer_relationships`", "requests"]
    head += [f"at {PUBLISHED} requests a minute", "if nothing throttles", "processor time"]
    note = (
        f"Computed, not measured: one process, {_BASELINE.concurrency} requests at once, answers "
        f"after {_BASELINE.latency * 1000:.0f} ms, pages of {PAGE_SIZE}, an indirect reseller for "
        f"{CUSTOMERS_OF_A_RESELLER} customers."
    )
    return f"{note}\n\n{table(head, rows)}"


def span(seconds: float) -> str:
    """Show a length of time in the unit that an operator would use."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
