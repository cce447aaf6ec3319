"""Retries of one request: how soon it is sent again, and for how long."""

from __future__ import annotations

import datetime as dt
import email.utils
import functools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import backoff

from tap_partnercenter.errors import TryAgain
from tap_partnercenter.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests
    from backoff.types import Details

    from tap_partnercenter.clock import Clock
    from tap_partnercenter.pacing import Gate
    from tap_partnercenter.report import Report

P = ParamSpec("P")
T = TypeVar("T")

#: Longest pause before the next attempt, in seconds.
MAX_PAUSE = 60.0
#: New tokens for a request of those of which the service refuses only a share.
_MAX_TOKENS = 5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The retry policy of one run: repeats calls within a time limit.

    Attributes:
        gate: Tells whether a service that throttles a request accepts others.
        max_seconds: For each request, including retries and waits.
    """

    clock: Clock
    report: Report
    gate: Gate
    max_seconds: float

    def requested_pause(self, response: requests.Response) -> float | None:
        """Return the seconds to wait that a response asks for, None if it does not.

        `Retry-After` holds seconds or an HTTP date (RFC 9110, section 10.2.3).
        """
        text = response.headers.get("Retry-After", "").strip()
        # `isdigit` alone accepts digits of other scripts; 20 digits are not a duration.
        if text.isascii() and text.isdigit():
            return float(text[:12])
        until = _moment(text)
        if until is None:
            return None
        # The date is by the service's clock, which may differ from ours.
        sent = _moment(response.headers.get("Date", ""))
        return max(0.0, until - (self.clock.now() if sent is None else sent))

    def with_retries(self, call: Callable[P, T]) -> Callable[P, T]:
        """Return the call, repeated while it raises :class:`TryAgain` and time is left.

        When no time is left, the last :class:`TryAgain` is raised.
        """

        @functools.wraps(call)
        def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
            retries = _Retries(self)
            # Neither a signal nor a test can interrupt the sleep of `backoff`, so its wait is zero
            # and `on_backoff` pauses instead.
            decorated = backoff.on_exception(
                backoff.constant,
                TryAgain,
                interval=0,
                jitter=None,
                giveup=retries.is_exhausted,
                on_backoff=retries.pause,
                logger=None,
            )(call)
            return decorated(*args, **kwargs)

        return repeated


class _Retries:
    """The retries of one request."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._clock = policy.clock
        self._deadline = policy.clock.monotonic() + policy.max_seconds
        self._tries = 0
        self._refusals = 0
        self._tokens = 0
        self._next_pause = 0.0

    def is_exhausted(self, error: Exception) -> bool:
        """Decide after a failed attempt whether to try again, and how soon."""
        error = cast("TryAgain", error)
        if error.rule.outcome is Outcome.REFRESH:
            # A new token is worth one attempt; a second refusal has another reason. If only a share
            # of the requests is refused, more attempts get through.
            self._next_pause = 0.0
            self._tokens += 1
            return self._tokens > (_MAX_TOKENS if error.rule.intermittent else 1)
        named = error.retry_after or 0.0
        if error.rule.outcome is Outcome.WAIT:
            # The gate holds back all requests, including this one. It pauses for itself only if the
            # service throttles without naming a time, which would otherwise be a busy loop.
            self._refusals += 1
            self._next_pause = 0.0 if named >= 1 else _jittered(self._refusals)
            # With a small quota, other requests may be accepted in its place again and again.
            policy = self._policy
            deadline = max(self._deadline, policy.gate.accepted_at + policy.max_seconds)
            return self._clock.monotonic() + named + self._next_pause > deadline
        self._tries += 1
        self._next_pause = max(named, _jittered(self._tries))
        return self._clock.monotonic() + self._next_pause > self._deadline

    def pause(self, details: Details) -> None:
        """Wait before the next attempt."""
        error = cast("TryAgain", details["exception"])
        # Throttling is logged separately, and an expired token is not a failure.
        temporary = error.rule.outcome is Outcome.RETRY
        report = self._policy.report
        report.retried(error.reason if temporary else None, self._policy.max_seconds)
        report.live_logger.debug(
            "Attempt %d failed: %s. Next in %.1f seconds.",
            details["tries"],
            error,
            self._next_pause,
        )
        if self._next_pause:
            report.wait(self._next_pause)


def _jittered(attempts: int) -> float:
    """Return a random pause (full jitter) that grows with attempts: clients get out of step."""
    return random.uniform(0, min(MAX_PAUSE, 2.0 ** min(attempts - 1, 10)))  # noqa: S311


def _moment(text: str) -> float | None:
    """Parse an HTTP date: seconds since the epoch, None if it is not one."""
    try:
        # It is always UTC, even in the oldest of the three forms, which does not say so.
        return email.utils.parsedate_to_datetime(text).replace(tzinfo=dt.UTC).timestamp()
    except (ValueError, OverflowError):
        return None
