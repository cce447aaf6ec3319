"""Killed, stopped, or without a reader: whole lines, correct exit codes, nothing lost."""

from __future__ import annotations

import array
import fcntl
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault, Options
from tap_partnercenter.clock import Clock
from tests.command_line import run_tap
from tests.truth import assert_whole, last_state, whole_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from tests.conftest import Start

pytestmark = pytest.mark.slow

#: Seconds after which a test gives up on a process; normally nothing takes nearly as long.
PATIENCE = 60
EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
#: The emulator's fourth customer, first on the second page.
FOURTH = str([*Emulator(Options(customers=4)).customers()][3]["id"])


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
        return self.process.returncode, whole_lines(text), stderr.decode()


def untraced() -> dict[str, str]:
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
            env={**untraced(), "PYTHONUNBUFFERED": "1" if unbuffered else ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield Tap(process, bytearray())
        finally:
            process.kill()
            process.communicate()


@contextmanager
def own_handlers() -> Iterator[None]:
    """Restore the signal handlers that a tap in this process replaces."""
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def assert_resumable(lines: list[str], emulator: Emulator) -> None:
    """Check that the next run emits what is missing when given the last STATE."""
    emulator.faults = ()
    config = {"page_size": 3, **emulator.tap_config()}
    again = run_tap(config=config, state=last_state(lines) or {})
    assert again.exit_code == 0, again.stderr
    assert_whole([*lines, *again.stdout.splitlines()], emulator)


def wait_until_full(tap: Tap, size: int) -> None:
    """Let the tap run until a pipe is nearly full: some room is lost between the pieces."""
    held = array.array("i", [0])
    while held[0] < size * 3 // 4:
        assert tap.process.poll() is None
        time.sleep(0.005)
        fcntl.ioctl(tap.output, termios.FIONREAD, held)


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        (Fault(place="continuation", skip=1, hang=PATIENCE), signal.SIGINT),
        (Fault(place="relationships", customer_id=FOURTH, hang=PATIENCE), signal.SIGTERM),
        (Fault(place="resellers", hang=PATIENCE), signal.SIGINT),
        (Fault(place="partition", expire_token=True, times=1), signal.SIGTERM),
        (Fault(place="partition", status=429, headers={"Retry-After": "600"}), signal.SIGINT),
        (Fault(place="partition", status=429, headers={"Retry-After": "600"}), signal.SIGTERM),
    ],
    ids=["page", "child", "second stream", "token", "pause", "pause to be terminated"],
)
def test_a_signal_ends_the_run_at_once_and_tells_so(
    fault: Fault,
    number: signal.Signals,
    start: Start,
) -> None:
    """Whole lines, the last consistent STATE, and the exit code that a shell expects."""
    slow_token = Fault(place="token", skip=1, hang=PATIENCE)
    emulator = start(fault, slow_token, customers=8, resellers=1)
    with started(emulator) as tap:
        tap.read_until(b'"type":"STATE"')
        tap.process.send_signal(number)
        exit_code, lines, stderr = tap.end()
    assert exit_code == EXIT_CODES[number]
    assert tap.read.endswith(b"\n")
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    assert "interrupted: " in stderr.splitlines()[-1]
    assert_resumable(lines, emulator)


@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_before_the_first_answer_has_the_same_end(
    number: signal.Signals,
    start: Start,
) -> None:
    """While the tap signs in there is nothing to lose, but the exit code still counts."""
    emulator = start(Fault(place="token", hang=PATIENCE), customers=8, resellers=1)
    with started(emulator) as tap:
        tap.read_until(b'"type":"SCHEMA"')
        tap.process.send_signal(number)
        exit_code, lines, stderr = tap.end()
    assert exit_code == EXIT_CODES[number]
    assert "Traceback" not in stderr
    assert_resumable(lines, emulator)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_ends_the_run_unless_it_is_ignored(
    ignored: bool,  # noqa: FBT001
    start: Start,
) -> None:
    """It has its own log line and exit code; under `nohup` the run goes on."""
    emulator = start(Fault(place="continuation", times=1, hang=1), customers=8, resellers=1)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with started(emulator) as tap:
            tap.read_until(b'"type":"RECORD"')
            tap.process.send_signal(signal.SIGHUP)
            exit_code, lines, stderr = tap.end()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert exit_code == (0 if ignored else 128 + signal.SIGHUP)
    assert ("complete: " if ignored else "interrupted: ") in stderr.splitlines()[-1]
    assert_resumable(lines, emulator)


if sys.platform == "linux":

    def test_no_thread_but_the_main_one_takes_a_signal(start: Start) -> None:
        """A signal sent to the stopped process may go to any thread that accepts it."""
        emulator = start(Fault(place="continuation", hang=PATIENCE), customers=8, resellers=1)
        with started(emulator) as tap:
            tap.read_until(b'"type":"RECORD"')
            blocking = {}
            for thread in Path(f"/proc/{tap.process.pid}/task").iterdir():
                (mask,) = re.findall(r"SigBlk:\s*(\w+)", thread.joinpath("status").read_text())
                blocking[int(thread.name)] = bool(int(mask, 16) >> signal.SIGTERM - 1 & 1)
            tap.process.terminate()
            assert tap.process.wait(PATIENCE) == 143
        assert blocking.pop(tap.process.pid) is False
        assert len(blocking) >= 8
        assert all(blocking.values())


def test_a_signal_ends_the_wait_for_another_process(start: Start, tmp_path: Path) -> None:
    """While the tap waits for the lock of its token cache."""
    emulator = start(customers=8, resellers=1)
    cache = tmp_path / "tokens.json"
    with cache.with_name("tokens.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with started(emulator, token_cache_path=str(cache)) as tap:
            tap.read_until(b'"type":"SCHEMA"')
            tap.process.terminate()
            exit_code, _, stderr = tap.end()
    assert exit_code == 143
    assert "Traceback" not in stderr
    assert emulator.stats().requests == 0


@pytest.mark.parametrize(("number", "unbuffered"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_signal_while_the_target_is_slow_leaves_whole_lines(
    number: signal.Signals,
    unbuffered: bool,  # noqa: FBT001
    start: Start,
) -> None:
    """A line that is partly in the pipe is completed."""
    emulator = start(customers=600, resellers=1)
    with started(emulator, unbuffered=unbuffered, page_size=500) as tap:
        if sys.platform == "linux":
            fcntl.fcntl(tap.output, fcntl.F_SETPIPE_SZ, 4096)
        tap.read += os.read(tap.output, 1)
        tap.process.send_signal(number)
        exit_code, lines, stderr = tap.end()
    assert exit_code == EXIT_CODES[number]
    assert tap.read.endswith(b"\n")
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert "Traceback" not in stderr
    assert_resumable(lines, emulator)


@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_ends_the_run_while_the_target_does_not_read(
    number: signal.Signals,
    start: Start,
) -> None:
    """One signal is enough, the pipe holds whole lines, and the next run continues from them."""
    emulator = start(customers=600, resellers=1)
    with started(emulator, page_size=500) as tap:
        wait_until_full(tap, 65_536)
        tap.process.send_signal(number)
        assert tap.process.wait(PATIENCE) == EXIT_CODES[number]
        _, lines, stderr = tap.end()
    assert tap.read.endswith(b"\n")
    assert "Traceback" not in stderr
    assert "interrupted: " in stderr.splitlines()[-1]
    assert_resumable(lines, emulator)


def test_a_signal_ends_the_run_in_the_middle_of_a_line_that_nobody_reads(start: Start) -> None:
    """A line longer than the pipe is cut off in the end; the next reader ignores the fragment."""
    emulator = start(customers=8, resellers=1)
    with started(emulator) as tap:
        if sys.platform == "linux":
            fcntl.fcntl(tap.output, fcntl.F_SETPIPE_SZ, 4096)
        wait_until_full(tap, 4096)
        tap.process.terminate()
        assert tap.process.wait(PATIENCE) == 143
        _, lines, stderr = tap.end()
    assert "Traceback" not in stderr
    assert_resumable(lines, emulator)


CLOSED, FULL = ("exec 1>&-", "is closed"), ("exec 1>/dev/full", "No space left on device")
REFUSALS = [
    ("ulimit -f 64; exec 1>lines", "File too large", ""),
    ("ulimit -f 64; exec 1>>lines", "File too large", ""),
    *((*CLOSED, arguments) for arguments in ("", "--discover", "--about")),
    *((*FULL, arguments) for arguments in ("", "--discover", "--about") if sys.platform == "linux"),
]


@pytest.mark.parametrize(("output", "told", "arguments"), REFUSALS)
def test_an_output_that_cannot_be_written_fails_in_one_line(
    output: str,
    told: str,
    arguments: str,
    start: Start,
    tmp_path: Path,
) -> None:
    """Exit code 1, a line with cause and remedy, and no partial line in a file."""
    emulator = start(customers=100, resellers=1)
    lines = tmp_path / "lines"
    lines.touch()
    command = 'exec "$0" -m tap_partnercenter --config=ENV "$@"'
    # With a limit this low, coverage could not write its file either.
    environment = untraced() if "ulimit" in output else os.environ
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{output}; {command}", sys.executable, *arguments.split()],
        cwd=tmp_path,
        env={**environment, **emulator.environment(), "PYTHONUNBUFFERED": ""},
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    (error,) = [line for line in ended.stderr.splitlines() if "| ERROR" in line]
    assert told in error
    assert error == ended.stderr.splitlines()[-1]
    text = lines.read_text()
    assert bool(text) == ("lines" in output)
    assert text == "".join(f"{line}\n" for line in whole_lines(text))
    assert all(json.loads(line) for line in text.splitlines())


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
def test_nobody_reads_what_is_printed(arguments: list[str], start: Start) -> None:
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


@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_cuts_a_wait_short(number: signal.Signals, start: Start) -> None:
    """The signal comes while the tap waits, as the service asked."""

    class StruckClock(Clock):
        def wait(self, seconds: float) -> None:
            signal.raise_signal(number)
            super().wait(seconds)

    emulator = start(Fault(place="continuation", status=429, headers={"Retry-After": "600"}))
    config = {**emulator.tap_config(), "page_size": 3, "max_concurrent_requests": 1}
    with own_handlers():
        result = run_tap(config=config, clock=StruckClock)
    assert result.exit_code == EXIT_CODES[number]
    assert result.log[-1].startswith("interrupted: ")
    # None of the ten minutes that the service asked for has passed.
    assert ", 0 s waited, " in result.log[-1]
    assert_resumable(result.stdout.splitlines(), emulator)


@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_while_a_block_is_written_comes_after_it(
    number: signal.Signals,
    start: Start,
) -> None:
    """The target gets the whole block, and then only what ends the run."""

    class StruckTarget(io.BytesIO):
        def write(self, block: Buffer) -> int:
            written = super().write(block)
            if b'"type":"STATE"' in self.getvalue():
                signal.raise_signal(number)
            return written

    emulator = start(customers=8, resellers=1)
    with own_handlers():
        config = {**emulator.tap_config(), "page_size": 3}
        result = run_tap(config=config, target=StruckTarget())
    assert result.exit_code == EXIT_CODES[number]
    assert result.messages[-1]["type"] == "STATE"
    assert result.counts["STATE"] == 1
    assert result.log[-1].startswith("interrupted: ")
    assert_resumable(result.stdout.splitlines(), emulator)


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


#: Ends the tap by a signal as soon as its waiting takes a lock.
STRUCK_IN_A_LOCK = """
import signal, sys, threading

def strike(frame, event, argument):
    waits = event == "call" and frame.f_code is threading.Condition.wait.__code__
    if waits or event == "c_call" and argument.__name__ == "get":
        if threading.current_thread() is threading.main_thread():
            sys.setprofile(None)
            signal.raise_signal(signal.SIGTERM)

sys.argv[0] = "tap-partnercenter"
from tap_partnercenter.clock import Clock
from tap_partnercenter.tap import TapPartnerCenter

class StruckClock(Clock):
    def wait(self, seconds):
        sys.setprofile(strike)
        super().wait(seconds)

TapPartnerCenter.clock_class = StruckClock
TapPartnerCenter.cli()
"""


def test_a_signal_needs_no_lock_that_the_interrupted_code_holds(start: Start) -> None:
    """Even in the first lines of a wait, the tap ends instead of deadlocking."""
    emulator = start(Fault(place="continuation", status=429, headers={"Retry-After": "600"}))
    ended = subprocess.run(
        [sys.executable, "-c", STRUCK_IN_A_LOCK, "--config=ENV"],
        env={
            **untraced(),
            **emulator.environment(),
            "TAP_PARTNERCENTER_PAGE_SIZE": "3",
            "TAP_PARTNERCENTER_MAX_CONCURRENT_REQUESTS": "1",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == EXIT_CODES[signal.SIGTERM]
    assert "interrupted: " in ended.stderr.splitlines()[-1]


def test_nothing_is_asked_after_the_end(start: Start) -> None:
    """A thread that is waiting when the run ends sends nothing more."""

    class EndingClock(Clock):
        def wait(self, seconds: float) -> None:
            super().wait(seconds / 1e6)
            self.cancel()
            super().wait(seconds)

    emulator = start(Fault(place="customers", status=503))
    result = run_tap(config=emulator.tap_config(), clock=EndingClock)
    assert result.exit_code == 1
    assert emulator.stats().by_place["customers"] == {"503": 1}


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_tap_goes_on_from_the_last_whole_state(seed: int, start: Start) -> None:
    """SIGKILL at any byte: the target's rows and the next run's add up to everything."""
    chance = random.Random(seed)  # noqa: S311
    emulator = start(customers=40, resellers=2, latency=0.002)
    with started(emulator) as tap:
        size = chance.randrange(5_000, 45_000)
        while len(tap.read) < size and (block := os.read(tap.output, size - len(tap.read))):
            tap.read += block
        tap.process.kill()
        exit_code, lines, _ = tap.end()
    assert exit_code in {-signal.SIGKILL, 0}
    assert_resumable(lines, emulator)
