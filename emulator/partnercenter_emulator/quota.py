"""Three ways of counting requests against a quota."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .options import Options


class _Meter(Protocol):
    def admit(self, now: float) -> float:
        """Count one request; return 0 to allow it, otherwise the seconds until one is allowed."""


class _FixedWindow:
    """A number of requests in a window that opens with the first request after the previous one."""

    def __init__(self, options: Options) -> None:
        self._limit, self._window = options.requests_per_minute, options.window_seconds
        self._opened, self._used = float("-inf"), 0

    def admit(self, now: float) -> float:
        if now >= self._opened + self._window:
            self._opened, self._used = now, 0
        self._used += 1
        return 0 if self._used <= self._limit else self._opened + self._window - now


class _SlidingWindow:
    """A number of requests in any period as long as the window."""

    def __init__(self, options: Options) -> None:
        self._window, self._count_refused = options.window_seconds, options.count_refused
        self._times: deque[float] = deque(maxlen=options.requests_per_minute)

    def admit(self, now: float) -> float:
        times = self._times
        full = len(times) == times.maxlen and now < times[0] + self._window
        if not full or self._count_refused:
            times.append(now)
        return times[0] + self._window - now if full else 0


class _TokenBucket:
    """A bucket that fills evenly, with a window's quota per window, up to its size."""

    def __init__(self, options: Options) -> None:
        self._rate = options.requests_per_minute / options.window_seconds
        self._size = float(options.burst or options.requests_per_minute)
        self._count_refused = options.count_refused
        self._level, self._filled_at = self._size, float("-inf")

    def admit(self, now: float) -> float:
        if now > self._filled_at:
            gained = (now - self._filled_at) * self._rate
            self._level, self._filled_at = min(self._size, self._level + gained), now
        if self._level >= 1:
            self._level -= 1
            return 0
        if self._count_refused:
            # Refusals go into debt, but never more than one bucket.
            self._level = max(-self._size, self._level - 1)
        return (1 - self._level) / self._rate


_MODELS: dict[str, type[_FixedWindow | _SlidingWindow | _TokenBucket]] = {
    "fixed_window": _FixedWindow,
    "sliding_window": _SlidingWindow,
    "token_bucket": _TokenBucket,
}


class Quota:
    """Separate quotas by key, all of the same model and size."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._meters: dict[str, _Meter] = {}

    def admit(self, key: str, now: float) -> float:
        """Count one request against the quota `key`.

        Returns:
            0 to allow it, otherwise the seconds until one is allowed.
        """
        options = self._options
        if not options.requests_per_minute:
            return 0
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = _MODELS[options.quota_model](options)
        return meter.admit(now)
