"""Shared by the tests of failures: the places where one can happen, and the expected messages."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, TypeVar

from partnercenter_emulator import Fault
from tests.truth import assert_all_records, last_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from partnercenter_emulator import Emulator, LoggedRequest
    from partnercenter_emulator.faults import Place
    from tests.command_line import Result
    from tests.conftest import Sync

T = TypeVar("T")

#: A request's place in the emulator's terms, and the stream that sends it.
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
    answers: Iterable[T], places: Iterable[Any], always: Sequence[Any] = (), each: int = 1
) -> list[tuple[T, Any]]:
    """Pair each answer with `each` of the places in turn, and with those of a separate code path.

    The places in turn share one code path, so testing all pairs would be redundant.
    """
    turn = itertools.cycle(places)
    return [(answer, p) for answer in answers for p in (*always, *itertools.islice(turn, each))]


NO_REQUEST = re.compile(r"MS-CorrelationId ([0-9a-f-]{36}), MS-RequestId ([0-9a-f-]{36})")


def at(emulator: Emulator, place: Place) -> list[LoggedRequest]:
    return [request for request in emulator.requests if request.place == place]


def attempts(emulator: Emulator, place: Place, status: int) -> list[LoggedRequest]:
    """All attempts at the first request at a place with this status; 0 for a reset.

    If others at the same address could come in between, the run has one concurrent request.
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


def revocations(emulator: Emulator) -> list[Fault]:
    """Faults that revoke the token once at each customer: as many sign-ins."""
    return [
        Fault(place="relationships", customer_id=str(each["id"]), times=1, expire_token=True)
        for each in emulator.customers()
    ]


def assert_ids(emulator: Emulator, unanswered: Collection[int] = (0,)) -> None:
    """Check that the run has one correlation id, and retries without an answer keep their id."""
    api = [request for request in emulator.requests if request.place != "token"]
    assert len({request.correlation_id for request in api}) == 1
    assert {request.status for request in reused(emulator)} <= {*unanswered}


def reused(emulator: Emulator) -> list[LoggedRequest]:
    """The requests whose id is used again later."""
    api = [request for request in emulator.requests if request.place != "token"]
    last = {request.request_id: request for request in api}
    return [request for request in api if last[request.request_id] is not request]


def assert_refused(result: Result, why: str, stream: str = "customers") -> None:
    """Check that the run failed with one line, which names the stream and says why."""
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert "Unexpected" not in result.error
    assert result.error.startswith(f"{stream}: ")
    assert why in result.error


def assert_reported(result: Result, emulator: Emulator, stream: str, *, status: int) -> None:
    """Check that the last line names the stream and the ids of a request with this answer."""
    assert_refused(result, f"HTTP {status}", stream)
    found = NO_REQUEST.search(result.error)
    assert found is not None
    logged = [request for request in emulator.requests if request.request_id == found[2]]
    assert {request.correlation_id for request in logged} == {found[1]}
    assert {request.status for request in logged} == {status}


def assert_resumable(result: Result, emulator: Emulator, sync: Sync) -> None:
    """Check that the records stay emitted, and that the last STATE claims no more."""
    emulator.faults = ()
    lines = result.stdout.splitlines()
    again = sync(emulator, page_size=3, state=last_state(lines) or {})
    assert again.exit_code == 0
    assert_all_records([*lines, *again.stdout.splitlines()], emulator)
