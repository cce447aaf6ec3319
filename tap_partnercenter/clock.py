"""Time as the tap sees it, so that a test can move it and a signal can cut a wait short."""

from __future__ import annotations

import threading
import time


class Cancelled(Exception):
    """The run ends; whoever waits stops waiting."""


class Clock:
    """Tells the time and waits. All times are seconds."""

    def __init__(self) -> None:
        """Start with nothing cancelled."""
        self._cancelled = threading.Event()

    def monotonic(self) -> float:
        """Return a time that never goes back, for measuring spans."""
        return time.monotonic()

    def now(self) -> float:
        """Return the time since the epoch, for comparing with dates of a server."""
        return time.time()

    def wait(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cancelled: If the run was cancelled before or meanwhile.
        """
        if self._cancelled.wait(min(max(0.0, seconds), threading.TIMEOUT_MAX)):
            raise Cancelled

    def cancel(self) -> None:
        """End all waits, now and later."""
        self._cancelled.set()
