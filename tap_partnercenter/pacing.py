"""Staying within a quota that is not known.

The vendor publishes one figure (500 requests per minute and tenant for the resource Customer, "API
throttling guidance for partners calling Partner Center APIs"), also counts refused requests, and
answers 429 with `Retry-After`. So all requests of a run pass through one gate:

- A 429 closes it for every thread until the time the server gave. Then one request goes first, and
  each accepted one allows one more in flight. If it is refused again, a random delay is added.
- The requests accepted between two refusals, pauses included, give the rate that the service
  allows. The rate recovers to it within seconds, stays there, then probes upwards, slowly at
  first and ever faster: a curve like that of CUBIC (RFC 9438).
- Probing adds the same amount to a small rate as to a large one, and a refusal multiplies, so
  processes that share a quota converge to equal parts (Chiu and Jain, 1989). Probing is bold at
  first, so that they converge within a short run, and more cautious after each refusal.
- A rate grows only while it is used (RFC 7661). If latency or the target is the limit, it stays.

`tests/test_pacing.py` simulates it against several ways of counting.
"""

from __future__ import annotations

import math
import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_partnercenter.errors import TryAgain
from tap_partnercenter.outcomes import THROTTLED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_partnercenter.clock import Clock
    from tap_partnercenter.report import Report

#: Seconds to pause if the service names no time, doubled at each refusal, and their maximum.
DEFAULT_PAUSE, MAX_DEFAULT_PAUSE = 5.0, 120.0
#: Limits for catching up after our own delays: seconds of the rate, and requests (small quotas).
CREDIT, _CREDIT_REQUESTS = 0.2, 3

#: Length of a window in seconds: the vendor counts per minute.
_MINUTE = 60.0
#: Share of the measured rate to return to.
_SAFETY_FACTOR = 0.99
#: Share of that rate to start with after a refusal, and minimum share of the former rate to keep.
_DECREASE_FACTOR = 0.85
#: Seconds in which the rate recovers half of the difference.
_RECOVERY_HALF_LIFE = 5.0
#: Requests per second that each second of probing adds at first …
_PROBE_INCREASE = 0.002
#: … seconds in which that doubles, so that a lost or doubled rate is found within a minute …
_PROBE_DOUBLING = 8.0
#: … seconds of probing skipped after the first refusal: six doublings …
_HEAD_START = 48.0
#: … reduced by this after each further refusal …
_HEAD_START_DECREASE = 5.0
#: … until the rate stays constant for this many seconds before it probes.
_MAX_PLATEAU = 40.0
#: Maximum share of the rate added per second of probing, so that a small rate does not overshoot.
_MAX_GROWTH = 0.15
#: Minimum requests per second: recovering from a lower rate would take too long.
_MIN_RATE = 0.1
#: Maximum seconds of unused rate to remember.
_MAX_IDLE = 10.0
#: Requests in flight at the start, and accepted requests that allow one more.
_INITIAL_IN_FLIGHT, _ACCEPTED_PER_INCREASE = 10, 4
#: Seconds between checks while a request waits for another one's response.
_POLL_INTERVAL = 0.01


@dataclass(slots=True)
class Ticket:
    """A request that may be sent, and how it ended.

    Attributes:
        epoch: How often the gate had closed when it was sent …
        sent_at: … and when that was.
        refused: Whether the service responded that there were too many requests.
        pause: Seconds that the service asks us to wait; afterwards, seconds until the gate opens.
    """

    epoch: int
    sent_at: float
    refused: bool = False
    pause: float | None = None

    def refuse(self, retry_after: float | None) -> None:
        """Record a refusal, and the pause in seconds that it asked for, if any."""
        self.refused, self.pause = True, retry_after


class Pace:
    """Decides when the next request may be sent. Has no clock or threads: times are passed in."""

    def __init__(
        self, now: float, ceiling: float | None = None, rng: random.Random | None = None
    ) -> None:
        """Begin without a limit.

        Args:
            now: Seconds on any clock.
            ceiling: Maximum requests per second, None for no maximum.
            rng: Randomness that keeps processes sharing a quota out of step.
        """
        self._ceiling = ceiling
        self._rng = rng or random.Random()  # noqa: S311
        self._rate: float | None = None
        self._sustained = _SustainedRate(now)
        #: When the last pause that the service asked for ends.
        self.opens_at = self._next_slot = now
        self._epoch = 0
        self._accepted = 0
        self._in_flight = 0
        self._refusals = 0
        # The curve after a refusal: its target, and the seconds of probing at its start and now,
        # which are negative while the rate stays constant.
        self._target = 0.0
        self._start = self._age = _HEAD_START
        # Whether a request waits for a slot, and seconds of slots that were not used.
        self._slot_awaited = False
        self._idle = 0.0

    @property
    def rate(self) -> float | None:
        """Requests per second that are allowed; None while there is no limit."""
        return min((rate for rate in (self._rate, self._ceiling) if rate is not None), default=None)

    def ask(self, now: float) -> Ticket | float:
        """Ask to send a request.

        Returns:
            A ticket to send it with, or seconds after which to ask again.
        """
        if now < self.opens_at:
            return self.opens_at - now
        if self._in_flight >= self._max_in_flight():
            # Slots that pass in the meantime are lost.
            self._next_slot = max(self._next_slot, now)
            return _POLL_INTERVAL
        rate = self.rate
        if rate is not None:
            if self._next_slot > now:
                self._slot_awaited = True
                return self._next_slot - now
            self._take_slot(now, 1 / rate)
        self._in_flight += 1
        return Ticket(self._epoch, now)

    def accepted(self, ticket: Ticket) -> None:
        """Record a response that was not a refusal, or a request without a response."""
        self._in_flight -= 1
        current = ticket.epoch == self._epoch
        self._sustained.accepted(ticket, current=current)
        if current:
            self._accepted += 1
            self._refusals = 0

    def refused(self, ticket: Ticket, now: float, retry_after: float | None) -> float:
        """Record a refusal, and the pause in seconds that it asked for, if any.

        Returns:
            Seconds until the gate opens.
        """
        self._in_flight -= 1
        current = ticket.epoch == self._epoch
        doubled = 2.0 ** min(self._refusals, 10)
        if retry_after is None:
            retry_after = min(DEFAULT_PAUSE * doubled, MAX_DEFAULT_PAUSE)
        elif self._epoch and not self._accepted and current:
            # Refused at the first attempt: others who share the quota resumed at the same moment.
            # Where refusals count too, all of them would be refused forever.
            apart = doubled / min(self._rate or 1.0, 1.0)
            retry_after += self._rng.uniform(0, min(apart, _MINUTE))
        self.opens_at = max(self.opens_at, now + retry_after)
        # Requests in flight at a refusal are refused as well, and only extend the pause.
        if current:
            # The very first responses show what the quota had left, not its rate.
            if self._accepted >= (1 if self._epoch else _INITIAL_IN_FLIGHT):
                self._set_target(now)
            elif self._rate is not None:
                self._rate = max(self._rate * _DECREASE_FACTOR, _MIN_RATE)
            self._refusals += 1
            self._epoch += 1
            self._accepted = 0
        else:
            self._sustained.began = self.opens_at
        self._next_slot = self.opens_at
        if self._rate is not None and self._epoch > 1:
            # Others who share the quota resume at the same moment.
            self._next_slot += self._rng.uniform(0, 1 / self._rate)
        self._slot_awaited = False
        return self.opens_at - now

    def _set_target(self, now: float) -> None:
        """Set the curve that leads back to the rate that the service allowed."""
        duration, sustained = self._sustained.measure(self.opens_at)
        if self._rate is None:
            self._target = self._rate = max(sustained * _SAFETY_FACTOR, _MIN_RATE)
            return
        # The measured rate may be low by chance, after a short time or with a shared quota.
        active = 1 - (self.opens_at - now) / duration
        least = max(self._rate * _DECREASE_FACTOR * active, _MIN_RATE)
        # A second refusal during the recovery does not lower the target.
        most = max(self._rate, self._target)
        self._target = max(min(sustained * _SAFETY_FACTOR, most), least)
        self._rate = self._target * _DECREASE_FACTOR
        self._start = self._age = max(self._start - _HEAD_START_DECREASE, -_MAX_PLATEAU)

    def _take_slot(self, now: float, length: float) -> None:
        lost = now - min(CREDIT, _CREDIT_REQUESTS * length) - self._next_slot
        if lost > 0:
            self._next_slot += lost
            self._idle = min(self._idle + lost, _MAX_IDLE)
        self._next_slot += length
        if self._slot_awaited:
            self._slot_awaited = False
            if self._idle > 0:
                self._idle -= length
            elif self._rate is not None and self._rate == self.rate:
                self._rate = self._next_rate(self._rate, length)

    def _next_rate(self, rate: float, passed: float) -> float:
        """Follow the curve: recover to the target, stay there, then probe upwards."""
        self._age += passed
        if rate < self._target:
            rate += (self._target - rate) * (1 - math.exp2(-passed / _RECOVERY_HALF_LIFE))
        if self._age <= 0:
            return rate
        added = _PROBE_INCREASE * math.exp2(min(self._age / _PROBE_DOUBLING, 100))  # capped below
        return rate + passed * min(added, rate * _MAX_GROWTH)

    def _max_in_flight(self) -> float:
        if self._epoch:
            return 1 + self._accepted
        return _INITIAL_IN_FLIGHT + self._accepted // _ACCEPTED_PER_INCREASE


class _SustainedRate:
    """Measures the rate that the service allows, at each refusal, as the larger of two rates.

    That since the previous refusal fits any way of counting, unless another process was favoured.
    That of the last minute fits if a window was entered midway, or the rate was much lower.
    """

    def __init__(self, now: float) -> None:
        #: When the last pause ended.
        self.began = now
        self._accepted = 0
        self._throttled_since = float("-inf")
        #: Accepted requests in each second of the last minute, possibly also earlier seconds.
        self._seconds: dict[int, int] = {}

    def accepted(self, ticket: Ticket, *, current: bool) -> None:
        """Count a request, and whether it was sent since the previous refusal."""
        second = int(ticket.sent_at)
        self._seconds[second] = self._seconds.get(second, 0) + 1
        if len(self._seconds) > _MINUTE:
            del self._seconds[next(iter(self._seconds))]
        self._accepted += current

    def measure(self, end: float) -> tuple[float, float]:
        """Return the seconds from the end of one pause to the end of the next, and the rate."""
        duration = max(end - self.began, 1e-3)
        # The time before the first refusal says nothing about the quota.
        start = max(end - _MINUTE, self._throttled_since)
        minute = sum(number for second, number in self._seconds.items() if second >= start)
        sustained = max(self._accepted / duration, minute / max(end - start, 1e-3))
        if self._throttled_since == float("-inf"):
            self._throttled_since = end
        self.began, self._accepted = end, 0
        return duration, sustained


class Gate:
    """The one gate of a run: blocks threads until their request may be sent."""

    def __init__(
        self, *, clock: Clock, report: Report, max_seconds: float, max_per_minute: int | None = None
    ) -> None:
        """Start open; `max_seconds` is the longest pause to wait for."""
        self._clock = clock
        self._max_seconds = max_seconds
        self._report = report
        # Even with requests that catch up, no minute has more requests than allowed.
        ceiling = max_per_minute / (_MINUTE + CREDIT) if max_per_minute else None
        self._pace = Pace(clock.monotonic(), ceiling)
        self._lock = threading.Lock()
        # One thread waits at the gate, the others for that one: not all need to wake at each slot.
        self._queue_lock = threading.Lock()
        #: When the service last accepted a request; at first, when the run began.
        self.accepted_at = clock.monotonic()

    @contextmanager
    def attempt(self) -> Iterator[Ticket]:
        """Wait until the next request may be sent, and record how it ends.

        Raises:
            Cancelled: If the run ends in the meantime.
            TryAgain: If the service asks for a longer wait than `max_seconds`.
        """
        ticket = self._enter()
        try:
            yield ticket
            if not ticket.refused:
                self.accepted_at = self._clock.monotonic()
        finally:
            with self._lock:
                if ticket.refused:
                    now = self._clock.monotonic()
                    ticket.pause = self._pace.refused(ticket, now, ticket.pause)
                    self._report.throttled(ticket.pause)
                else:
                    self._pace.accepted(ticket)

    def _enter(self) -> Ticket:
        with self._queue_lock:
            while True:
                with self._lock:
                    now = self._clock.monotonic()
                    pause = self._pace.opens_at - now
                    result = self._pace.ask(now)
                if isinstance(result, Ticket):
                    return result
                # The time until the next slot is our own, and at most a minute.
                if pause > self._max_seconds:
                    reason = f"HTTP 429 on another request: {THROTTLED.meaning}"
                    raise TryAgain(THROTTLED, reason, retry_after=pause)
                self._report.wait(result)
