"""Servers with a quota, and runs of the tap against them, simulated without real waiting."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from math import ceil, inf
from typing import TYPE_CHECKING, Protocol

from tap_partnercenter.pacing import Pace, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

LATENCY = 0.1


class Quota(Protocol):
    """How a server counts requests."""

    def refuse(self, now: float) -> float | None:
        """Count a request; return None, or the seconds until one would be accepted."""


@dataclass
class FixedWindow:
    """A number of requests in each minute of the server's clock."""

    limit: float
    began: float = 0.0
    used: int = 0

    def refuse(self, now: float) -> float | None:
        if now >= self.began + 60:
            self.began, self.used = self.began + 60 * ((now - self.began) // 60), 0
        self.used += 1
        return None if self.used <= self.limit else self.began + 60 - now


@dataclass
class OpenedWindow(FixedWindow):
    """A window of a minute that opens with the first request after the previous one."""

    began: float = -inf

    def refuse(self, now: float) -> float | None:
        if now >= self.began + 60:
            self.began, self.used = now, 0
        return super().refuse(now)


@dataclass
class SlidingWindow:
    """A number of requests in any sixty seconds; with a penalty, refused ones count too."""

    limit: float
    penalty: bool = False
    times: deque[float] = field(default_factory=deque)

    def refuse(self, now: float) -> float | None:
        while self.times and (self.times[0] <= now - 60 or len(self.times) > self.limit):
            self.times.popleft()
        full = len(self.times) >= self.limit
        if not full or self.penalty:
            self.times.append(now)
        if full and self.penalty:
            self.times.popleft()
        return self.times[0] + 60 - now if full else None


@dataclass
class TokenBucket:
    """Tokens refilled evenly, up to a burst; with a penalty, a refused request costs one."""

    limit: float
    burst: float
    penalty: bool = False
    tokens: float = inf
    last: float = 0.0

    def refuse(self, now: float) -> float | None:
        rate = self.limit / 60
        self.tokens = min(self.burst, self.tokens + (now - self.last) * rate)
        self.last = now
        if self.tokens >= 1:
            self.tokens -= 1
            return None
        if self.penalty:
            self.tokens = max(-self.burst, self.tokens - 1)
        return (1 - self.tokens) / rate


@dataclass
class Late:
    """A quota that is enforced from some second on."""

    quota: Quota
    begins: float

    def refuse(self, now: float) -> float | None:
        return self.quota.refuse(now) if now >= self.begins else None


@dataclass
class Changing:
    """A quota that changes at some second, and perhaps changes back later."""

    quota: FixedWindow | SlidingWindow | TokenBucket
    at: float
    limit: float
    back_at: float = inf

    def __post_init__(self) -> None:
        self.before = self.quota.limit

    def refuse(self, now: float) -> float | None:
        self.quota.limit = self.limit if self.at <= now < self.back_at else self.before
        return self.quota.refuse(now)


@dataclass
class Shared:
    """A quota of which another client uses a steady part for a while."""

    quota: Quota
    every: float
    begins: float
    ends: float

    def refuse(self, now: float) -> float | None:
        while self.begins <= min(now, self.ends):
            self.quota.refuse(self.begins)
            self.begins += self.every
        return self.quota.refuse(now)


#: How a server states a wait.
RETRY_AFTER_FORMS: dict[str, Callable[[float], float | None]] = {
    "exactly": lambda wait: wait,
    "rounded up": ceil,
    "too short": lambda wait: wait / 2,
    "always a second": lambda _wait: 1.0,
    "not at all": lambda _wait: None,
}


class Process:
    """A run of the tap: its gate, its workers, and the results of its requests."""

    def __init__(  # noqa: PLR0913 - one name for each circumstance
        self,
        workers: int = 8,
        *,
        requests: float = inf,
        begins: float = 0.0,
        leaves: float = inf,
        latency: Callable[[float], float] = lambda _now: LATENCY,
        blocked: tuple[float, float] = (0.0, 0.0),
        ceiling: float | None = None,
        seed: int = 1,
    ) -> None:
        self.rng = random.Random(seed)  # noqa: S311
        self.pace = Pace(begins, ceiling, self.rng)
        self.idle, self.wanted, self.latency = workers, requests, latency
        self.begins, self.leaves, self.blocked = begins, leaves, blocked
        self.waiting = True
        self.blocked_until = 0.0
        self.in_flight = self.inside_retry_after = 0
        self.ended = inf
        self.accepted: list[float] = []
        self.refused: list[float] = []

    def used(self, start: float, end: float = inf) -> int:
        """Return how many requests were accepted in a period."""
        return sum(start <= time < end for time in self.accepted)

    def refused_share(self, start: float = 0, end: float = inf) -> float:
        """Return the share of requests refused in a period."""
        refused = sum(start <= time < end for time in self.refused)
        return refused / max(1, refused + self.used(start, end))

    def next_request_at(self, now: float) -> float:
        """Return when the next worker wants to send a request."""
        if now >= self.leaves:
            return inf
        start, end = self.blocked
        return end if start <= now < end else now


def simulate(
    quota: Quota, *processes: Process, minutes: float = 180, retry_after_form: str = "rounded up"
) -> Process:
    """Let workers send requests through gates, each as soon as its last answer arrives."""
    order = itertools.count()
    events: list[tuple[float, int, Process, Ticket | None, bool, float | None]] = []
    for process in processes:
        heapq.heappush(events, (process.begins, next(order), process, None, False, None))
    while events and (now := events[0][0]) < minutes * 60:
        _, _, process, ticket, refused, wait = heapq.heappop(events)
        if ticket is None:
            process.waiting = False
        else:
            process.idle += 1
            if refused:
                process.pace.refused(ticket, now, wait)
                process.blocked_until = max(process.blocked_until, now + (wait or 0))
                process.wanted += 1
            else:
                process.pace.accepted(ticket)
                process.ended = now
        while process.idle and process.wanted and not process.waiting:
            at = process.next_request_at(now)
            passed = process.pace.ask(now) if at <= now else at - now
            if not isinstance(passed, Ticket):
                # One worker waits at the gate, the others queue up after it.
                process.waiting = True
                if passed < inf:
                    again = (now + passed, next(order), process, None, False, None)
                    heapq.heappush(events, again)
                break
            process.idle -= 1
            process.wanted -= 1
            process.inside_retry_after += now < process.blocked_until
            seconds = quota.refuse(now)
            (process.accepted if seconds is None else process.refused).append(now)
            named = None if seconds is None else RETRY_AFTER_FORMS[retry_after_form](seconds)
            back = now + process.latency(now) * process.rng.uniform(0.75, 1.25)
            answer = (back, next(order), process, passed, seconds is not None, named)
            heapq.heappush(events, answer)
    return processes[0]
