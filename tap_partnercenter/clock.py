"""Time as the tap sees it: tests can move it, and a signal can cut a wait short."""

from __future__ import annotations

import queue
import threading
import time


class Cancelled(Exception):
    """The run ends; all waits stop."""


class Clock:
    """Reads the time and waits. All times are in seconds."""

    def __init__(self) -> None:
        #: Not empty once the run has ended. Not a `threading.Event`: a signal inside one of its
        #: methods would leave it locked.
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

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
        try:
            self._ended.get(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        except queue.Empty:
            return
        self.cancel()  # for the other waiting threads
        raise Cancelled

    def cancel(self) -> None:
        """End all waits, now and later."""
        self._ended.put(None)
