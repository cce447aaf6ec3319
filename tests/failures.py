"""What the tests of failures share: the places where one can happen, and what must be said."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, TypeVar

from tests.truth import assert_whole, last_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from partnercenter_emulator import Emulator, LoggedRequest
    from partnercenter_emulator.faults import Place
    from tests.command_line import Result
    from tests.conftest import Sync

T = TypeVar("T")

#: Place of a request in the emulator's words, and the stream that asks there.
API: dict[Place, str] = {
    "customers": "customers",
    "continuation": "customers",
    "partition": "reseller_customers",
    "partition_continuation": "reseller_customers",
    "resellers": "indirect_resellers",
    "relationships": "customer_relationships",
}
PLACES: list[Place] = ["token", *API]
COLLECTIONS: list[Place] = [place for place in API if place != "relationships"]


def sampled(
    answers: Iterable[T],
    places: Iterable[Any],
    always: Sequence[Any] = (),
    each: int = 1,
) -> list[tuple[T, Any]]:
    """Pair each answer with `each` of the places in turn, and with those that are a path apart.

    One code path serves the places that take turns: all pairs would say the same many times.
    """
    turn = itertools.cycle(places)
    return [(answer, p) for answer in answers for p in (*always, *itertools.islice(turn, each))]


NO_REQUEST = re.compile(r"MS-CorrelationId ([0-9a-f-]{36}), MS-RequestId ([0-9a-f-]{36})")


def at(emulator: Emulator, place: Place) -> list[LoggedRequest]:
    return [request for request in emulator.requests if request.place == place]


def attempts(emulator: Emulator, place: Place, status: int) -> list[LoggedRequest]:
    """All attempts at the first request at a place that had this answer; 0 for a reset.

    Where others at the same address may come between, the run has one request at once.
    """
    first = next(request for request in at(emulator, place) if request.status == status)
    api = [request for request in emulator.requests if request.place != "token"]
    same = itertools.takewhile(lambda r: r.path == first.path, api[api.index(first) :])
    found: list[LoggedRequest] = []
    for request in same:
        found.append(request)
        if request.status != status:
            break
    return found


def assert_ids(emulator: Emulator, unanswered: Collection[int] = (0,)) -> None:
    """One correlation id for the run; a request id is kept until there is an answer."""
    api = [request for request in emulator.requests if request.place != "token"]
    assert len({request.correlation_id for request in api}) == 1
    assert {request.status for request in reused(emulator)} <= {*unanswered}


def reused(emulator: Emulator) -> list[LoggedRequest]:
    """The requests whose id a later request has too."""
    api = [request for request in emulator.requests if request.place != "token"]
    last = {request.request_id: request for request in api}
    return [request for request in api if last[request.request_id] is not request]


def assert_told(result: Result, emulator: Emulator, stream: str, *, status: int) -> None:
    """The last line names the stream and the ids of a request that was answered so."""
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert result.error.startswith(f"{stream}: ")
    assert f"HTTP {status}" in result.error
    found = NO_REQUEST.search(result.error)
    assert found is not None
    logged = [request for request in emulator.requests if request.request_id == found[2]]
    assert {request.correlation_id for request in logged} == {found[1]}
    assert {request.status for request in logged} == {status}


def assert_resumable(result: Result, emulator: Emulator, sync: Sync) -> None:
    """What was emitted stays, and the last STATE claims no more than that."""
    emulator.faults = ()
    lines = result.stdout.splitlines()
    again = sync(emulator, page_size=3, state=last_state(lines) or {})
    assert again.exit_code == 0
    assert_whole([*lines, *again.stdout.splitlines()], emulator)
