"""Results as Markdown: for the terminal, and for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .aims import aims, marginal, memory_ratio, wall
from .figures import pairwise, spread
from .scenarios import TITLES, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .figures import Spread
    from .results import CaseFacts, Results, Run
    from .scenarios import Name

NONE = "–"  # noqa: RUF001 - as in all tables of the documentation
NOT_MEASURED = "Not measured in this session."
_MEGABYTE = 1e6


def sections(results: Results) -> dict[str, str]:
    """Return every generated part by its name."""
    made = {"session": session(results), "ceiling": ceiling(results), "aims": aims_table(results)}
    for name in ("children", "partitions", "records", "quota", "memory"):
        facts = [case for case in results.cases if case.scenario == name]
        text = "\n\n".join(_case(results, case) for case in facts)
        if name == "records" and facts:
            text += "\n\n" + _marginal_table(results)
        if name == "memory" and facts:
            text = _memory_table(results, facts)
        made[name] = text or NOT_MEASURED
    return made | {"profile": profiles(results)}


def session(results: Results) -> str:
    """Return where and when the figures come from, and how long each scenario took."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    system = f"{results.platform}, {results.processors} processors"
    lines = [f"Python {results.python} on {system}; {versions}.", ""]
    if results.quick:
        lines += ["These are the small sizes of `--quick`: good for a look, not for comparing.", ""]
    rows = []
    for name in dict.fromkeys(case.scenario for case in results.cases):
        cases = [case for case in results.cases if case.scenario == name]
        minutes = sum(case.seconds for case in cases) / 60
        rows.append([f"`--only {name}`", cases[-1].date, f"{minutes:.1f}"])
    total = sum(case.seconds for case in results.cases) / 60
    rows.append(["all", "", f"{total:.1f}"])
    return "\n".join([*lines, table(["scenario", "measured", "minutes"], rows)])


def ceiling(results: Results) -> str:
    """Return what the emulator itself is able to do."""
    found = results.ceiling
    if found is None:
        return NOT_MEASURED
    rows = [
        [
            "requests for one customer's relationships a second",
            f"{found.requests_per_second:,.0f}",
            f"{found.possible_requests_per_second:,.0f}",
        ],
        [
            "customers a second, in pages of 500",
            f"{found.customers_per_second:,.0f}",
            f"{found.possible_customers_per_second:,.0f}",
        ],
    ]
    return table(["", "bare threads got", "the emulator's processor time allows"], rows)


def aims_table(results: Results) -> str:
    """Return aims and what was reached."""
    rows = [
        [aim.what, aim.wanted, aim.text, "yes" if aim.met else "**no**"] for aim in aims(results)
    ]
    if not rows:
        return NOT_MEASURED
    head = ["what", "aim", "reached", "met"]
    if results.quick:
        # Start-up, a fixed time, is most of a small run.
        text = "The aims are for the full sizes, so nothing is judged here."
        return text + "\n\n" + table(head[:3], [row[:3] for row in rows])
    return table(head, rows)


def profiles(results: Results) -> str:
    """Return the shares of owners, and the functions on top."""
    parts = []
    for found in results.profiles:
        facts = next(case for case in results.cases if case.name == found.case)
        runs = [run for run in results.of(found.case, "tap") if run.outcome == "ok"]
        text = f"**{facts.title}** ({found.samples:,} samples)"
        if runs:
            run = runs[0]
            text += (
                f": of {run.wall:.2f} s, {run.cpu:.2f} s were the tap's processor time; the "
                f"emulator used {run.server_cpu:.2f} s of its own meanwhile"
            )
        shares = [[name, f"{share:.0%}"] for name, share in found.owners.items()]
        top = [[f"`{name}`", f"{share:.1%}"] for name, share in found.functions.items()]
        parts += [text + ".", table(["owner", "share"], shares), table(["function", "share"], top)]
    return "\n\n".join(parts) or NOT_MEASURED


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _case(results: Results, facts: CaseFacts) -> str:
    rows = [
        _quota_row(runs) if facts.quota else _row(results, facts, runs)
        for runs in _groups(results, facts.name)
    ]
    head = ["", "runs", "seconds"]
    if facts.quota:
        head += ["quota used", "requests", "refused", "too early", "most under way"]
    else:
        head += ["times stock", "times bare threads", "records/s", "CPU s", "peak MB"]
        head += ["stdout MB", "log lines", "requests", "most under way"]
    text = f"**{facts.title}**"
    if facts.partition_sizes and facts.scenario == "partitions":
        text += f" ({_bounds(facts)})"
    return f"{text}\n\n{table(head, rows)}"


def _groups(results: Results, case: str) -> list[list[Run]]:
    pairs = {(run.contestant, run.concurrency): None for run in results.runs if run.case == case}
    return [results.of(case, *pair) for pair in pairs]


def _row(results: Results, facts: CaseFacts, runs: list[Run]) -> list[str]:
    good = [run for run in runs if run.outcome == "ok"]
    first = runs[0]
    if not good:
        return [_title(first), *_failure(runs), *[NONE] * 9]
    stock = results.of(facts.name, "stock")
    floor = results.of(facts.name, "floor", first.concurrency)
    return [
        _title(first),
        str(len(good)),
        _seconds(good),
        _ratio(pairwise(stock, good, wall)),
        _ratio(pairwise(floor, good, wall)),
        f"{_middle(good, lambda run: run.record_count / run.wall):,.0f}",
        f"{_middle(good, lambda run: run.cpu):.2f}",
        f"{_middle(good, lambda run: run.rss / _MEGABYTE):.0f}",
        f"{_middle(good, lambda run: run.stdout_bytes / _MEGABYTE):.1f}",
        f"{_middle(good, lambda run: run.log_lines):,.0f}",
        f"{_middle(good, lambda run: run.requests):,.0f}",
        f"{max(run.most_in_flight for run in good)}",
    ]


def _quota_row(runs: list[Run]) -> list[str]:
    good = [run for run in runs if run.outcome == "ok"]
    refused = _middle(runs, lambda run: run.refused)
    used = [run.quota_used for run in runs if run.quota_used is not None]
    return [
        _title(runs[0]),
        *([str(len(good)), _seconds(good)] if good else _failure(runs)),
        f"{spread(used).middle:.1%}" if used else NONE,
        f"{_middle(runs, lambda run: run.requests):,.0f}",
        f"{refused:,.0f} ({_middle(runs, lambda run: run.refused / max(1, run.requests)):.1%})",
        f"{max(run.inside_retry_after for run in runs):,}",
        f"{max(run.most_in_flight for run in runs)}",
    ]


def _failure(runs: list[Run]) -> list[str]:
    return ["0", f"{runs[0].outcome} after {runs[0].wall:.1f}"]


def _bounds(facts: CaseFacts) -> str:
    pages = [-(-size // facts.page_size) for size in facts.partition_sizes]
    return (
        f"{min(facts.partition_sizes)} to {max(facts.partition_sizes):,} customers each, in "
        f"{sum(pages)} pages of {facts.page_size}; the largest alone takes "
        f"{max(pages) * facts.latency:.1f} s"
    )


def _marginal_table(results: Results) -> str:
    rows = []
    for name in TITLES:
        cost = marginal(results, name)
        if cost:
            rows.append([TITLES[name], f"{cost.middle:.1f} ({cost.least:.1f} to {cost.most:.1f})"])
    return table(["", "µs of processor time for one more record"], rows)


def _memory_table(results: Results, facts: list[CaseFacts]) -> str:
    head = ["", *(f"peak MB, {case.expected['customers']:,} customers" for case in facts), "ratio"]
    rows = []
    for name in TITLES:
        sizes = [
            [run for run in results.of(case.name, name) if run.outcome == "ok"] for case in facts
        ]
        if any(sizes):
            peaks = [
                f"{_middle(runs, lambda run: run.rss / _MEGABYTE):.1f}" if runs else NONE
                for runs in sizes
            ]
            ratio = memory_ratio(results, name)
            rows.append([TITLES[name], *peaks, f"{ratio.middle:.2f}" if ratio else NONE])
    return table(head, rows)


def _title(run: Run) -> str:
    known: dict[str, Name] = {name: name for name in TITLES}
    return Entry(known[run.contestant], run.concurrency).title


def _seconds(runs: list[Run]) -> str:
    found = spread(run.wall for run in runs)
    if len(runs) == 1:
        return f"{found.middle:.2f}"
    return f"{found.middle:.2f} ({found.least:.2f} to {found.most:.2f})"


def _ratio(found: Spread | None) -> str:
    if found is None:
        return NONE
    if found.least == found.most:
        return f"{found.middle:.2f}"
    return f"{found.middle:.2f} ({found.least:.2f} to {found.most:.2f})"


def _middle(runs: list[Run], figure: Callable[[Run], float]) -> float:
    return spread(figure(run) for run in runs).middle
