"""The scale model's figures as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .aims import marginal
from .figures import spread
from .scale_figures import (
    COUNTINGS,
    DIVISIONS,
    FORMS,
    GRANTED,
    LATENCIES,
    PUBLISHED,
    costed,
    counted,
    form,
    partner,
    partners,
)
from .scale_model import CUSTOMERS_OF_A_RESELLER, PAGE_SIZE, STAGGER, Scene, simulate
from .scenarios import WINDOW
from .tables import NONE, NOT_MEASURED, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from .results import Results, Run
    from .scale_figures import Case, ScaleFigures
    from .scale_model import Outcome

_MINUTE, _HOUR = 60.0, 3600.0
_MEGABYTE = 1e6


class Machine(NamedTuple):
    """What one process costs, as measured."""

    #: Seconds of the processor for its start.
    start: float
    #: … for one more request, with the records of a customer's relationships.
    request: float
    #: … for one more record of a page.
    record: float
    #: Bytes.
    memory: float

    def seconds(self, outcome: Outcome, records: int) -> float:
        """Return the processor time of a run in one process, with some records in its pages."""
        return self.start + outcome.requests * self.request + records * self.record


def sections(figures: ScaleFigures, results: Results) -> dict[str, str]:
    """Return every generated part of the page about scale."""
    return {
        "assumptions": _assumptions(figures),
        "shards": _shards(figures),
        "latencies": _latencies(figures),
        "counting": _counting(figures),
        "machine": _machine_table(figures, results),
        "measured": _measured(results),
    }


def operating_sections(figures: ScaleFigures, results: Results) -> dict[str, str]:
    """Return every generated part of the operator's page."""
    return {"costs": _costs(figures, results)}


def machine(results: Results) -> Machine | None:
    """Return what a process costs, None where the session did not measure it."""
    starts = [case for case in results.cases if case.scenario == "records"]
    least = min(starts, key=lambda case: case.expected["customers"], default=None)
    runs = results.of("children-0ms", "tap", 8)
    record = marginal(results, "tap")
    if least is None or not runs or record is None:
        return None
    start = _middle(results.of(least.name, "tap", 8), lambda run: run.cpu)
    request = _middle(runs, lambda run: (run.cpu - start) / run.requests)
    memory = max(run.rss for run in results.runs if run.contestant == "tap")
    return Machine(start, request, record.middle / 1e6, float(memory))


def _assumptions(figures: ScaleFigures) -> str:
    usual = Scene(customers=figures.sizes.partner)
    rows = [
        ["customers, over all tenants", f"{figures.sizes.partner:,}"],
        ["customers in a page", f"{PAGE_SIZE}"],
        ["customers for each indirect reseller", f"{CUSTOMERS_OF_A_RESELLER}"],
        ["requests of one shard under way at once, unless said otherwise", f"{usual.concurrency}"],
        ["requests a minute for each tenant: the vendor's published figure", f"{PUBLISHED}"],
        ["… and a larger quota, as one might be granted", f"{GRANTED:,}"],
        ["mean latency of an answer in ms, unless said otherwise", f"{usual.latency * 1000:.0f}"],
        ["seconds within which the shards begin", f"{STAGGER:.0f}"],
    ]
    return table(["", "assumed"], rows)


def _shards(figures: ScaleFigures) -> str:
    rows = [_shards_row(figures, case) for case in partners(figures.sizes)]
    head = ["tenants", "shards of each", "each held to", "processes", "requests"]
    head += ["of them for lists", "refused", "quota used", "longest patience, s", "time"]
    return table(head, rows)


def _shards_row(figures: ScaleFigures, case: Case) -> list[str]:
    outcome = figures.of(case)
    return [
        f"{case.tenants}",
        f"{case.scene.shards}",
        f"{case.scene.ceiling}" if case.scene.ceiling else NONE,
        f"{case.tenants * case.scene.shards}",
        f"{outcome.requests:,}",
        f"{outcome.lists:,}",
        f"{outcome.refused:,} ({outcome.refused_share:.2%})",
        _used(case, outcome),
        f"{outcome.patience:.0f}",
        f"{outcome.failed} fail" if outcome.failed else span(outcome.seconds),
    ]


def _latencies(figures: ScaleFigures) -> str:
    quotas = {PUBLISHED: f"{PUBLISHED} a minute", GRANTED: f"{GRANTED:,} a minute", 0: "no quota"}
    rows = []
    for shards, concurrency in FORMS:
        name = "1 process" if shards == 1 else f"{shards} shards"
        row = [f"{name}, {concurrency} at once"]
        for quota in quotas:
            for latency in LATENCIES:
                case = form(figures.sizes, shards, concurrency, quota, latency)
                row.append(span(figures.of(case).seconds))
        rows.append(row)
    head = [""]
    for text in quotas.values():
        head += [f"{text}, {latency * 1000:.0f} ms" for latency in LATENCIES]
    return table(head, rows)


def _counting(figures: ScaleFigures) -> str:
    rows = []
    for counting, text in COUNTINGS.items():
        row = [text]
        for shards, held in DIVISIONS:
            case = counted(figures.sizes, shards, counting, held=held)
            outcome = figures.of(case)
            used = f"{outcome.failed} fail" if outcome.failed else _used(case, outcome)
            row += [f"{outcome.refused_share:.2%}", used]
        rows.append(row)
    head = [f"{figures.sizes.counted:,} customers, {PUBLISHED} requests a minute, counted"]
    for shards, held in DIVISIONS:
        name = "1 shard" if shards == 1 else f"{shards} shards"
        if held:
            name += f", each held to {PUBLISHED // shards}"
        head += [f"{name}: refused", "quota used"]
    return table(head, rows)


def _machine_table(figures: ScaleFigures, results: Results) -> str:
    cost = machine(results)
    if cost is None:
        return NOT_MEASURED
    alone = partner(figures.sizes, 1, 1)
    outcome = figures.of(alone)
    seconds = cost.seconds(outcome, records=2 * alone.scene.customers)
    rows = [
        ["processor time of one request with a customer's relationships", _ms(cost.request)],
        ["processor time of one record of a page", f"{cost.record * 1e6:.1f} µs"],
        ["processor time to start", f"{cost.start:.2f} s"],
        ["requests a minute that keep one core busy", f"{_MINUTE / cost.request:,.0f}"],
        [
            f"tenants at {PUBLISHED} requests a minute that keep one core busy",
            f"{_MINUTE / cost.request / PUBLISHED:,.0f}",
        ],
        [f"processor time for {alone.scene.customers:,} customers, one process", span(seconds)],
        ["largest memory of a process in any measured run", f"{cost.memory / _MEGABYTE:.0f} MB"],
    ]
    return f"Python {results.python} on {results.platform}.\n\n{table(['', 'measured'], rows)}"


def _measured(results: Results) -> str:
    cost = machine(results)
    rows = []
    for facts in results.cases:
        if not facts.latency or facts.scenario not in {"children", "quota"}:
            continue
        for concurrency in (8, 32):
            runs = [
                run for run in results.of(facts.name, "tap", concurrency) if run.outcome == "ok"
            ]
            if not runs or cost is None:
                continue
            scene = Scene(
                customers=facts.expected["customers"],
                quota=facts.quota,
                window=WINDOW,
                latency=facts.latency,
                concurrency=concurrency,
                resellers=facts.scenario == "children",
            )
            outcome = simulate(scene)
            refused = _middle(runs, lambda run: run.refused / run.requests)
            rows.append(
                [
                    f"{facts.title}; {concurrency} at once",
                    f"{_middle(runs, lambda run: run.wall):.1f}",
                    f"{cost.start + outcome.seconds:.1f}",
                    f"{refused:.2%}",
                    f"{outcome.refused_share:.2%}",
                ]
            )
    if not rows:
        return NOT_MEASURED
    head = ["", "seconds measured", "simulated", "refused, measured", "simulated"]
    return table(head, rows)


def _costs(figures: ScaleFigures, results: Results) -> str:
    cost = machine(results)
    rows = []
    for customers in figures.sizes.costed:
        for relationships in (True, False):
            throttled, free = (
                figures.of(costed(customers, relationships=relationships, quota=quota))
                for quota in (PUBLISHED, 0)
            )
            rows.append(
                [
                    f"{customers:,} customers, {'all' if relationships else 'without'}",
                    f"{throttled.answered:,}",
                    span(throttled.seconds),
                    span(free.seconds),
                    span(cost.seconds(free, 2 * customers)) if cost else NONE,
                ]
            )
    head = ["streams: all, or without `customer_relationships`", "requests"]
    head += [f"at {PUBLISHED} requests a minute", "if nothing throttles", "processor time"]
    usual = Scene(customers=0)
    note = (
        f"Computed, not measured: one process, {usual.concurrency} requests at once, answers after "
        f"{usual.latency * 1000:.0f} ms, pages of {PAGE_SIZE}, an indirect reseller for "
        f"{CUSTOMERS_OF_A_RESELLER} customers."
    )
    return f"{note}\n\n{table(head, rows)}"


def span(seconds: float) -> str:
    """Tell a length of time in the unit that an operator would use."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def _used(case: Case, outcome: Outcome) -> str:
    allowed = case.tenants * case.scene.quota * outcome.seconds / _MINUTE
    return f"{outcome.answered / allowed:.1%}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _middle(runs: list[Run], figure: Callable[[Run], float]) -> float:
    return spread(figure(run) for run in runs if run.outcome == "ok").middle
