"""The scale model's figures as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from partnercenter_benchmarks.aims import ONE, marginal
from partnercenter_benchmarks.render import MEGABYTE, NONE, NOT_MEASURED, table

from .cases import (
    COUNTINGS,
    DAYS,
    GRANTED,
    LATENCIES,
    PARTNER,
    PUBLISHED,
    QUOTAS,
    WAYS,
    also_measured,
    costs,
    divisions,
    forms,
    nights,
    small_tenants,
    starts,
)
from .model import CHANGED, CUSTOMERS_OF_A_RESELLER, PAGE_SIZE, RECORDED, STAGGER, Scene

if TYPE_CHECKING:
    from partnercenter_benchmarks.results import Results

    from .cases import ScaleFigures
    from .model import Outcome

_MINUTE, _HOUR = 60.0, 3600.0
_USUAL = Scene(customers=PARTNER)


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
    one, asking = results.row(ONE, "tap"), results.row("children-0ms", "tap")
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
        ["requests of one shard under way at once, unless said otherwise", f"{_USUAL.concurrency}"],
        ["requests a minute for each tenant: the vendor's published figure", f"{PUBLISHED}"],
        ["… and a larger quota, as one might be granted", f"{GRANTED:,}"],
        ["mean latency of an answer in ms, unless said otherwise", f"{_USUAL.latency * 1000:.0f}"],
        ["seconds within which the shards begin", f"{STAGGER:.0f}"],
        ["customers whom the audit records of a day name", f"{CHANGED:.0%}"],
        ["audit records of a day for each customer", f"{RECORDED}"],
    ]
    return table(["", "assumed"], rows)


def _shards(figures: ScaleFigures) -> str:
    rows = []
    for scenes in divisions():
        counted = [figures.of(scene) for scene in scenes]
        scene, outcome = scenes[0], counted[0]
        row = [
            f"{scene.shards}",
            f"{scene.ceiling}" if scene.ceiling else NONE,
            f"{outcome.requests:,}",
            f"{outcome.lists:,}",
            f"{outcome.patience:.0f}",
            span(outcome.seconds),
            *(f"{_used(each)}, {each.refused_share:.2%}" for each in counted),
        ]
        rows.append(row)
    head = [
        "shards",
        "each held to",
        "requests",
        "of them for lists",
        "longest patience, s",
        "time",
    ]
    return table([*head, *(f"used, refused: {text}" for text in COUNTINGS.values())], rows)


def _small(figures: ScaleFigures) -> str:
    rows = []
    for scenes in small_tenants():
        outcomes = [figures.of(scene) for scene in scenes]
        cells = [f"{each.seconds:.0f} s, {each.refused_share:.1%}" for each in outcomes]
        rows.append([f"{scenes[0].shards}", *cells])
    return table(["shards", *(f"{text}: time, refused" for text in WAYS.values())], rows)


def _starts(figures: ScaleFigures) -> str:
    rows = []
    for scene in starts():
        slots, ceiling = (f"{each}" if each else NONE for each in (scene.at_once, scene.ceiling))
        rows.append([f"{scene.shards}", slots, ceiling, f"{figures.of(scene).seconds:.0f} s"])
    return table(["shards", "slots", "ceiling of each slot", "time"], rows)


def _used(outcome: Outcome) -> str:
    """Return the share of the published quota that was used, or how many shards failed."""
    if outcome.failed:
        return f"{outcome.failed} fail"
    return f"{outcome.answered / (PUBLISHED * outcome.seconds / _MINUTE):.1%}"


def _latencies(figures: ScaleFigures) -> str:
    rows = []
    for scenes in forms():
        shards, concurrency = scenes[0].shards, scenes[0].concurrency
        name = "1 process" if shards == 1 else f"{shards} shards"
        times = [span(figures.of(scene).seconds) for scene in scenes]
        rows.append([f"{name}, {concurrency} at once", *times])
    head = [f"{text}, {each * 1000:.0f} ms" for text in QUOTAS.values() for each in LATENCIES]
    return table(["", *head], rows)


def _nights(figures: ScaleFigures) -> str:
    rows = []
    for customers, tenants, scenes in nights():
        outcomes = [figures.of(scene) for scene in scenes]
        times = [span(outcome.seconds) for outcome in outcomes]
        weeks = [f"{7 * tenants * outcome.requests:,}" for outcome in outcomes]
        rows.append([f"{customers:,}", f"{tenants}", *times, *weeks])
    head = [f"a night, {each}" for each in DAYS] + [f"requests a week, {each}" for each in DAYS]
    return table(["customers", "tenants", *head], rows)


def _machine(figures: ScaleFigures, results: Results) -> str:
    cost = machine(results)
    if cost is None:
        return NOT_MEASURED
    relationships = "processor time of one request with a customer's relationships"
    busy = _MINUTE / cost.request
    tenants = f"tenants at {PUBLISHED} requests a minute that keep one core busy"
    whole = span(cost.seconds(figures.of(_USUAL), PARTNER))
    rows = [
        [relationships, f"{cost.request * 1000:.2f} ms"],
        ["processor time of one record of a page", f"{cost.record * 1e6:.1f} µs"],
        ["processor time to start", f"{cost.start:.2f} s"],
        ["requests a minute that keep one core busy", f"{busy:,.0f}"],
        [tenants, f"{busy / PUBLISHED:,.0f}"],
        [f"processor time for {PARTNER:,} customers, one process", whole],
        ["largest memory of a process in any case", f"{cost.memory / MEGABYTE:.0f} MB"],
    ]
    return f"Python {results.python} on {results.platform}.\n\n{table(['', 'measured'], rows)}"


def _measured(figures: ScaleFigures, results: Results) -> str:
    rows = []
    one = results.row(ONE, "tap")
    titles = {(facts.name, facts.customers): facts.title for facts in results.cases}
    for (name, concurrency), scene in also_measured().items():
        row = results.row(name, "tap", concurrency)
        title = titles.get((name, scene.customers))
        if row is None or one is None or title is None:
            continue
        outcome = figures.of(scene)
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
    cost = machine(results)
    rows = []
    for scene, unlimited in costs():
        throttled, free = figures.of(scene), figures.of(unlimited)
        streams = "all" if scene.relationships else "without"
        cells = [
            f"{scene.customers:,} customers, {streams}",
            f"{throttled.answered:,}",
            span(throttled.seconds),
            span(free.seconds),
            span(cost.seconds(free, scene.customers)) if cost else NONE,
        ]
        rows.append(cells)
    head = ["streams: all, or without `customer_relationships`", "requests"]
    head += [f"at {PUBLISHED} requests a minute", "if nothing throttles", "processor time"]
    note = (
        f"Computed, not measured: one process, {_USUAL.concurrency} requests at once, answers "
        f"after {_USUAL.latency * 1000:.0f} ms, pages of {PAGE_SIZE}, an indirect reseller for "
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
