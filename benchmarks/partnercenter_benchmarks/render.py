"""Results as Markdown, for the terminal and for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .aims import MANY_RECORDS, marginal, reached
from .cases import title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .results import CaseFacts, Results, Row, Spread

NONE = "–"  # noqa: RUF001 - as in all tables of the documentation
NOT_MEASURED = "Not measured in this session."
MEGABYTE = 1e6


def sections(results: Results) -> dict[str, str]:
    """Return every generated part by name."""
    parts = {"session": _session(results), "aims": _aims(results)}
    for name in ("children", "siblings", "partitions", "records", "quota"):
        tables = [_case(results, facts) for facts in results.cases if facts.section == name]
        parts[name] = "\n\n".join(tables) or NOT_MEASURED
    return parts


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _session(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    system = f"{results.platform}, {results.processors} processors"
    lines = [f"Python {results.python} on {system}; {versions}.", ""]
    if results.quick:
        lines += ["These are the small sizes of `--quick`: good for a look, not for comparing.", ""]
    rows = [
        [f"`{case.name}`", case.title, case.date, f"{case.seconds / 60:.1f}"]
        for case in results.cases
    ]
    return "\n".join([*lines, table(["case", "what is read", "measured", "minutes"], rows)])


def _aims(results: Results) -> str:
    found = list(reached(results))
    if not found:
        return NOT_MEASURED
    if results.quick:
        # Start-up takes a fixed time, which dominates a small run.
        return "The aims are for the full sizes, so nothing is judged here."
    rows = [
        [
            f"`{aim.case}`, {aim.concurrency} at once",
            aim.figure.what,
            aim.wanted,
            _between(spread, aim.figure.form),
            "yes" if aim.is_met(spread) else "**no**",
        ]
        for aim, spread in found
    ]
    return table(["case", "what", "aim", "reached", "met"], rows)


def _between(spread: Spread | None, form: str = ".2f") -> str:
    """Format a median with minimum and maximum, unless they are the same."""
    if spread is None:
        return NONE
    middle, least, most = (format(figure, form) for figure in spread)
    return middle if least == most else f"{middle} ({least} to {most})"


def _case(results: Results, facts: CaseFacts) -> str:
    """Return the table of a case, without columns that are empty for everyone."""
    rows = [row for row in results.rows if row.case == facts.name]
    columns = [[head, *map(text, rows)] for head, text in _columns(results, facts).items()]
    shown = [column for column in columns if {*column[1:]} - {NONE}]
    head, *lines = (list(line) for line in zip(*shown, strict=True))
    return f"**{facts.title}**\n\n{table(head, lines)}"


def _columns(results: Results, facts: CaseFacts) -> dict[str, Callable[[Row], str]]:
    def cost(row: Row) -> str:
        found = marginal(results, row.contestant) if facts.name == MANY_RECORDS else None
        return f"{found:.1f}" if found else NONE

    columns: dict[str, Callable[[Row], str]] = {
        "": lambda row: title(row.contestant, row.concurrency),
        "runs": lambda row: f"{row.runs}",
        "seconds": lambda row: (
            _between(row.seconds) if row.runs else f"failed after {row.wall:.1f}"
        ),
    }
    if facts.quota:
        return columns | {
            "quota used": lambda row: f"{row.quota_used:.1%}" if row.quota_used else NONE,
            "requests": lambda row: f"{row.requests:,.0f}",
            "refused": lambda row: f"{row.refused:,.0f} ({row.refused / row.requests:.1%})",
            "too early": lambda row: f"{row.too_early:,.0f}",
            "most in flight": lambda row: f"{row.most_in_flight:.0f}",
        }
    return columns | {
        "times stock": lambda row: _between(row.times_stock),
        "times threads": lambda row: _between(row.times_floor),
        "reading s": lambda row: f"{row.reading:.2f}" if row.reading else NONE,
        "records/s": lambda row: f"{row.throughput:,.0f}",
        "CPU s": lambda row: f"{row.cpu:.2f}",
        "µs for one more record": cost,
        "emulator's CPU s": lambda row: f"{row.server_cpu:.2f}",
        "peak MB": lambda row: f"{row.memory / MEGABYTE:.0f}",
        "stdout MB": lambda row: f"{row.stdout / MEGABYTE:.1f}",
        "log lines": lambda row: f"{row.log_lines:,.0f}",
        "requests": lambda row: f"{row.requests:,.0f}",
        "most in flight": lambda row: f"{row.most_in_flight:.0f}",
    }
