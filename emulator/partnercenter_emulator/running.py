"""Runs another command alongside the emulator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
EXIT_SIGNAL = 128
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGBREAK")
FROM_THE_KEYBOARD = ("SIGINT", "SIGQUIT", "SIGBREAK")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def without_proxy(environment: Mapping[str, str], url: str) -> dict[str, str]:
    """Return variables that exempt an emulator's URL from proxies.

    Args:
        environment: Variables whose exemptions are kept.
        url: The emulator's URL.
    """
    # Both spellings; requests and curl prefer the first.
    kept = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in kept.split(",") if host.strip()]
    if "*" not in hosts:
        own = (urlsplit(url).hostname or "", *LOOPBACK)
        hosts += [host for host in dict.fromkeys(own) if host not in hosts]
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(hosts))


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command, forward signals to it, and return its exit code as a shell would.

    Returns:
        The command's exit code; 128 plus the signal's number if a signal ended it; 126 or 127
        if it could not be run or does not exist.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif not _reaches_command(number):
            child.send_signal(number)

    before = {
        getattr(signal, name): signal.signal(getattr(signal, name), forward)
        for name in FORWARDED
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


def _reaches_command(number: int) -> bool:
    """Return whether a signal from its terminal or console reaches the command without us.

    On Windows nothing else sends these, and `Popen.send_signal` rejects them.
    """
    if signal.Signals(number).name not in FROM_THE_KEYBOARD:
        return False
    if sys.platform == "win32":
        return True
    try:
        # Standard input may be anything; this is the terminal whose keys send signals.
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
