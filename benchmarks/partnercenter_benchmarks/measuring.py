"""Runs contestants and checks their output: one run, or whole cases."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from .cases import title
from .counting import counted
from .results import CaseFacts, Run
from .server import serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .cases import Case, Entry, Name
    from .contestants import Contestant
    from .server import Server

#: Seconds over which the emulator counts requests.
WINDOW = 60.0
#: Seconds after a refusal in which requests may still arrive: they were already on their way.
GRACE = 0.25
_LAUNCHER = Path(__file__).with_name("launch.py")
#: User variables that would change what a contestant does, or how fast it starts.
_OURS = ("TAP_PARTNERCENTER_", "STOCK_", "NAIVE_", "SINGER_SDK_", "DLT_", "PYTHON")


def measure_all(
    cases: Sequence[Case], ready: Mapping[Name, Contestant]
) -> Iterator[tuple[CaseFacts, list[Run]]]:
    """Measure one case after another, then those with a quota, which mostly wait, in parallel."""
    yield from (_measured(ready, case) for case in cases if not case.quota)
    waiting = [case for case in cases if case.quota]
    with ThreadPoolExecutor(len(waiting) or 1) as pool:
        yield from pool.map(partial(_measured, ready), waiting)


def _measured(ready: Mapping[Name, Contestant], case: Case) -> tuple[CaseFacts, list[Run]]:
    sys.stderr.write(f"{case.title}\n")
    started = time.monotonic()
    # Under a quota, each entry has its own emulator, and so its own quota.
    parts = [replace(case, entries=(each,)) for each in case.entries] if case.quota else [case]
    with ThreadPoolExecutor(len(parts)) as pool:
        runs = [run for found in pool.map(partial(_rounds, ready), parts) for run in found]
    facts = msgspec.convert(case, CaseFacts, from_attributes=True)
    facts.date = f"{datetime.now(UTC):%Y-%m-%d}"
    facts.seconds = round(time.monotonic() - started, 1)
    return facts, runs


def _rounds(ready: Mapping[Name, Contestant], case: Case) -> list[Run]:
    """Let all take turns, so that a slow phase of the machine affects all of them."""
    with serving(case) as server:
        return [
            measure(case, entry, ready[entry.name], server, number)
            for number in range(case.rounds)
            for entry in case.entries
            if number < entry.most_rounds
        ]


def measure(case: Case, entry: Entry, contestant: Contestant, server: Server, number: int) -> Run:
    """Run a contestant once against a server, and check its output."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        own = {"page_size": case.page_size, "max_concurrent_requests": entry.concurrency}
        (folder / "config.json").write_bytes(msgspec.json.encode(server.settings | own))
        command = contestant.command(folder, case.streams)
        server.reset()
        before = server.stats()["processor_seconds"]
        code, figures = _run(command, folder)
        stats = server.stats()
        log = (folder / "stderr").read_text(encoding="utf-8", errors="replace").splitlines()
        records, detail = (0, "") if code else counted(contestant.records(folder), server.expected)
        run = Run(
            case=case.name,
            contestant=entry.name,
            concurrency=entry.concurrency,
            round=number,
            stdout=(folder / "stdout").stat().st_size,
            log_lines=len(log),
            records=records,
            server_cpu=stats["processor_seconds"] - before,
            reading=(stats["last_request_at"] or 0) - (stats["first_request_at"] or 0),
            **{name: stats[name] for name in ("requests", "refused", "most_in_flight")},
            **figures,
        )
    if entry.name == "tap" and run.most_in_flight > entry.concurrency:
        detail = detail or f"{run.most_in_flight} requests in flight at once"
    if code:
        run.outcome, run.detail = "failed", f"exit code {code}: {log[-1] if log else ''}"
    elif detail:
        run.outcome, run.detail = "wrong", detail
    if case.quota:
        arrivals = server.arrivals()
        run.quota_used, run.too_early = quota_used(arrivals, case.quota), too_early(arrivals)
    problem = f"{run.outcome} {run.detail}" if run.outcome != "ok" else ""
    who = title(entry.name, entry.concurrency)
    sys.stderr.write(f"  {number + 1} {who:38} {run.wall:8.2f} s {run.cpu:8.2f} s CPU {problem}\n")
    return run


def _run(command: list[str], folder: Path) -> tuple[int, dict[str, Any]]:
    """Run a command. Its output goes through a pipe, as it would to a target.

    Returns:
        The exit code, and `wall`, `cpu` and `memory` of :class:`Run`.
    """
    report = folder / "figures.json"
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(report)]
    variables = {name: text for name, text in os.environ.items() if not name.startswith(_OURS)}
    with (
        (folder / "stderr").open("wb") as stderr,
        # Stored as it arrives and counted afterwards: counting at the same time would take CPU time
        # from the contestant or the emulator.
        (folder / "stdout").open("wb", buffering=0) as kept,
        subprocess.Popen(  # noqa: S603 - our own command
            [*launcher, *command],
            stdout=subprocess.PIPE,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            env=variables | {"NO_COLOR": "1"},
            bufsize=0,
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - opened above
        shutil.copyfileobj(process.stdout, kept, 1 << 20)
    figures = msgspec.json.decode(report.read_bytes())
    return figures.pop("code"), figures


def quota_used(arrivals: Sequence[tuple[float, bool]], quota: int) -> float:
    """Return the share of a quota a minute that was used in the whole minutes from the second on.

    `arrivals` says when each request arrived, in order, and whether it was accepted. Without a
    second whole minute the share is 0.
    """
    minutes = [int((at - arrivals[0][0]) / WINDOW) for at, passed in arrivals if passed]
    whole = range(1, max(minutes, default=0))
    return sum(minute in whole for minute in minutes) / (quota * max(1, len(whole)))


def too_early(arrivals: Sequence[tuple[float, bool]]) -> int:
    """Count requests that arrived after a refusal was known and before the time that it named."""
    count, opened, known, until = 0, -math.inf, math.inf, -math.inf
    for at, passed in arrivals:
        if at >= opened + WINDOW:
            opened = at
        if known < at < until:
            count += 1
        if not passed:
            if at >= until:
                known = at + GRACE
            until = max(until, at + math.ceil(opened + WINDOW - at))
    return count


def verdict(runs: Iterable[Run]) -> int:
    """Report the runs that went wrong. Other contestants may fail under a quota."""
    wrong = [
        run
        for run in runs
        if run.outcome == "wrong"
        or (run.outcome == "failed" and (run.contestant == "tap" or "quota" not in run.case))
    ]
    for run in wrong:
        sys.stderr.write(
            f"error: {run.case}, {run.contestant}, round {run.round + 1}: {run.detail}\n"
        )
    return 1 if wrong else 0
