"""The aims, and what was reached of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .figures import pairwise, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .figures import Spread
    from .results import Results, Run


class Aim(NamedTuple):
    """One aim: what, how much of it, and what was measured."""

    what: str
    wanted: str
    reached: Spread
    form: str
    met: bool

    @property
    def text(self) -> str:
        """What was reached, with its spread."""
        middle, least, most = (format(figure, self.form) for figure in self.reached)
        return middle if least == most else f"{middle} ({least} to {most})"


def aims(results: Results) -> Iterator[Aim]:
    """Yield those for which there are figures."""
    yield from _against_others(results)
    yield from _records(results)
    yield from _quota(results)
    yield from _memory(results)
    yield from _in_flight(results)


def wall(run: Run) -> float:
    """Return how long a run took."""
    return run.wall


def _against_others(results: Results) -> Iterator[Aim]:
    for case, concurrency, other, least in (
        ("children-0ms", 8, "stock", 9.0),
        ("children-100ms", 8, "stock", 8.0),
        ("children-100ms", 32, "stock", 25.0),
        ("children-100ms", 8, "floor", 0.92),
        ("children-100ms", 32, "floor", 0.92),
        ("partitions", 16, "stock", 8.0),
    ):
        level = None if other == "stock" else concurrency
        ratio = pairwise(results.of(case, other, level), results.of(case, "tap", concurrency), wall)
        if ratio:
            title = next(facts.title for facts in results.cases if facts.name == case)
            name = "the stock tap" if other == "stock" else "bare threads"
            what = f"{title}: speed at {concurrency} at once, times that of {name}"
            yield Aim(what, f"at least {least:g}", ratio, ".2f", ratio.middle >= least)


def _records(results: Results) -> Iterator[Aim]:
    for facts in results.cases:
        if facts.scenario != "records" or facts.expected["customers"] == 1:
            continue
        ratio = pairwise(results.of(facts.name, "stock"), results.of(facts.name, "tap"), wall)
        if ratio:
            what = f"{facts.title}: speed, times that of the stock tap"
            yield Aim(what, "at least 6", ratio, ".2f", ratio.middle >= 6)  # noqa: PLR2004
        cost = marginal(results, "tap")
        if cost:
            what = "Processor time of one more record, µs"
            yield Aim(what, "at most 12", cost, ".1f", cost.middle <= 12)  # noqa: PLR2004


def marginal(results: Results, contestant: str) -> Spread | None:
    """Return the microseconds of one more record: many records' without those of a single one."""
    sizes = {
        facts.expected["customers"]: facts.name
        for facts in results.cases
        if facts.scenario == "records"
    }
    if len(sizes) < 2:  # noqa: PLR2004
        return None
    few, many = min(sizes), max(sizes)
    start = _good(results.of(sizes[few], contestant))
    runs = _good(results.of(sizes[many], contestant))
    if not start or not runs:
        return None
    base = spread(run.cpu for run in start).middle
    return spread((run.cpu - base) / (many - few) * 1e6 for run in runs)


def _quota(results: Results) -> Iterator[Aim]:
    for facts in results.cases:
        if facts.scenario != "quota":
            continue
        for concurrency in (8, 32):
            runs = _good(results.of(facts.name, "tap", concurrency))
            used = [run.quota_used for run in runs if run.quota_used is not None]
            where = f"Quota of {facts.quota:,} a minute, {concurrency} at once"
            if used:
                share = spread(used)
                enough = share.middle >= 0.95  # noqa: PLR2004
                yield Aim(
                    f"{where}: used after the first minute", "at least 95 %", share, ".1%", enough
                )
            if runs:
                share = spread(run.refused / run.requests for run in runs)
                few = share.middle <= 0.01  # noqa: PLR2004
                yield Aim(f"{where}: refused", "at most 1 %", share, ".2%", few)
                # What is under way when one of them is refused cannot be called back.
                early = spread(
                    max(0.0, run.inside_retry_after - (run.concurrency - 1)) for run in runs
                )
                what = f"{where}: too early after a refusal, beyond those then under way"
                yield Aim(what, "none", early, ".0f", not early.most)


def _memory(results: Results) -> Iterator[Aim]:
    ratio = memory_ratio(results, "tap")
    if ratio:
        what = "Peak memory with most customers, times that with fewest"
        yield Aim(what, "at most 1.15", ratio, ".2f", ratio.middle <= 1.15)  # noqa: PLR2004


def memory_ratio(results: Results, contestant: str) -> Spread | None:
    """Divide the peak of the largest case by that of the smallest."""
    names = [facts.name for facts in results.cases if facts.scenario == "memory"]
    if len(names) < 2:  # noqa: PLR2004
        return None
    few, many = (results.of(name, contestant) for name in (names[0], names[-1]))
    rss: Callable[[Run], float] = lambda run: float(run.rss)  # noqa: E731
    return pairwise(many, few, rss)


def _in_flight(results: Results) -> Iterator[Aim]:
    runs = _good([run for run in results.runs if run.contestant == "tap"])
    if runs:
        over = spread(float(max(0, run.most_in_flight - run.concurrency)) for run in runs)
        what = "Requests under way beyond the setting, in any run"
        yield Aim(what, "none", over, ".0f", not over.most)


def _good(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.outcome == "ok"]
