"""Killed or stopped by a signal: whole lines, correct exit codes, nothing lost."""

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
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partnercenter_emulator import Emulator, Fault, Options
from tap_partnercenter.clock import Clock
from tests.command_line import run_tap
from tests.processes import PATIENCE, Tap, assert_resumable, started, without_coverage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from tests.conftest import Start

pytestmark = pytest.mark.slow

#: Ten minutes: a pause that the signal cuts short.
LATER = {"Retry-After": "600"}
EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}
#: The emulator's fourth customer, first on the second page.
FOURTH = str([*Emulator(Options(customers=4)).customers()][3]["id"])


@contextmanager
def own_handlers() -> Iterator[None]:
    """Restore the signal handlers that a tap in this process replaces."""
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_until_full(tap: Tap, size: int) -> None:
    """Let the tap run until a pipe is nearly full: some room is lost between the pieces."""
    held = array.array("i", [0])
    while held[0] < size * 3 // 4:
        assert tap.process.poll() is None
        time.sleep(0.005)
        fcntl.ioctl(tap.output, termios.FIONREAD, held)


@pytest.mark.parametrize(
    ("fault", "until", "number"),
    [
        # While the tap signs in there is nothing to lose, but the exit code still counts.
        (Fault(place="token", hang=PATIENCE), "SCHEMA", signal.SIGINT),
        (Fault(place="token", hang=PATIENCE), "SCHEMA", signal.SIGTERM),
        (Fault(place="relationships", hang=PATIENCE), "RECORD", signal.SIGTERM),
        (Fault(place="continuation", skip=1, hang=PATIENCE), "STATE", signal.SIGINT),
        (Fault(place="relationships", customer_id=FOURTH, hang=PATIENCE), "STATE", signal.SIGTERM),
        (Fault(place="resellers", hang=PATIENCE), "STATE", signal.SIGINT),
        (Fault(place="partition", expire_token=True, times=1), "STATE", signal.SIGTERM),
        (Fault(place="partition", status=429, headers=LATER), "STATE", signal.SIGINT),
        (Fault(place="partition", status=429, headers=LATER), "STATE", signal.SIGTERM),
    ],
    ids=[
        *("sign-in", "sign-in to be terminated", "first page", "page", "child"),
        *("second stream", "token", "pause", "pause to be terminated"),
    ],
)
def test_a_signal_ends_the_run_at_once_and_says_so(
    fault: Fault, until: str, number: signal.Signals, start: Start
) -> None:
    """Whole lines, the last consistent STATE, and the exit code that a shell expects."""
    slow_token = Fault(place="token", skip=1, hang=PATIENCE)
    emulator = start(fault, slow_token, customers=8, resellers=1)
    with started(emulator) as tap:
        tap.read_until(f'"type":"{until}"'.encode())
        tap.process.send_signal(number)
        exit_code, lines, stderr = tap.end()
    assert exit_code == EXIT_CODES[number]
    assert tap.read.endswith(b"\n")
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    assert "interrupted: " in stderr.splitlines()[-1]
    if until != "STATE":
        # The tap is waiting, so it has counted what it has written.
        records = sum(json.loads(line)["type"] == "RECORD" for line in lines)
        assert f"interrupted: {records} records, " in stderr.splitlines()[-1]
    assert_resumable(lines, emulator)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_ends_the_run_unless_it_is_ignored(
    ignored: bool,  # noqa: FBT001
    start: Start,
) -> None:
    """It has its own log line and exit code; under `nohup` the run continues."""
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
def test_a_signal_while_the_target_is_slow_leaves_complete_lines(
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
    number: signal.Signals, start: Start
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
    assert " interrupted: " in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    assert_resumable(lines, emulator)


@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_cuts_a_wait_short(number: signal.Signals, start: Start) -> None:
    """The signal comes while the tap waits, as the service asked."""

    class InterruptingClock(Clock):
        def wait(self, seconds: float) -> None:
            signal.raise_signal(number)
            super().wait(seconds)

    emulator = start(Fault(place="continuation", status=429, headers=LATER))
    config = {**emulator.tap_config(), "page_size": 3, "max_concurrent_requests": 1}
    with own_handlers():
        result = run_tap(config=config, clock=InterruptingClock)
    assert result.exit_code == EXIT_CODES[number]
    assert result.log[-1].startswith("interrupted: ")
    # None of the ten minutes that the service asked for has passed.
    assert ", 0 s waited, " in result.log[-1]
    assert_resumable(result.stdout.splitlines(), emulator)


@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_signal_while_a_block_is_written_comes_after_it(
    number: signal.Signals, start: Start
) -> None:
    """The target gets the whole block, and then only what ends the run."""

    class InterruptingTarget(io.BytesIO):
        def write(self, block: Buffer) -> int:
            written = super().write(block)
            if b'"type":"STATE"' in self.getvalue():
                signal.raise_signal(number)
            return written

    emulator = start(customers=8, resellers=1)
    with own_handlers():
        config = {**emulator.tap_config(), "page_size": 3}
        result = run_tap(config=config, target=InterruptingTarget())
    assert result.exit_code == EXIT_CODES[number]
    assert result.messages[-1]["type"] == "STATE"
    assert result.counts["STATE"] == 1
    assert result.log[-1].startswith("interrupted: ")
    assert_resumable(result.stdout.splitlines(), emulator)


#: Ends the tap by a signal as soon as its waiting takes a lock.
INTERRUPTED_IN_A_LOCK = """
import signal, sys, threading

def interrupt(frame, event, argument):
    waits = event == "call" and frame.f_code is threading.Condition.wait.__code__
    if waits or event == "c_call" and argument.__name__ == "get":
        if threading.current_thread() is threading.main_thread():
            sys.setprofile(None)
            signal.raise_signal(signal.SIGTERM)

sys.argv[0] = "tap-partnercenter"
from tap_partnercenter.clock import Clock
from tap_partnercenter.tap import TapPartnerCenter

class InterruptingClock(Clock):
    def wait(self, seconds):
        sys.setprofile(interrupt)
        super().wait(seconds)

TapPartnerCenter.clock_class = InterruptingClock
TapPartnerCenter.cli()
"""


def test_a_signal_needs_no_lock_that_the_interrupted_code_holds(start: Start) -> None:
    """Even in the first lines of a wait, the tap ends instead of deadlocking."""
    emulator = start(Fault(place="continuation", status=429, headers=LATER))
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_A_LOCK, "--config=ENV"],
        env={
            **without_coverage(),
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


def test_nothing_is_requested_after_the_end(start: Start) -> None:
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
def test_a_killed_tap_resumes_from_the_last_complete_state(seed: int, start: Start) -> None:
    """SIGKILL at any byte: the target's rows and the next run's add up to everything."""
    rng = random.Random(seed)  # noqa: S311
    emulator = start(customers=40, resellers=2, latency=0.002)
    with started(emulator) as tap:
        size = rng.randrange(5_000, 45_000)
        while len(tap.read) < size and (block := os.read(tap.output, size - len(tap.read))):
            tap.read += block
        tap.process.kill()
        exit_code, lines, _ = tap.end()
    assert exit_code in {-signal.SIGKILL, 0}
    assert_resumable(lines, emulator)
