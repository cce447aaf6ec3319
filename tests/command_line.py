"""Run the tap's command line inside the test process, with a clock that never really waits."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import logging
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from tap_partnercenter.clock import Cancelled, Clock
from tap_partnercenter.tap import TapPartnerCenter

#: The exit code of errors that no retry can fix, as in docs/operating.md.
FINAL = 78
#: Settings that pass every check, for a tenant that does not exist.
GOOD: dict[str, Any] = {
    "tenant_id": "contoso.onmicrosoft.com",
    "client_id": "2f3a9c10-1111-4222-8333-444455556666",
    "client_secret": "hush",
}
#: The polling interval of a waiting thread, in seconds.
_GLANCE = 0.02


class QuickClock(Clock):
    """A clock whose waits return at once, yet advance its time."""

    waits: list[float]

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0
        self.waits = []

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def now(self) -> float:
        return super().now() + self._ahead

    def wait(self, seconds: float) -> None:
        if not self._ended.empty():
            raise Cancelled
        if seconds <= _GLANCE:
            # Polling another thread: without a real pause this would spin,
            # and the clock would run far ahead of the next process's clock.
            super().wait(seconds)
        else:
            self.waits.append(seconds)
            self._ahead += seconds


@dataclass
class Result:
    """The output and exit code of one run."""

    exit_code: int
    stdout: str
    stderr: str
    waits: list[float] = field(default_factory=list)

    @functools.cached_property
    def messages(self) -> list[dict[str, Any]]:
        """The lines of stdout; they are parsed once, so no test may change them."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @functools.cached_property
    def _records(self) -> defaultdict[str, list[dict[str, Any]]]:
        found = defaultdict(list)
        for message in self.messages:
            if message["type"] == "RECORD":
                found[message["stream"]].append(message["record"])
        return found

    def records(self, stream: str) -> list[dict[str, Any]]:
        return self._records[stream]

    def keys(self, stream: str, *names: str) -> list[tuple[Any, ...]]:
        return [tuple(record[name] for name in names) for record in self.records(stream)]

    @property
    def counts(self) -> Counter[str]:
        return Counter(m["type"] for m in self.messages)

    @property
    def state(self) -> dict[str, Any]:
        """The last STATE, for the next run: a test may edit it."""
        states: list[dict[str, Any]] = [m["value"] for m in self.messages if m["type"] == "STATE"]
        return copy.deepcopy(states[-1])

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """The log: level, logger and message of each line.

        Lines from the emulator's server are left out: it runs in the same process.
        """
        parts = [line.split(" | ", 3) for line in self.stderr.splitlines()]
        found = [(p[1].strip(), p[2].strip(), p[3]) for p in parts if len(p) == 4]
        return [line for line in found if not line[1].startswith(("asyncio", "uvicorn"))]

    @property
    def log(self) -> list[str]:
        """The messages written by the tap itself."""
        return [text for _, logger, text in self.lines if logger.startswith("tap-partnercenter")]

    def levels(self, level: str) -> list[str]:
        """The messages at one level, from any logger."""
        return [text for found, _, text in self.lines if found == level]

    @property
    def error(self) -> str:
        """The only line at level ERROR, which is the last of the log."""
        (line,) = self.levels("ERROR")
        assert self.lines[-1][2] == line
        return line


def run_tap(  # noqa: PLR0913 - the files and ends of a process
    *arguments: str,
    config: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    catalog: dict[str, Any] | None = None,
    clock: type[Clock] = QuickClock,
    target: io.BytesIO | None = None,
    tap: type[TapPartnerCenter] = TapPartnerCenter,
) -> Result:
    """Run `tap-partnercenter` with arguments and files, as a shell would.

    A target may read its output; without one, all output is kept.
    """
    clocks: list[Clock] = []

    def make_clock() -> Clock:
        clocks.append(clock())
        return clocks[-1]

    stdout = io.TextIOWrapper(target or io.BytesIO(), encoding="utf-8")
    stderr = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        mock.patch.object(TapPartnerCenter, "clock_class", staticmethod(make_clock)),
    ):
        files = {"config": config, "state": state, "catalog": catalog}
        options = []
        for name, content in files.items():
            if content is not None:
                path = Path(folder, f"{name}.json")
                path.write_text(json.dumps(content), encoding="utf-8")
                options += [f"--{name}", str(path)]
        exit_code = 0
        try:
            tap.cli(args=[*options, *arguments])
        except SystemExit as ending:
            exit_code = int(ending.code or 0)
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            logging.captureWarnings(capture=False)
    stdout.seek(0)
    waits = [wait for made in clocks if isinstance(made, QuickClock) for wait in made.waits]
    return Result(exit_code, stdout.read(), stderr.getvalue(), waits)


@functools.cache
def _discovered(tap: type[TapPartnerCenter]) -> str:
    return run_tap("--discover", config={}, tap=tap).stdout


def catalog_of(
    *selected: str, others: bool = False, tap: type[TapPartnerCenter] = TapPartnerCenter
) -> dict[str, Any]:
    """The discovered catalog with some streams selected.

    The others are included, as in a user's catalog, only if the test asks for them: reading their
    schemas takes most of the time of a small run.
    """
    catalog: dict[str, Any] = json.loads(_discovered(tap))
    catalog["streams"] = [
        stream for stream in catalog["streams"] if others or stream["tap_stream_id"] in selected
    ]
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["tap_stream_id"] in selected
    return catalog


def deselect(catalog: dict[str, Any], stream: str, field: str) -> None:
    """Deselect a field of a stream in a catalog."""
    (chosen,) = (each for each in catalog["streams"] if each["tap_stream_id"] == stream)
    (entry,) = (m for m in chosen["metadata"] if m["breadcrumb"] == ["properties", field])
    entry["metadata"]["selected"] = False
