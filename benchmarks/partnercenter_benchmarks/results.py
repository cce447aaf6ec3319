"""The figures of one session, as stored on disk: medians, not runs."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Spread(NamedTuple):
    """A median with minimum and maximum."""

    middle: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread:
    """Return the median, minimum and maximum of some values."""
    found = sorted(values)
    return Spread(*(round(value, 5) for value in (median(found), found[0], found[-1])))


class Figures(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The resources of one contestant's run, as a whole process. Seconds and bytes."""

    wall: float
    cpu: float
    memory: float
    #: Standard output, which does not include dlt's files.
    stdout: float = 0.0
    log_lines: float = 0.0
    records: float = 0.0
    requests: float = 0.0
    refused: float = 0.0
    too_early: float = 0.0
    most_in_flight: float = 0.0
    #: The emulator's.
    server_cpu: float = 0.0
    #: Seconds from the first request to the last, which leaves out the start of the process.
    reading: float = 0.0
    #: Share of the quota used after the first minute, 1 for all of it.
    quota_used: float = 0.0


class Run(Figures, kw_only=True):
    """One run."""

    case: str
    contestant: str
    concurrency: int
    round: int
    #: `failed` exited with an error, `wrong` exited with 0 but lost or repeated records.
    outcome: Literal["ok", "failed", "wrong"] = "ok"
    detail: str = ""


class Row(Figures, kw_only=True, omit_defaults=True):
    """The medians of a contestant's runs in a case; those of failed runs if none succeeded."""

    case: str
    contestant: str
    concurrency: int
    #: Number of successful runs.
    runs: int
    seconds: Spread
    #: How many times as fast as the stock tap at its best, and as the bare threads.
    times_stock: Spread | None = None
    times_floor: Spread | None = None
    #: The same for `reading` only.
    times_floor_reading: Spread | None = None

    @property
    def throughput(self) -> float:
        """Records per second."""
        return self.records / self.wall


class CaseFacts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The facts about a case that readers need. `section` is the part of the page that shows it."""

    name: str
    section: str
    title: str
    customers: int
    #: Seconds.
    latency: float = 0.0
    #: Requests per minute, 0 for no quota.
    quota: int = 0
    #: When it was measured, and how many seconds that took.
    date: str = ""
    seconds: float = 0.0


class Results(msgspec.Struct, kw_only=True):
    """A session, or several that each measured some cases."""

    python: str
    platform: str
    processors: int
    versions: dict[str, str]
    quick: bool = False
    cases: list[CaseFacts] = []
    rows: list[Row] = []

    def row(self, case: str, contestant: str, concurrency: int | None = None) -> Row | None:
        """Return a contestant's figures, at one concurrency or the first; None without a run."""
        found = (
            row
            for row in self.rows
            if (row.case, row.contestant) == (case, contestant)
            and concurrency in {None, row.concurrency}
            and row.runs
        )
        return next(found, None)

    def updated(self, newer: Results) -> Results:
        """Return the newer session, with what it did not measure from this one, in its order."""
        again = {facts.name for facts in newer.cases}
        cases = {facts.name: facts for facts in (*self.cases, *newer.cases)}
        return msgspec.structs.replace(
            newer,
            cases=list(cases.values()),
            rows=[*(row for row in self.rows if row.case not in again), *newer.rows],
        )


def summarize(runs: Sequence[Run]) -> list[Row]:
    """Summarize the runs of one case: a row for each contestant at each concurrency."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.contestant, run.concurrency), []).append(run)
    stock = [run for run in runs if run.contestant == "stock"]
    rows = []
    for (contestant, concurrency), group in groups.items():
        good = [run for run in group if run.outcome == "ok"]
        figures = {
            name: spread(getattr(run, name) for run in good or group)
            for name in Figures.__struct_fields__
        }
        floor = groups.get(("floor", concurrency), [])
        row = Row(
            case=group[0].case,
            contestant=contestant,
            concurrency=concurrency,
            runs=len(good),
            seconds=figures["wall"],
            times_stock=times_as_fast(good, stock),
            times_floor=times_as_fast(good, floor),
            times_floor_reading=times_as_fast(good, floor, "reading"),
            **{name: each.middle for name, each in figures.items()},
        )
        # No single run may exceed these.
        row.too_early = figures["too_early"].most
        row.most_in_flight = figures["most_in_flight"].most
        rows.append(row)
    return rows


def times_as_fast(
    runs: Sequence[Run], others: Sequence[Run], figure: Literal["wall", "reading"] = "wall"
) -> Spread | None:
    """Divide the others' seconds by these, round by round, and return the spread of the ratios.

    If the machine is slower for a while, it is slower for both halves of a pair. Returns None
    without a round in which both succeeded.
    """
    by_round = {run.round: getattr(run, figure) for run in others if run.outcome == "ok"}
    ratios = [
        by_round[run.round] / seconds
        for run in runs
        if run.round in by_round and (seconds := getattr(run, figure))
    ]
    return spread(ratios) if ratios else None


def load(path: Path) -> Results:
    """Read the results of a session."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def save(struct: msgspec.Struct, path: Path) -> None:
    """Write figures in a format that can be diffed: one line for each."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(struct), indent=1) + b"\n")
