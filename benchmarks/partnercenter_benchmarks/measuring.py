"""One run of one contestant, from start to the counting of what it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from .counting import Counted
from .figures import quota_used
from .results import Run
from .scenarios import WINDOW

if TYPE_CHECKING:
    from .contestants import Contestant
    from .scenarios import Case, Entry
    from .server import Server

_PIECE = 1 << 20
_LAUNCHER = Path(__file__).with_name("launch.py")
#: Variables of the user's that would change what a contestant does, or how fast it starts.
_OURS = ("TAP_PARTNERCENTER_", "STOCK_", "SINGER_SDK_", "DLT_", "PYTHON")


class _Figures(msgspec.Struct):
    wall: float
    user: float
    system: float
    rss: int
    code: int


def measure(case: Case, entry: Entry, contestant: Contestant, server: Server, number: int) -> Run:
    """Run a contestant once against a server, and check what it wrote."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        settings = {
            **server.settings,
            "page_size": case.page_size,
            "max_concurrent_requests": entry.concurrency,
        }
        command = contestant.command(folder, settings, case.streams)
        server.reset()
        before = server.processor_seconds()
        figures = _run(command, folder)
        used = server.processor_seconds() - before
        stats = server.stats()
        outcome: Literal["ok", "failed", "wrong"] = "ok"
        counted, detail = Counted(), ""
        log = (folder / "stderr").read_text(encoding="utf-8", errors="replace").splitlines()
        if figures.code:
            outcome, detail = "failed", f"exit code {figures.code}: {log[-1] if log else ''}"
        else:
            counted = contestant.count(folder / "stdout", folder)
            if detail := counted.wrong(server.expected):
                outcome = "wrong"
        arrivals = []
        if case.quota:
            arrivals = [
                (each.at, each.status == HTTPStatus.OK)
                for each in server.log()
                if each.place != "token"
            ]
        return Run(
            case=case.name,
            contestant=entry.name,
            concurrency=entry.concurrency,
            round=number,
            outcome=outcome,
            detail=detail,
            wall=figures.wall,
            user=figures.user,
            system=figures.system,
            rss=figures.rss,
            stdout_bytes=(folder / "stdout").stat().st_size,
            log_lines=len(log),
            records=counted.records,
            schemas=counted.schemas,
            states=counted.states,
            state_bytes=counted.state_bytes,
            requests=stats.requests,
            refused=stats.refused,
            inside_retry_after=stats.inside_retry_after,
            most_in_flight=stats.most_in_flight,
            tokens=stats.tokens_issued,
            server_cpu=used,
            quota_used=quota_used(arrivals, case.quota, WINDOW) if case.quota else None,
        )


def _run(command: list[str], folder: Path) -> _Figures:
    """Run a command. What it writes goes through a pipe, as it would to a target."""
    report = folder / "figures.json"
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(report)]
    variables = {name: text for name, text in os.environ.items() if not name.startswith(_OURS)}
    with (
        (folder / "stderr").open("wb") as stderr,
        # Kept as it comes and looked at afterwards: counting meanwhile would take processor time
        # that the contestant or the emulator may want.
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
        while piece := process.stdout.read(_PIECE):
            kept.write(piece)
    return msgspec.json.decode(report.read_bytes(), type=_Figures)
