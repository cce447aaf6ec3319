"""Standard output that is closed, full, or without a reader; and when lines reach it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.command_line import run_tap
from tests.processes import PATIENCE, started, without_coverage
from tests.truth import complete_lines

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Buffer

    from tests.conftest import Start

pytestmark = pytest.mark.slow

CLOSED, FULL = ("exec 1>&-", "is closed"), ("exec 1>/dev/full", "No space left on device")
REFUSALS = [
    ("ulimit -f 64; exec 1>lines", "File too large", ""),
    ("ulimit -f 64; exec 1>>lines", "File too large", ""),
    *((*CLOSED, arguments) for arguments in ("", "--discover", "--about")),
    *((*FULL, arguments) for arguments in ("", "--discover", "--about") if sys.platform == "linux"),
]


@pytest.mark.parametrize(("output", "reported", "arguments"), REFUSALS)
def test_unwritable_output_fails_in_one_line(
    output: str, reported: str, arguments: str, start: Start, tmp_path: Path
) -> None:
    """Exit code 1, a line with cause and remedy, and no partial line in a file."""
    emulator = start(customers=100, resellers=1)
    lines = tmp_path / "lines"
    lines.touch()
    command = 'exec "$0" -m tap_partnercenter --config=ENV "$@"'
    # With a limit this low, coverage could not write its file either.
    environment = without_coverage() if "ulimit" in output else os.environ
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{output}; {command}", sys.executable, *arguments.split()],
        cwd=tmp_path,
        # Nor may Python leave half a compiled module, which would fail every later run.
        env={
            **environment,
            **emulator.environment(),
            "PYTHONUNBUFFERED": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    (error,) = [line for line in ended.stderr.splitlines() if "| ERROR" in line]
    assert reported in error
    # Only a run has a state.
    resumable = not arguments and reported != "is closed"
    assert error.endswith("with the last state.") is resumable
    assert error == ended.stderr.splitlines()[-1]
    text = lines.read_text()
    assert bool(text) == ("lines" in output)
    assert text == "".join(f"{line}\n" for line in complete_lines(text))
    assert all(json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize("log", ["&-", *(["/dev/full"] if sys.platform == "linux" else [])])
def test_an_unusable_standard_error_fails_no_run(log: str, start: Start, tmp_path: Path) -> None:
    """Some supervisors close it, and disks of logs are full: there is no log, but all records."""
    emulator = start(customers=10)
    command = f'exec "$0" -m tap_partnercenter --config=ENV 2>{log}'
    ended = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable],
        cwd=tmp_path,
        env={**os.environ, **emulator.environment(), "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    assert sum(message.get("stream") == "customers" for message in records) == 11


@pytest.mark.parametrize(
    ("until", "customers", "unbuffered"),
    [
        (b'"type":"SCHEMA"', 8, False),
        (b'"type":"SCHEMA"', 3000, True),
        (b'"type":"RECORD"', 8, True),
        (b'"type":"RECORD"', 3000, False),
        (b'"type":"STATE"', 8, False),
        (b'"type":"STATE"', 3000, True),
    ],
)
def test_a_target_that_died_ends_the_tap_with_one_line(
    customers: int,
    unbuffered: bool,  # noqa: FBT001
    until: bytes,
    start: Start,
) -> None:
    """Exit code 1 and where to look; no traceback, and no error at interpreter exit."""
    emulator = start(customers=customers, resellers=1, latency=0.005)
    page_size = max(3, customers // 10)
    with started(emulator, unbuffered=unbuffered, page_size=page_size) as tap:
        tap.read_until(until)
        assert tap.process.stdout is not None
        tap.process.stdout.close()
        tap.process.stdout = None
        exit_code, _, stderr = tap.end()
    assert exit_code == 1
    assert stderr.splitlines()[-1].endswith(
        "The target stopped reading: see its own log for the reason.",
    )
    assert len([line for line in stderr.splitlines() if "| ERROR" in line]) == 1
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    assert "BrokenPipe" not in stderr


@pytest.mark.parametrize("arguments", [["--discover"], ["--about"], ["--test=schema"]])
def test_output_that_nobody_reads_ends_the_run(arguments: list[str], start: Start) -> None:
    """The other commands also end without a traceback when nobody reads their output."""
    emulator = start(customers=3)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "tap_partnercenter", "--config=ENV", *arguments],
            env={**emulator.environment(), "PYTHONUNBUFFERED": ""},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writer)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_state_reaches_the_target_at_once(start: Start) -> None:
    """Held until the next block is full, it would confirm rows that are an hour old."""

    blocks: list[bytes] = []

    class Target(io.BytesIO):
        def write(self, block: Buffer) -> int:
            blocks.append(bytes(block))
            return super().write(block)

    emulator = start(customers=8, resellers=1)
    config = {**emulator.tap_config(), "page_size": 3, "max_concurrent_requests": 1}
    result = run_tap(config=config, target=Target())
    assert result.counts["STATE"] > 3
    lines = [block.splitlines() for block in blocks]
    assert not [line for block in lines for line in block[:-1] if b'"type":"STATE"' in line]
