"""The command `benchmark`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from . import documents
from .contestants import DLT_VERSION, contestants
from .measuring import measure
from .profiling import profile
from .results import CaseFacts, Ceiling, Results, load, save
from .scenarios import Case, Entry, scenarios
from .server import Server
from .tables import ceiling, sections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .contestants import Contestant
    from .results import Run
    from .scenarios import Name, Scenario


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if a contestant's records were wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    folder = Path(".benchmark")
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    narrowed = [each.only(given.only) for each in scenarios(quick=given.quick)]
    chosen = [each for each in narrowed if each.cases]
    if given.from_file is not None:
        results = load(given.from_file)
        if chosen and results.quick != given.quick:
            parser.error("--quick and other sizes do not go together")
    else:
        results = _new(quick=given.quick)
        chosen = chosen or scenarios(quick=given.quick)
    if chosen:
        needed: set[Name] = {"floor"}
        needed |= {each.name for one in chosen for case in one.cases for each in case.entries}
        ready = contestants(needed, folder.resolve())
        _measure(results, chosen, ready, repeat=given.repeat, quick=given.quick)
        save(results, folder / "results.json")
    for name, text in sections(results).items():
        sys.stdout.write(f"\n## {name}\n\n{text}\n")
    if given.write_docs:
        documents.write(results)
    return verdict(results.runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmark",
        description="Measure tap-partnercenter beside a stock SDK tap, dlt and bare threads.",
        epilog="The figures are also left in .benchmark/results.json.",
    )
    every = [*scenarios(quick=True), *scenarios(quick=False)]
    names = [name for one in every for name in (one.name, *(case.name for case in one.cases))]
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, for a look: some six minutes"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        choices=names,
        metavar="NAME",
        help="these scenarios or cases and no others: " + ", ".join(dict.fromkeys(names)),
    )
    parser.add_argument(
        "--repeat",
        type=int,
        metavar="N",
        help="rounds (5, with --quick 1); contestants that need minutes take part in fewer",
    )
    parser.add_argument(
        "--from",
        dest="from_file",
        type=Path,
        metavar="FILE",
        help="begin with these figures; only what --only names is measured, again",
    )
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="write the figures into docs/ and benchmarks/results.json of this checkout",
    )
    return parser


def _new(*, quick: bool) -> Results:
    packages = ("tap-partnercenter", "singer-sdk", "requests", "msgspec")
    return Results(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        processors=os.cpu_count() or 1,
        versions={name: version(name) for name in packages} | {"dlt": DLT_VERSION},
        quick=quick,
    )


def _measure(
    results: Results,
    chosen: Sequence[Scenario],
    ready: Mapping[Name, Contestant],
    *,
    repeat: int | None,
    quick: bool,
) -> None:
    results.ceiling = _ceiling(ready["floor"], quick=quick)
    _say(ceiling(results))
    for scenario in chosen:
        _say(f"\n{scenario.title}")
        for case in scenario.cases:
            _say(f"  {case.title}")
            started = time.monotonic()
            with Server(case) as server:
                rounds = repeat or (1 if quick else 5)
                runs = _rounds(case, ready, server, rounds)
                # What takes longest, by processor: many records, many requests without delay.
                if case.name == "children-0ms" or (
                    scenario.name == "records" and case.customers > 1
                ):
                    _profile(results, case, ready["tap"], server)
                facts = CaseFacts(
                    name=case.name,
                    scenario=scenario.name,
                    title=case.title,
                    expected=server.expected,
                    latency=case.latency,
                    page_size=case.page_size,
                    quota=case.quota,
                    partition_sizes=server.partition_sizes,
                    date=f"{datetime.now(UTC):%Y-%m-%d}",
                    seconds=round(time.monotonic() - started, 1),
                )
            results.replace(facts, runs)


def _rounds(case: Case, ready: Mapping[Name, Contestant], server: Server, rounds: int) -> list[Run]:
    """Let the contestants take turns, so that what slows the machine down hits them all."""
    runs: list[Run] = []
    for number in range(1, min(rounds, case.most_rounds) + 1):
        for entry in case.entries:
            if number > entry.most_rounds:
                continue
            run = measure(case, entry, ready[entry.name], server, number)
            runs.append(run)
            told = f"{run.outcome} {run.detail}" if run.outcome != "ok" else ""
            _say(f"    {number} {entry.title:35} {run.wall:8.2f} s {run.cpu:8.2f} s CPU {told}")
    return runs


def _ceiling(floor: Contestant, *, quick: bool) -> Ceiling:
    """Ask the emulator as fast as the floor can, and see what that costs the emulator."""
    factor = 1 if quick else 5
    entry = Entry("floor", 16)
    asked = Case(
        name="ceiling-requests",
        title="",
        streams=("customers", "customer_relationships"),
        entries=(),
        customers=500 * factor,
    )
    read = Case(
        name="ceiling-customers",
        title="",
        streams=("customers",),
        entries=(),
        customers=40_000 * factor,
    )
    runs = []
    for case in (asked, read):
        with Server(case) as server:
            runs.append(measure(case, entry, floor, server, 1))
    one, many = runs
    return Ceiling(
        requests_per_second=one.requests / one.wall,
        customers_per_second=many.record_count / many.wall,
        possible_requests_per_second=one.requests / max(one.server_cpu, 0.01),
        possible_customers_per_second=many.record_count / max(many.server_cpu, 0.01),
    )


def _profile(results: Results, case: Case, tap: Contestant, server: Server) -> None:
    found = profile(case, Entry("tap", 8), tap, server)
    if found is None:
        _say("    no profile: py-spy may not look into processes here")
        return
    results.profiles = [*(each for each in results.profiles if each.case != case.name), found]


def verdict(runs: Sequence[Run]) -> int:
    """Name the runs that went wrong. That others fail under a quota is a result."""
    wrong = [
        run
        for run in runs
        if run.outcome == "wrong"
        or (run.outcome == "failed" and (run.contestant == "tap" or "quota" not in run.case))
    ]
    for run in wrong:
        _say(f"error: {run.case}, {run.contestant}, round {run.round}: {run.outcome}, {run.detail}")
    return 1 if wrong else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
