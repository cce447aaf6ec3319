"""Running another command with the emulator at its side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
EXIT_SIGNAL = 128
PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command, pass signals on to it, and return its exit code as a shell would.

    Returns:
        The command's exit code; 128 and the signal's number when a signal ended it; 126 or 127
        when it could not be run or does not exist.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif not (number == signal.SIGINT and _terminal_sends_it()):
            child.send_signal(number)

    before = {
        getattr(signal, name): signal.signal(getattr(signal, name), pass_on)
        for name in PASSED_ON
        if hasattr(signal, name)
    }
    try:
        child = subprocess.Popen(command, env=dict(environment))  # noqa: S603 - it is what we are for
        for number in early:
            child.send_signal(number)
        code = child.wait()
    except OSError as error:
        reason = "command not found" if isinstance(error, FileNotFoundError) else error.strerror
        sys.stderr.write(f"partnercenter-emulator: {command[0]}: {reason}\n")
        return EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_EXECUTABLE
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return EXIT_SIGNAL - code if code < 0 else code


def _terminal_sends_it() -> bool:
    """Tell whether Ctrl-C reaches the command without us: it does in a terminal's foreground."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):
        return False
