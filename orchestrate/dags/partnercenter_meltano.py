"""Runs Meltano: `python partnercenter_meltano.py meltano --log-format=json el …`.

No process of it remains when this program ends, or the one that started it, for whatever reason.
On its own, Meltano continues with tap and target when nobody reads its log any more.

The exit code is Meltano's, except for 78, which means that a retry cannot help: Meltano's is 1 for
any failure, and only its log, as JSON, contains that of the tap.
"""

# ruff: noqa: INP001 - no package: started by its path
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The tap's exit code for a failure that a retry cannot fix.
FINAL = 78
#: The tap's program.
TAP = b"tap-partnercenter"
#: Seconds for tap and target to stop cleanly before they are killed.
GRACE = 30.0
#: Seconds between checks of the parent process.
POLL_SECONDS = 0.2


def run(command: Sequence[str], grace: float = GRACE) -> int:
    """Run a command and its child processes, and forward its output.

    Returns:
        Its exit code; 128 plus the number of the signal if it was killed.
    """
    parent = os.getppid()
    stopped: list[int] = []
    # This comes first: a signal in between would leave the command running alone.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: stopped.append(number))
    # Not in the group of this process, which has to outlive it.
    process = subprocess.Popen(  # noqa: S603 - given by who started this
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )

    def watch() -> None:
        while not stopped and os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        _end(process.pid, grace)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    final = False
    for line in process.stdout or ():
        final = final or _is_final(line)
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        except OSError:
            # Nobody reads it. Meltano does not notice, and stops cleanly.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            stopped.append(signal.SIGPIPE)
    code = process.wait()
    stopped.append(0)
    watching.join()
    return FINAL if final else code if code >= 0 else 128 - code


def _end(group: int, grace: float) -> None:
    """End all processes of a group, giving them time to store their data first.

    Half of the time is for the tap alone. When it ends, the target stores what it has, and Meltano
    the state that the target reports. If Meltano is stopped itself, it drops that state.
    """
    with suppress(ProcessLookupError):
        if taps := _taps(group):
            for process in taps:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
            grace /= 2
            _wait(group, grace)
        os.killpg(group, signal.SIGTERM)
        _wait(group, grace)
        os.killpg(group, signal.SIGKILL)


def _wait(group: int, seconds: float) -> None:
    """Wait for the end of a group, which raises ProcessLookupError."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        os.killpg(group, 0)
        time.sleep(POLL_SECONDS)


def _taps(group: int) -> list[int]:
    """Return the taps in a group of processes; none on a system without /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # It is a script: the first argument is the interpreter.
            program = (folder / "cmdline").read_bytes().split(b"\0")[:2]
            if os.getpgid(int(folder.name)) == group and TAP in map(os.path.basename, program):
                found.append(int(folder.name))
    return found


def _is_final(line: bytes) -> bool:
    """Return whether Meltano's log line reports an exit code of the tap that is final."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return (
        isinstance(entry, dict)
        and entry.get("event") == "Extraction failed"
        and entry.get("code") == FINAL
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
