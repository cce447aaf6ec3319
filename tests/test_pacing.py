"""Pacing, simulated against servers whose quota the tap does not know. No time passes."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Protocol

import pytest

from tap_partnercenter.pacing import Pace, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

LATENCY = 0.1


class Quota(Protocol):
    """A server's way of counting."""

    def refuse(self, now: float) -> float | None:
        """Count a request; return None, or the seconds of its Retry-After."""


@dataclass
class FixedWindow:
    """So many requests in each minute of the server's clock; refused ones count too."""

    limit: int
    began: float = 0.0
    used: int = 0

    def refuse(self, now: float) -> float | None:
        while now >= self.began + 60:
            self.began, self.used = self.began + 60, 0
        self.used += 1
        return None if self.used <= self.limit else ceil(self.began + 60 - now)


@dataclass
class SlidingWindow:
    """So many requests in any sixty seconds; refused ones count too."""

    limit: int
    times: deque[float] = field(default_factory=deque)

    def refuse(self, now: float) -> float | None:
        while self.times and self.times[0] <= now - 60:
            self.times.popleft()
        if len(self.times) < self.limit:
            self.times.append(now)
            return None
        self.times.append(now)
        over = len(self.times) - self.limit
        return ceil(self.times[over] + 60 - now)


@dataclass
class TokenBucket:
    """Tokens that come back evenly, up to a burst; a refused request costs one too."""

    limit: int
    burst: float
    tokens: float = -1.0
    last: float = 0.0

    def refuse(self, now: float) -> float | None:
        if self.tokens == -1.0:
            self.tokens = self.burst
        rate = self.limit / 60
        self.tokens = min(self.burst, self.tokens + (now - self.last) * rate) - 1
        self.last = now
        if self.tokens >= 0:
            return None
        self.tokens = max(self.tokens, -self.burst)
        return ceil((1 - self.tokens) / rate)


@dataclass
class Shared:
    """A quota of which another client takes a steady part."""

    quota: Quota
    every: float
    next: float = 0.0

    def refuse(self, now: float) -> float | None:
        while self.next <= now:
            self.quota.refuse(self.next)
            self.next += self.every
        return self.quota.refuse(now)


@dataclass
class Outcome:
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    inside_retry_after: int = 0

    def used(self, start: float, end: float) -> int:
        return sum(start <= time < end for time in self.accepted)


def simulate(
    quota: Quota,
    *,
    workers: int,
    minutes: float,
    name_the_wait: bool = True,
    ceiling: float | None = None,
) -> Outcome:
    """Let workers send requests through a gate, each as soon as it has its last answer."""
    pace = Pace(0.0, ceiling, random.Random(1))  # noqa: S311
    outcome = Outcome()
    quiet_until = asks_at = 0.0
    idle = workers
    order = itertools.count()
    answers: list[tuple[float, int, Ticket, float | None]] = []
    while True:
        # Next is an answer, or the worker at the gate that asks again.
        now = min([*(answer[0] for answer in answers[:1]), *([asks_at] if idle else [])])
        if now >= minutes * 60:
            return outcome
        while answers and answers[0][0] <= now:
            _, _, ticket, retry_after = heapq.heappop(answers)
            idle += 1
            if retry_after is None:
                pace.accepted(ticket)
            else:
                pace.refused(ticket, now, retry_after if name_the_wait else None)
                quiet_until = max(quiet_until, now + retry_after)
        while idle and asks_at <= now:
            answer = pace.ask(now)
            if not isinstance(answer, Ticket):
                asks_at = now + answer
                break
            idle -= 1
            # The client knows of a pause once it has read the refusal that names it.
            outcome.inside_retry_after += name_the_wait and now < quiet_until
            refusal = quota.refuse(now + LATENCY / 2)
            (outcome.accepted if refusal is None else outcome.refused).append(now)
            heapq.heappush(answers, (now + LATENCY, next(order), answer, refusal))


MODELS: dict[str, Callable[[int], Quota]] = {
    "fixed window": FixedWindow,
    "fixed window, met in its middle": lambda limit: FixedWindow(limit, began=-40.0),
    "sliding window": SlidingWindow,
    "token bucket of a minute": lambda limit: TokenBucket(limit, burst=limit),
    "token bucket of some seconds": lambda limit: TokenBucket(limit, burst=limit / 10),
}


@pytest.mark.parametrize("workers", [8, 32])
@pytest.mark.parametrize("limit", [500, 3000])
@pytest.mark.parametrize("model", MODELS)
def test_an_unknown_quota_is_used_and_respected(model: str, limit: int, workers: int) -> None:
    """95 % of it after the first minute, 1 % refused in the long run, none inside Retry-After."""
    outcome = simulate(MODELS[model](limit), workers=workers, minutes=20)
    share = outcome.used(60, 1200) / (limit * 19)
    refused = len(outcome.refused) / (len(outcome.refused) + len(outcome.accepted))
    assert share >= 0.95, (share, refused)
    assert refused <= 0.01, (share, refused)
    assert outcome.inside_retry_after == 0


@pytest.mark.parametrize("workers", [8, 32])
@pytest.mark.parametrize("limit", [500, 3000])
@pytest.mark.parametrize("model", MODELS)
def test_a_run_of_one_minute_is_seldom_refused(model: str, limit: int, workers: int) -> None:
    """At most 5 % of the requests, or what was under way when a very small bucket ran dry."""
    outcome = simulate(MODELS[model](limit), workers=workers, minutes=1)
    total = len(outcome.refused) + len(outcome.accepted)
    small = limit / 10 < 2 * workers and "some seconds" in model
    assert len(outcome.refused) <= max(0.05 * total, 2 * workers if small else 0)


@pytest.mark.parametrize("workers", [8, 32])
def test_a_quota_that_others_use_too(workers: int) -> None:
    """The rest of it is found; what the others take is left to them."""
    quota = Shared(FixedWindow(600), every=0.3)
    outcome = simulate(quota, workers=workers, minutes=30)
    assert outcome.used(60, 1800) / (400 * 29) >= 0.93
    refused = len(outcome.refused) / (len(outcome.refused) + len(outcome.accepted))
    assert refused <= 0.01


def test_a_server_that_names_no_wait_is_asked_more_and_more_seldom() -> None:
    """One request at a time tries whether the quota is open again."""
    outcome = simulate(FixedWindow(500), workers=8, minutes=20, name_the_wait=False)
    assert len(outcome.refused) <= 0.02 * len(outcome.accepted)
    assert outcome.used(60, 1200) / (500 * 19) >= 0.75


def test_without_a_quota_nothing_is_held_back() -> None:
    """As many requests as the workers can send."""
    outcome = simulate(FixedWindow(10**9), workers=32, minutes=1)
    assert len(outcome.accepted) >= 0.995 * 32 / LATENCY * 60


@pytest.mark.parametrize("workers", [1, 8, 32])
@pytest.mark.parametrize("ceiling", [7, 500])
def test_a_ceiling_holds_in_every_minute(ceiling: int, workers: int) -> None:
    """`max_requests_per_minute` is never exceeded, wherever the minute begins."""
    outcome = simulate(
        FixedWindow(10**9),
        workers=workers,
        minutes=10,
        ceiling=ceiling / 61,
    )
    times = outcome.accepted
    spans = zip(times, times[ceiling:], strict=False)
    assert all(later - earlier >= 60 for earlier, later in spans)
    assert len(times) >= 0.95 * ceiling * 10


def test_a_late_refusal_only_prolongs_the_pause() -> None:
    """What was sent before the last refusal says nothing of the rate after it."""
    pace = Pace(0.0)
    early, late = pace.ask(0.0), pace.ask(0.0)
    assert isinstance(early, Ticket)
    assert isinstance(late, Ticket)
    assert pace.refused(early, 1.0, 2.0) == 2.0
    rate = pace.rate
    assert not isinstance(pace.ask(3.0), Ticket)
    assert pace.refused(late, 4.0, 5.0) == 5.0
    assert pace.rate == rate
    assert pace.ask(8.0) == 1.0
    assert isinstance(pace.ask(9.0), Ticket)


def test_a_quota_that_grows_is_found() -> None:
    """After the other client has gone, the tap takes its part within minutes."""

    @dataclass
    class Growing:
        before: FixedWindow
        after: FixedWindow

        def refuse(self, now: float) -> float | None:
            return (self.before if now < 600 else self.after).refuse(now)

    outcome = simulate(Growing(FixedWindow(500), FixedWindow(1500)), workers=8, minutes=30)
    assert outcome.used(1500, 1800) / (1500 * 5) >= 0.9
