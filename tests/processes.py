"""Taps in their own processes, to be interrupted, read and ended by a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.command_line import Result, run_tap
from tests.truth import assert_all_records, complete_lines, last_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from partnercenter_emulator import Emulator

#: Seconds after which a test gives up on a process; normally nothing takes nearly as long.
PATIENCE = 60


@dataclass
class Tap:
    """A running `python -m tap_partnercenter`."""

    process: subprocess.Popen[bytes]
    read: bytearray

    def read_until(self, text: bytes) -> None:
        """Read its standard output until a text appears or the output ends."""
        while text not in self.read and (block := os.read(self.output, 4096)):
            self.read += block

    @property
    def output(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def end(self) -> tuple[int, list[str], str]:
        """Read the rest; return exit code, whole lines, and standard error."""
        stdout, stderr = self.process.communicate(timeout=PATIENCE)
        self.read += stdout or b""
        text = self.read.decode()
        return self.process.returncode, complete_lines(text), stderr.decode()


def without_coverage() -> dict[str, str]:
    """The environment, without coverage in a process that will get a signal.

    Coverage sometimes holds a lock, and deadlocks if a signal handler runs meanwhile.
    """
    return {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}


@contextmanager
def started(
    emulator: Emulator,
    state: dict[str, Any] | None = None,
    *,
    unbuffered: bool = False,
    **settings: object,
) -> Iterator[Tap]:
    """A tap in its own process, which ends with the block at the latest."""
    config = {"page_size": 3, **emulator.tap_config(), **settings}
    with tempfile.TemporaryDirectory() as folder:
        arguments = []
        for name, content in {"config": config, "state": state}.items():
            if content is not None:
                path = Path(folder, f"{name}.json")
                path.write_text(json.dumps(content), encoding="utf-8")
                arguments += [f"--{name}", str(path)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tap_partnercenter", *arguments],
            env={**without_coverage(), "PYTHONUNBUFFERED": "1" if unbuffered else ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield Tap(process, bytearray())
        finally:
            process.kill()
            process.communicate()


def assert_resumable(lines: list[str], emulator: Emulator) -> None:
    """Check that the next run emits what is missing when given the last STATE."""
    emulator.faults = ()
    config = {"page_size": 3, **emulator.tap_config()}
    again = run_tap(config=config, state=last_state(lines) or {})
    assert again.exit_code == 0, again.stderr
    assert_all_records([*lines, *again.stdout.splitlines()], emulator)


def begun(config: dict[str, Any], folder: Path, count: int) -> list[subprocess.Popen[str]]:
    """Start taps in parallel, as processes."""
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "tap_partnercenter", "--config", str(path)]
    pipe = subprocess.PIPE
    return [
        subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ})
        for _ in range(count)
    ]


def ended(taps: list[subprocess.Popen[str]]) -> list[Result]:
    """Wait for the taps to end."""
    said = [tap.communicate(timeout=300) for tap in taps]
    return [Result(tap.returncode, *outputs) for tap, outputs in zip(taps, said, strict=True)]
