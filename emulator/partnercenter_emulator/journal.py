"""What an emulator remembers of its requests; never a secret."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import msgspec

from .responses import as_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from .calls import Call


class LoggedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request with its response.

    `at` is the time of arrival by the emulator's clock and `seconds` how long the response took;
    `status` is 0 if the connection was cut instead; `request_id` and `correlation_id` are those of
    the response.
    """

    number: int
    at: float
    seconds: float
    method: str
    path: str
    place: str
    status: int
    request_id: str
    correlation_id: str
    user_agent: str
    has_token: bool


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start or the last reset.

    `by_place` counts statuses (as text; "0" for a cut connection) for each place. In-flight figures
    and `inside_retry_after` are for the API, not the token endpoint; the latter counts requests
    that arrived before the time named by a 429 of the same quota. `processor_seconds` is the CPU
    time of the emulator's process since its start, which a reset does not change.
    """

    requests: int
    by_place: dict[str, dict[str, int]]
    in_flight: int
    most_in_flight: int
    refused: int
    inside_retry_after: int
    tokens_issued: int
    first_request_at: float | None
    last_request_at: float | None
    processor_seconds: float


class Journal:
    """Counts requests and remembers the latest."""

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.requests: deque[LoggedRequest] = deque(maxlen=size)
        self._in_flight = 0
        self._tokens_before = 0
        self._closed_until: dict[str, float] = {}
        self.reset(tokens_issued=0)

    def reset(self, tokens_issued: int) -> None:
        """Forget everything but the requests in flight."""
        self.requests.clear()
        self._closed_until.clear()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._total = 0
        self._most_in_flight = self._in_flight
        self._inside = 0
        self._tokens_before = tokens_issued
        self._first_at: float | None = None
        self._last_at: float | None = None

    def arrive(self, call: Call, scope: str) -> None:
        """Record a request's arrival; `scope` names the quota it counts against."""
        now = call.arrived_at
        self._total += 1
        call.number = self._total
        if self._first_at is None:
            self._first_at = now
        self._last_at = now
        if call.place != "token":
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)
            if self._closed_until and now < self._closed_until.get(scope, 0):
                self._inside += 1

    def close(self, scope: str, until: float) -> None:
        """Record that a 429 asked the client to wait until this time."""
        self._closed_until[scope] = until

    def leave(self, call: Call, status: int) -> None:
        """Record the response to a request; 0 for a cut connection."""
        if call.place != "token":
            self._in_flight -= 1
        self._counts[call.place, status] += 1
        self.requests.append(
            LoggedRequest(
                number=call.number,
                at=call.arrived_at,
                seconds=self._clock() - call.arrived_at,
                method=call.method,
                path=call.target,
                place=call.place,
                status=status,
                request_id=call.request_id,
                correlation_id=call.correlation_id,
                user_agent=call.header(b"user-agent"),
                has_token=bool(call.bearer),
            )
        )

    def stats(self, tokens_issued: int) -> Stats:
        """Return the counts."""
        by_place: dict[str, dict[str, int]] = {}
        for (place, status), count in sorted(self._counts.items()):
            by_place.setdefault(place, {})[str(status)] = count
        return Stats(
            requests=self._total,
            by_place=by_place,
            in_flight=self._in_flight,
            most_in_flight=self._most_in_flight,
            refused=sum(n for (_, status), n in self._counts.items() if status == 429),  # noqa: PLR2004
            inside_retry_after=self._inside,
            tokens_issued=tokens_issued - self._tokens_before,
            first_request_at=self._first_at,
            last_request_at=self._last_at,
            processor_seconds=time.process_time(),
        )


def as_json_lines(records: list[Any]) -> bytes:
    """Return records as JSON lines."""
    return b"".join(as_json(record) + b"\n" for record in records)
