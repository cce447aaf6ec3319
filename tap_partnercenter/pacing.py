"""Keeping to the service's quota without knowing it.

The vendor publishes one figure (500 requests a minute and tenant for the resource Customer, "API
throttling guidance for partners calling Partner Center APIs"), counts refused requests too, and
answers 429 with `Retry-After`. So all requests of a run pass one gate:

- A 429 shuts it for everybody until the time the server named; then one request goes ahead, and the
  others follow when it was answered.
- What was accepted between two refusals, over the time between them, is the rate that the service
  bears, pauses included. The gate stays a little below it and probes upwards slowly.

`tests/test_pacing.py` simulates it against several ways of counting.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_partnercenter.clock import Clock
    from tap_partnercenter.report import Report

#: Seconds to leave a throttling service alone that does not say how long; doubled at each refusal.
UNNAMED_PAUSE = 5.0
#: Longest such pause, in seconds.
LONGEST_UNNAMED_PAUSE = 120.0

#: Seconds for which a quota is taken to hold until more is known: the vendor speaks of minutes.
_MINUTE = 60.0
#: Share of the rate learnt that is used.
_CAUTION = 0.98
#: Part of the rate below which one refusal does not push it.
_DEEPEST_FALL = 0.5
#: Seconds in which the rate doubles while only one refusal has taught anything …
_DOUBLING = 10.0
#: … and its growth in a minute afterwards, which doubles each minute without a refusal.
_GROWTH = 0.02
_FASTEST_GROWTH = 0.3
#: Seconds of the rate that may be caught up after a delay of our own.
_CREDIT = 1.0
#: Requests of a minute, as published, at which a first refusal is likely …
_PUBLISHED_QUOTA = 500
#: … and how many may be under way then, since all of them would be refused.
_FEW = 16
#: Seconds after which a request that waits for another's answer looks again.
_LOOK_AGAIN = 0.01


@dataclass(slots=True)
class Ticket:
    """A request under way, and the time between two refusals in which it was sent."""

    epoch: int


class Pace:
    """Decides when the next request may go. Knows no clock and no thread: times are told to it."""

    def __init__(
        self,
        now: float,
        ceiling: float | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """Begin without a limit.

        Args:
            now: Seconds on any clock.
            ceiling: Requests a second that are never exceeded, None for none.
            chance: By which processes that share a quota get out of step; a simulation gives its
                own.
        """
        self._ceiling = ceiling
        self._chance = chance or random.Random()  # noqa: S311
        self._rate: float | None = None
        self._opens_at = now
        self._next_slot = now
        self._epoch = 0
        self._epoch_began = now
        self._accepted = 0
        self._under_way = 0
        self._refusals = 0
        self._last_growth = now
        self._growth = _GROWTH

    @property
    def rate(self) -> float | None:
        """Requests a second that are let through; None while there is no limit."""
        rates = [rate for rate in (self._rate, self._ceiling) if rate is not None]
        return min(rates) if rates else None

    def ask(self, now: float) -> Ticket | float:
        """Ask to send a request.

        Returns:
            A ticket to send it with, or seconds after which to ask again.
        """
        if now < self._opens_at:
            return self._opens_at - now
        if self._under_way >= self._most_under_way():
            return _LOOK_AGAIN
        self._grow(now)
        rate = self.rate
        if rate is not None:
            slot = max(self._next_slot, now - _CREDIT)
            if slot > now:
                return slot - now
            self._next_slot = slot + 1 / rate
        self._under_way += 1
        return Ticket(self._epoch)

    def accepted(self, ticket: Ticket) -> None:
        """Take note of an answer that was no refusal, or of none at all."""
        self._under_way -= 1
        if ticket.epoch == self._epoch:
            self._accepted += 1
            self._refusals = 0

    def refused(self, ticket: Ticket, now: float, retry_after: float | None) -> float:
        """Take note of a refusal.

        Args:
            ticket: Of the request that was refused.
            now: When the answer came.
            retry_after: Seconds that the server wants to be left alone, None if it named none.

        Returns:
            Seconds until the gate opens.
        """
        self._under_way -= 1
        doubled = 2.0 ** min(self._refusals, 10)
        if retry_after is None:
            retry_after = min(UNNAMED_PAUSE * doubled, LONGEST_UNNAMED_PAUSE)
        elif self._epoch and not self._accepted and ticket.epoch == self._epoch:
            # Refused as soon as it came back: others who share the quota came back at the same
            # moment. Where refusals count too, all of them would be refused for ever.
            retry_after += self._chance.uniform(0, min(doubled, _MINUTE))
        self._opens_at = max(self._opens_at, now + retry_after)
        # What was under way at a refusal is refused as well, and only prolongs the pause: nothing
        # new is sent before the last of it was answered.
        if ticket.epoch == self._epoch:
            self._learn()
        self._epoch_began = self._last_growth = self._next_slot = self._opens_at
        return self._opens_at - now

    def _learn(self) -> None:
        """Begin a new epoch, with the rate that the last one bore, its pause included."""
        if self._accepted:
            lasted = self._opens_at - self._epoch_began
            if self._rate is None:
                self._rate = self._accepted / max(lasted, _MINUTE) * _CAUTION
            else:
                borne = self._accepted / max(lasted, 1e-3) * _CAUTION
                self._rate = max(borne, self._rate * _DEEPEST_FALL)
        self._refusals += 1
        self._epoch += 1
        self._accepted = 0
        self._growth = _GROWTH

    def _grow(self, now: float) -> None:
        """Probe upwards: fast while little is known, then slowly, and more the longer it lasts."""
        passed = now - self._last_growth
        if self._rate is None or passed <= 0:
            return
        if self._epoch == 1:
            self._rate *= 2.0 ** (passed / _DOUBLING)
        else:
            self._rate *= 1 + self._growth * min(passed, 60) / 60
            self._growth = min(self._growth * 2.0 ** (passed / 60), _FASTEST_GROWTH)
        self._last_growth = now

    def _most_under_way(self) -> float:
        if self._epoch and not self._accepted:
            return 1
        if self._epoch == 0 and self._accepted < _PUBLISHED_QUOTA <= self._accepted + 2 * _FEW:
            return _FEW
        return float("inf")


class PauseTooLong(Exception):
    """The service wants to be left alone for longer than the run may wait.

    Attributes:
        seconds: Until the gate opens.
    """

    def __init__(self, seconds: float) -> None:
        """Keep the time."""
        super().__init__(seconds)
        self.seconds = seconds


class Gate:
    """The one gate of a run: holds threads back until their request may go."""

    def __init__(
        self,
        *,
        clock: Clock,
        report: Report,
        max_seconds: float,
        max_per_minute: int | None = None,
    ) -> None:
        """Start open.

        Args:
            clock: Tells the time, and waits.
            report: Is told of waits.
            max_seconds: Longest pause to wait for.
            max_per_minute: A ceiling, None for none.
        """
        self._clock = clock
        self._max_seconds = max_seconds
        self._report = report
        # With what may be caught up, no minute has more requests than the ceiling allows.
        ceiling = max_per_minute / (_MINUTE + _CREDIT) if max_per_minute else None
        self._pace = Pace(clock.monotonic(), ceiling)
        self._lock = threading.Lock()
        # One thread waits at the gate, the others behind it: they need not all wake for each slot.
        self._turnstile = threading.Lock()

    @contextmanager
    def passage(self) -> Iterator[Passage]:
        """Wait until the next request may be sent, and stand by while it is.

        Raises:
            Cancelled: If the run ends meanwhile.
            PauseTooLong: If the service wants to be left alone for longer than that.
        """
        passage = Passage(self._enter())
        try:
            yield passage
        finally:
            with self._lock:
                if passage.refused:
                    now = self._clock.monotonic()
                    passage.pause = self._pace.refused(passage.ticket, now, passage.pause)
                    self._report.throttled(passage.pause)
                else:
                    self._pace.accepted(passage.ticket)

    def _enter(self) -> Ticket:
        with self._turnstile:
            while True:
                with self._lock:
                    answer = self._pace.ask(self._clock.monotonic())
                if isinstance(answer, Ticket):
                    return answer
                if answer > max(self._max_seconds, _MINUTE + _CREDIT):
                    raise PauseTooLong(answer)
                self._report.wait(answer)


@dataclass(slots=True)
class Passage:
    """A request on its way through the gate.

    Attributes:
        ticket: With which it was let through.
        refused: Whether the service answered that there were too many.
        pause: Seconds that it wants to be left alone; behind the gate, seconds until it opens.
    """

    ticket: Ticket
    refused: bool = False
    pause: float | None = None

    def refuse(self, retry_after: float | None) -> None:
        """Take note of a refusal, and of the seconds it named, if any."""
        self.refused, self.pause = True, retry_after
