"""Transient errors, throttling and outages: bounded retries, and nothing is lost."""

from __future__ import annotations

import itertools
import time
from email.utils import formatdate
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault, Options
from tests.command_line import QuickClock, run_tap
from tests.failures import (
    API,
    PLACES,
    assert_ids,
    assert_reported,
    assert_resumable,
    at,
    attempts,
    reused,
    sampled,
)
from tests.truth import assert_complete

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Broken, Start, Sync

PASSING: dict[str, dict[str, Any]] = {
    "reset": {"reset": True},
    "truncated body": {"truncate": True},
    "no JSON": {"not_json": True},
    "empty body": {"empty_body": True},
    "no object": {"json": ["a", "list"]},
    "another object": {"json": {"value": []}},
    "deep JSON": {"deep_json": 100_000},
    "no content": {"status": 204, "empty_body": True},
    "408": {"status": 408, "shape": "D"},
    "500": {"status": 500, "shape": "A", "code": 900192},
    "500 as text": {"status": 500, "shape": "A", "code": "900192"},
    "502": {"status": 502, "shape": "html"},
    "503": {"status": 503, "shape": "D"},
    "504": {"status": 504, "shape": "B"},
    "503 with Retry-After": {"status": 503, "shape": "D", "headers": {"Retry-After": "7"}},
    "429 without Retry-After": {"status": 429},
    "429 with seconds": {"status": 429, "headers": {"Retry-After": "57"}},
    "429 with nonsense": {"status": 429, "headers": {"Retry-After": "soon"}},
    "429 with another digit": {"status": 429, "headers": {"Retry-After": "²"}},
    "429 with a late year": {
        "status": 429,
        "headers": {"Retry-After": "Fri, 01 Jan 99999999999999999999 00:00:00 GMT"},
    },
}


# Retry


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        (fault, place)
        for fault, place in sampled(PASSING, API, always=["token"], each=2)
        # For a customer, an empty response is an answer: there are no relationships.
        if not (place == "relationships" and PASSING[fault].get("empty_body"))
    ],
)
def test_a_temporary_fault_does_not_change_the_messages(
    fault: str, place: Place, broken: Broken, sync: Sync
) -> None:
    """Anything that fails once is retried until it succeeds: after an answer, as a new request."""
    emulator = broken(Fault(place=place, times=1, **PASSING[fault]))
    result = sync(emulator, page_size=3)
    assert_complete(result, emulator)
    cut_short = fault == "truncated body"
    assert_ids(emulator, unanswered=[200] if cut_short else [0])
    assert result.levels("WARNING") == []
    assert "1 retry, " in result.log[-1]
    if place != "token":
        assert emulator.stats().tokens_issued == 1
        kept = [request.place for request in reused(emulator)]
        assert kept == ([place] if cut_short or fault == "reset" else [])


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("token", {"hang": 30}),
        ("continuation", {"hang": 30}),
        ("relationships", {"hang": 30}),
        ("token", {"drip": "body"}),
        ("customers", {"drip": "headers"}),
        ("continuation", {"drip": "body"}),
        ("relationships", {"drip": "trailers"}),
        ("resellers", {"drip": "continue"}),
    ],
)
def test_a_slow_or_missing_response_times_out_and_is_retried(
    place: Place, fault: dict[str, Any], broken: Broken, sync: Sync
) -> None:
    """request_timeout limits the whole response, not the time to its first or next byte."""
    emulator = broken(Fault(place=place, times=1, **fault))
    result = sync(emulator, page_size=3, request_timeout=1)
    assert_complete(result, emulator)
    assert "1 retry, " in result.log[-1]
    assert any("(timed out)" in line for line in result.log)
    assert [request.place for request in reused(emulator)] == [place] * (place != "token")


@pytest.mark.parametrize("seconds", [60.0, 3600.0])
def test_a_response_that_is_read_too_late_is_retried(
    seconds: float, broken: Broken, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process was stopped, or the machine asleep, exactly until the deadline or longer."""
    # The first response starts at 0 s.
    times = itertools.chain([0.0, seconds], iter(time.monotonic, None))
    late = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr("tap_partnercenter.deadline.time", late)
    emulator = broken()
    result = sync(emulator, request_timeout=60)
    assert_complete(result, emulator)
    assert "1 retry, " in result.log[-1]
    assert any("(timed out)" in line for line in result.log)


@pytest.mark.parametrize("place", PLACES)
def test_an_outage_ends_the_run_after_bounded_retries(
    place: Place, broken: Broken, sync: Sync
) -> None:
    """Retries continue for max_retry_seconds, with growing, jittered pauses; one line follows."""
    emulator = broken(Fault(place=place, status=503, shape="D"))
    # On the test's clock the waits of all threads add up.
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    tried = at(emulator, place)
    # A pause is 30 s on average and 60 s at most, which bounds the number of attempts.
    assert 15 < len(tried) < 100
    if place == "token":
        assert result.exit_code == 1
        assert result.error == (
            "sign-in: the token endpoint returned HTTP 503, after all retries. Try again later."
        )
    else:
        assert {request.status for request in tried} == {503}
        assert_reported(result, emulator, API[place], status=503)
        assert "Gave up after retrying for up to 900 s (max_retry_seconds)." in result.error
    # No pause starts that would outlast max_retry_seconds.
    assert 800 < sum(result.waits) <= 900
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("place", PLACES)
def test_without_retry_time_nothing_is_requested_twice(
    place: Place, broken: Broken, sync: Sync
) -> None:
    """Not even an immediate retry."""
    emulator = broken(Fault(place=place, status=500))
    result = sync(emulator, page_size=3, max_retry_seconds=0)
    assert result.exit_code == 1
    # Read the log now: some requests may still be in flight.
    asked = [request.request_id for request in at(emulator, place) if request.status == 500]
    assert len(set(asked)) == len(asked)
    assert result.waits == []
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", API)
def test_an_unreachable_service_is_reported_without_response_ids(
    place: Place, broken: Broken, sync: Sync
) -> None:
    """Without an answer the line still names the request and says what to check."""
    emulator = broken(Fault(place=place, reset=True))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert result.exit_code == 1
    host = emulator.url.removeprefix("http://")
    assert result.error.startswith(f"{API[place]}: no response from {host} (connection reset)")
    assert "Check the network and api_url." in result.error
    reported = result.error.partition("MS-RequestId ")[2][:36]
    statuses = [r.status for r in emulator.requests if r.request_id == reported]
    assert statuses == [0] * len(statuses)
    assert len(statuses) > 1
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("fault", ["not_json", "truncate", "empty_body"])
def test_a_response_that_stays_unreadable_is_an_error(
    fault: str, broken: Broken, sync: Sync
) -> None:
    """A 200 alone does not mean success."""
    action: dict[str, Any] = {fault: True}
    emulator = broken(Fault(place="continuation", **action))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert result.exit_code == 1
    assert result.error.startswith("customers: ")
    assert len(attempts(emulator, "continuation", 200)) > 1
    assert_resumable(result, emulator, sync)


# Wait


@pytest.mark.parametrize("place", API)
def test_retry_after_may_be_seconds(place: Place, broken: Broken, sync: Sync) -> None:
    """For each of two 429s in a row the tap waits as long as the service says."""
    emulator = broken(Fault(place=place, times=2, status=429, headers={"Retry-After": "57"}))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert_ids(emulator)
    assert [request.status for request in attempts(emulator, place, 429)] == [429, 429, 200]
    assert sum(result.waits) >= 2 * 56


def test_retry_after_may_be_a_date(broken: Broken, sync: Sync) -> None:
    """All three date formats of RFC 9110 are understood."""
    then = time.time() + 600
    moment = time.gmtime(then)
    forms = [
        formatdate(then, usegmt=True),
        time.strftime("%A, %d-%b-%y %H:%M:%S GMT", moment),
        time.strftime("%a %b %d %H:%M:%S %Y", moment),
    ]
    for form in forms:
        emulator = broken(
            Fault(place="customers", times=1, status=429, headers={"Retry-After": form}),
        )
        result = sync(emulator, page_size=3)
        assert_complete(result, emulator)
        assert 500 < sum(result.waits) < 650, form


@pytest.mark.parametrize("hours", [-2, 2, None])
def test_a_date_in_retry_after_is_of_the_services_clock(
    hours: int | None, broken: Broken, sync: Sync
) -> None:
    """It may differ from that of this machine; without a valid date, they are taken to agree."""
    now = time.time() + (hours or 0) * 3600
    date = "soon" if hours is None else formatdate(now, usegmt=True)
    headers = {"Date": date, "Retry-After": formatdate(now + 60)}
    emulator = broken(Fault(place="customers", times=1, status=429, headers=headers))
    result = sync(emulator, page_size=3)
    assert_complete(result, emulator)
    assert 50 < sum(result.waits) < 70


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("model", ["fixed_window", "sliding_window", "token_bucket"])
def test_no_request_is_sent_before_retry_after(form: str, model: str) -> None:
    """Under a quota each refusal is followed by a pause of the requested length."""
    ahead = 0.0

    class SharedClock(QuickClock):
        def wait(self, seconds: float) -> None:
            nonlocal ahead
            super().wait(seconds)
            ahead += max(0.0, seconds)

    options = Options(
        customers=8,
        resellers=1,
        requests_per_minute=6,
        retry_after=form,  # type: ignore[arg-type]
        quota_model=model,  # type: ignore[arg-type]
    )
    with Emulator(options, clock=lambda: time.time() + ahead) as emulator:
        config = {**emulator.tap_config(), "page_size": 3, "max_concurrent_requests": 1}
        result = run_tap(config=config, clock=SharedClock)
        assert_complete(result, emulator)
        assert emulator.stats().refused > 0
        assert emulator.stats().inside_retry_after == 0


@pytest.mark.parametrize("place", API)
def test_a_wait_beyond_the_limit_ends_the_run_at_once(
    place: Place, broken: Broken, sync: Sync
) -> None:
    """The tap does not sleep for a year: it says what the service asks for, and ends."""
    emulator = broken(Fault(place=place, status=429, headers={"Retry-After": "31536000"}))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert len(attempts(emulator, place, 429)) == 1
    assert_reported(result, emulator, API[place], status=429)
    assert "the service is throttling this tenant" in result.error
    assert "max_requests_per_minute" in result.error
    assert sum(result.waits) < 900
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("retry_after", ["0", None, "57", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_throttling_without_end_is_bounded(
    retry_after: str | None, broken: Broken, sync: Sync
) -> None:
    """Even a service that says "now" is not called in a hot loop."""
    headers = {"Retry-After": retry_after} if retry_after else None
    emulator = broken(Fault(place="customers", status=429, headers=headers))
    result = sync(emulator, page_size=3, max_retry_seconds=120)
    assert_reported(result, emulator, "customers", status=429)
    assert 2 <= len(at(emulator, "customers")) <= 130


def test_a_throttled_request_waits_while_others_are_accepted(start: Start, sync: Sync) -> None:
    """With a small quota, a request may need more attempts than max_retry_seconds allows."""
    busy = Fault(place="relationships", every=2, status=429, headers={"Retry-After": "300"})
    emulator = start(busy, customers=20)
    result = sync(emulator)
    assert_complete(result, emulator)
    assert sum(result.waits) > 5 * 900


@pytest.mark.parametrize("place", PLACES)
def test_throttling_of_one_endpoint_is_tolerated(place: Place, broken: Broken, sync: Sync) -> None:
    """Every third request is refused, and nothing is lost."""
    emulator = broken(Fault(place=place, every=3, status=429, headers={"Retry-After": "3"}))
    assert_complete(sync(emulator, page_size=3), emulator)
    assert_ids(emulator)
