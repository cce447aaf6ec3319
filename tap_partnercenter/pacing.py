"""One gate for all requests of a run: when the service asks for quiet, everybody is quiet."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tap_partnercenter.clock import Clock
    from tap_partnercenter.report import Report

#: Seconds to leave a throttling service alone that does not say how long.
UNNAMED_PAUSE = 5.0


class Gate:
    """Lets requests pass, or holds them while the service wants none."""

    def __init__(self, *, clock: Clock, report: Report, max_per_minute: int | None = None) -> None:
        """Start open; `max_per_minute` is a ceiling, None for none."""
        self._clock = clock
        self._report = report
        self._interval = 60.0 / max_per_minute if max_per_minute else 0.0
        self._lock = threading.Lock()
        self._opens_at = clock.monotonic()

    def enter(self) -> None:
        """Wait until the next request may be sent, and count it as sent."""
        while True:
            with self._lock:
                now = self._clock.monotonic()
                missing = self._opens_at - now
                if missing <= 0:
                    self._opens_at = now + self._interval
                    return
            self._report.waited(missing)
            self._clock.wait(missing)

    def close(self, seconds: float | None) -> float:
        """Keep the gate shut for so many seconds from now, at least as long as it is already.

        Returns:
            Seconds until it opens.
        """
        with self._lock:
            now = self._clock.monotonic()
            pause = UNNAMED_PAUSE if seconds is None else seconds
            self._opens_at = max(self._opens_at, now + pause)
            return self._opens_at - now
