"""The tap's clock: tests replace it, and a signal ends its waits."""

from __future__ import annotations

import queue
import threading
import time
from datetime import UTC, datetime

#: Seconds since the epoch at which the monotonic clock was 0, by the machine's clock at the start.
_ZERO = time.time() - time.monotonic()


def record_time() -> datetime:
    """Return the time for records, in UTC: it never goes back, even if the machine's clock is set.

    A record that is extracted after a reading began must not seem older than that reading.
    """
    return datetime.fromtimestamp(_ZERO + time.monotonic(), UTC)


class Cancelled(Exception):
    """The run has ended, and with it every wait."""


class Clock:
    """Reads the time and waits. All times are in seconds."""

    def __init__(self) -> None:
        #: Not empty once the run has ended. Not a `threading.Event`: a signal inside one of its
        #: methods would leave it locked.
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def monotonic(self) -> float:
        """Return a time that never goes back, for measuring durations."""
        return time.monotonic()

    def now(self) -> float:
        """Return the time since the epoch, for comparing with a server's dates."""
        return time.time()

    def wait(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cancelled: If the run has ended, or ends in the meantime.
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
