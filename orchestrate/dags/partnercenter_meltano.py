"""Runs Meltano: `python partnercenter_meltano.py meltano --log-format=json el …`.

Nothing of it is left when this program ends, or whoever started it, for whatever reason. Meltano by
itself goes on when nobody reads its log any more, with tap and target.

Its exit code is Meltano's, except that 78 says that no retry can help: Meltano's is 1 whatever
failed, and only its log, as JSON, has that of the tap.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The tap's exit code for what no retry can help.
FINAL = 78
#: Seconds for tap and target to stop in order, before they are killed.
GRACE = 30.0
#: Seconds between two looks at who started this.
GLANCE = 0.2


def run(command: Sequence[str], grace: float = GRACE) -> int:
    """Run a command and what it starts, and pass on what it says.

    Returns:
        Its exit code; 128 and the number of the signal for one that was killed.
    """
    parent = os.getppid()
    stopped: list[int] = []
    # First of all: a signal that came between would leave the command alone.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: stopped.append(number))
    # Not with the group of this process, which has to outlive it.
    process = subprocess.Popen(  # noqa: S603 - given by who started this
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )

    def watch() -> None:
        while not stopped and os.getppid() == parent:
            time.sleep(GLANCE)
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
            # Nobody reads it. Meltano does not notice, and stops in order.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            stopped.append(signal.SIGPIPE)
    code = process.wait()
    stopped.append(0)
    watching.join()
    return FINAL if final else code if code >= 0 else 128 - code


def _end(group: int, grace: float) -> None:
    """End all processes of a group: first so that they can store what they have."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        until = time.monotonic() + grace
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(GLANCE)
        os.killpg(group, signal.SIGKILL)


def _is_final(line: bytes) -> bool:
    """Read what Meltano says of a tap that failed."""
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
