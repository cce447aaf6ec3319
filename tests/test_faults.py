"""The fault matrix: each row of the table of failures, at each place where it can happen."""

from __future__ import annotations

import errno
import itertools
import os
import re
import time
from collections import Counter
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault, Options
from tests.command_line import QuickClock, catalog_of, run_tap
from tests.truth import assert_complete, assert_whole, held, last_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from partnercenter_emulator import LoggedRequest
    from partnercenter_emulator.faults import Place
    from tests.command_line import Result
    from tests.conftest import Start, Sync

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
}
REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "app-only": (
        {"status": 403, "code": 900329},
        "HTTP 403, code 900329: this endpoint does not accept app-only credentials",
        "Set refresh_token (App+User credentials)",
    ),
    "program": ({"status": 403, "code": 900149}, "program", "Renew the enrolment"),
    "role": ({"status": 403, "code": "900150"}, "code 900150: the user's role", "Admin agent"),
    "privileges": ({"status": 403, "code": 900308}, "role does not allow", "Admin agent"),
    "denied": ({"status": 403, "code": 2032}, "role does not allow", "Admin agent"),
    "policy": ({"status": 403, "code": 900309}, "conditional access", "policies"),
    "behind": ({"status": 403, "code": 90000}, "conditional access", "policies"),
    "not implemented": ({"status": 501}, "HTTP 501, code 0: ", "Deselect the stream"),
    "method": ({"status": 405, "shape": "C"}, "HTTP 405: the service refused", "support"),
    "conflict": ({"status": 409, "shape": "B"}, "HTTP 409: the service refused", "support"),
    "bad input": ({"status": 400, "code": 2000}, "code 2000: the service calls", "page_size"),
    "bad request": ({"status": 400, "shape": "C"}, "HTTP 400: the service refused", "support"),
}
#: Refusals that concern one customer where they come for one customer's relationships.
INDIVIDUAL: dict[str, tuple[dict[str, Any], str]] = {
    "20002": ({"status": 403, "code": 20002}, "HTTP 403, code 20002: the partner has no commerce"),
    "20002 as text": ({"status": 403, "code": "20002"}, "HTTP 403, code 20002: the partner"),
    "1002": ({"status": 403, "code": 1002}, "HTTP 403, code 1002: authorization failed"),
    "1000": ({"status": 404, "code": 1000}, "HTTP 404, code 1000: the service does not show"),
    "60003": ({"status": 404, "code": 60003}, "HTTP 404, code 60003: the service does not show"),
    "3000": ({"status": 400, "code": 3000}, "HTTP 400, code 3000: the service knows no relation"),
    "gateway": ({"status": 404, "shape": "B"}, "HTTP 404: the service does not show"),
    "no body": ({"status": 403, "shape": "D"}, "HTTP 403: the service does not show"),
    "html": ({"status": 404, "shape": "html"}, "HTTP 404: the service does not show"),
}
SIGN_IN: dict[int, tuple[int, str, str]] = {
    700082: (400, "invalid_grant", "unused for 90 days. Consent again, with MFA"),
    70008: (400, "invalid_grant", "The refresh token expired. Consent again"),
    50173: (400, "invalid_grant", "was revoked"),
    50076: (400, "invalid_grant", "needs MFA"),
    50078: (400, "invalid_grant", "MFA of the sign-in is too old"),
    50079: (400, "invalid_grant", "register for MFA"),
    700007: (400, "invalid_grant", "belongs to another app"),
    70000: (400, "invalid_grant", "malformed"),
    65001: (400, "invalid_grant", "Nobody consented to this app"),
    53003: (400, "invalid_grant", "Conditional access blocks"),
    7000215: (401, "invalid_client", "set its value, not its id"),
    7000222: (401, "invalid_client", "client secret has expired"),
    7000218: (401, "invalid_client", "client secret is missing"),
    700016: (400, "unauthorized_client", "Check client_id and tenant_id"),
    90002: (400, "invalid_request", "no such tenant"),
    9002327: (400, "invalid_request", "single-page app"),
    500011: (400, "invalid_resource", "Check cloud"),
}
NO_REQUEST = re.compile(r"MS-CorrelationId ([0-9a-f-]{36}), MS-RequestId ([0-9a-f-]{36})")


@pytest.fixture
def broken(start: Start) -> Callable[..., Emulator]:
    """Three pages of customers, of which the one reseller has three as well, and faults."""

    def breaks(*faults: Fault) -> Emulator:
        return start(*faults, customers=8, resellers=1)

    return breaks


def at(emulator: Emulator, place: Place) -> list[LoggedRequest]:
    return [request for request in emulator.requests if request.place == place]


def attempts(emulator: Emulator, place: Place, status: int) -> list[LoggedRequest]:
    """All requests with the id of the first one at a place that had this answer; 0 for a reset."""
    first = next(request for request in at(emulator, place) if request.status == status)
    same = [request for request in emulator.requests if request.request_id == first.request_id]
    assert {(request.path, request.place) for request in same} == {(first.path, place)}
    return same


def assert_ids(emulator: Emulator) -> None:
    """One correlation id for the run; a request id for each logical request, kept on retries."""
    api = [request for request in emulator.requests if request.place != "token"]
    assert len({request.correlation_id for request in api}) == 1
    ends: dict[str, int] = {}
    for request in api:
        # A request id is used again only as long as no answer of use has come.
        assert ends.get(request.request_id, 503) not in {200, 403, 404}
        ends[request.request_id] = request.status if request.status != 200 else 503


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


# Retry


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_leaves_no_trace_in_the_messages(
    fault: str,
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Whatever fails once is asked again, under the same request id, until it is there."""
    emulator = broken(Fault(place=place, times=1, **PASSING[fault]))
    result = sync(emulator, page_size=3)
    assert_complete(result, emulator)
    assert_ids(emulator)
    assert result.levels("WARNING") == []
    assert "1 retries" in result.log[-1]
    if place != "token":
        times = Counter(request.request_id for request in at(emulator, place))
        (asked_again,) = [request_id for request_id, count in times.items() if count == 2]
        tries = [r for r in emulator.requests if r.request_id == asked_again]
        assert len({request.path for request in tries}) == 1


@pytest.mark.parametrize("place", ["token", "continuation", "relationships"])
def test_a_request_without_an_answer_is_given_up_and_asked_again(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """An answer that does not come within request_timeout counts as none."""
    emulator = broken(Fault(place=place, times=1, hang=30))
    result = sync(emulator, page_size=3, request_timeout=1)
    assert_complete(result, emulator)
    assert "1 retries" in result.log[-1]


@pytest.mark.parametrize("place", PLACES)
def test_an_outage_ends_the_run_after_bounded_retries(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Twelve attempts with growing, jittered pauses; then one line, and a state to go on from."""
    emulator = broken(Fault(place=place, status=503, shape="D"))
    result = sync(emulator, page_size=3)
    if place == "token":
        assert len(at(emulator, place)) == 12
        assert result.exit_code == 1
        assert result.error == (
            "sign-in: the token endpoint answered HTTP 503, after all retries. Try again later; "
            "the setting max_retry_seconds gives it more time."
        )
    else:
        # Others may be under way meanwhile, and end with the run.
        told = NO_REQUEST.search(result.error)
        assert told is not None
        assert [r.status for r in emulator.requests if r.request_id == told[2]] == [503] * 12
        assert_told(result, emulator, API[place], status=503)
        assert "Retried until patience ended." in result.error
        assert "the setting max_retry_seconds gives it more time" in result.error
    pauses = result.waits
    assert len(pauses) >= 11
    assert max(pauses) <= 60
    assert len(set(pauses)) > 5
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("place", PLACES)
def test_patience_is_bounded_in_time_as_well(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """With max_retry_seconds 0 nothing is asked twice."""
    emulator = broken(Fault(place=place, status=500))
    result = sync(emulator, page_size=3, max_retry_seconds=0)
    assert result.exit_code == 1
    assert len(
        {request.request_id for request in at(emulator, place) if request.status == 500}
    ) == len([request for request in at(emulator, place) if request.status == 500])
    assert result.waits == []
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", API)
def test_an_unreachable_service_is_told_without_ids_of_an_answer(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Without any answer the line still names the request, and what to look at."""
    emulator = broken(Fault(place=place, reset=True))
    result = sync(emulator, page_size=3)
    assert result.exit_code == 1
    assert result.error.startswith(f"{API[place]}: no answer (ConnectionError)")
    assert "Check the network, proxy and api_url" in result.error
    told = result.error.partition("MS-RequestId ")[2][:36]
    assert [r.status for r in emulator.requests if r.request_id == told] == [0] * 12
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("fault", ["not_json", "truncate", "empty_body"])
def test_an_answer_that_stays_unreadable_is_an_error(
    fault: str,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A 200 is no success by itself."""
    action: dict[str, Any] = {fault: True}
    emulator = broken(Fault(place="continuation", **action))
    result = sync(emulator, page_size=3)
    assert result.exit_code == 1
    assert result.error.startswith("customers: ")
    assert len(attempts(emulator, "continuation", 200)) == 12
    assert_resumable(result, emulator, sync)


# Wait


@pytest.mark.parametrize("place", API)
def test_the_service_names_the_wait_in_seconds(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """429 twice in a row: each time the tap waits as long as the service says."""
    emulator = broken(Fault(place=place, times=2, status=429, headers={"Retry-After": "57"}))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert_ids(emulator)
    assert [request.status for request in attempts(emulator, place, 429)] == [429, 429, 200]
    assert sum(result.waits) >= 2 * 56


def test_the_service_names_the_wait_as_a_date(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """An HTTP date is understood in all three forms of RFC 9110."""
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


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("model", ["fixed_window", "sliding_window", "token_bucket"])
def test_no_request_comes_before_the_time_that_the_service_named(form: str, model: str) -> None:
    """Under a quota each refusal is followed by quiet, for as long as was asked."""
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
def test_a_wait_beyond_all_patience_ends_the_run_at_once(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Nobody sleeps for a year: the run says what the service wants, and ends."""
    emulator = broken(Fault(place=place, status=429, headers={"Retry-After": "31536000"}))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert len(attempts(emulator, place, 429)) == 1
    assert_told(result, emulator, API[place], status=429)
    assert "the service is throttling this tenant" in result.error
    assert "max_requests_per_minute" in result.error
    assert sum(result.waits) < 900
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("retry_after", ["0", None, "57", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_throttling_without_end_is_bounded(
    retry_after: str | None,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Even a service that says "at once" is not asked in a hot loop."""
    headers = {"Retry-After": retry_after} if retry_after else None
    emulator = broken(Fault(place="customers", status=429, headers=headers))
    result = sync(emulator, page_size=3, max_retry_seconds=120)
    assert_told(result, emulator, "customers", status=429)
    assert 2 <= len(at(emulator, "customers")) <= 130


@pytest.mark.parametrize("place", PLACES)
def test_throttling_of_one_place_is_borne(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Every third request refused, and nothing is lost."""
    emulator = broken(Fault(place=place, every=3, status=429, headers={"Retry-After": "3"}))
    assert_complete(sync(emulator, page_size=3), emulator)
    assert_ids(emulator)


# Refresh


@pytest.mark.parametrize("place", API)
def test_a_token_that_is_over_is_replaced_in_the_middle(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """401: a new token, and the same request once more with the same id and continuation."""
    emulator = broken(Fault(place=place, times=1, expire_token=True))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert [request.status for request in attempts(emulator, place, 401)] == [401, 200]
    assert emulator.stats().tokens_issued == 2
    assert result.waits == []


REJECTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "audience": ({"code": 900420}, "code 900420: the token was issued for the retired", "Consent"),
    "audience as text": ({"code": "900420"}, "code 900420: the token was", "Consent again for"),
    "MFA": ({"code": "900421"}, "code 900421: the token holds no proof of MFA", "with MFA"),
    "MFA without JSON": (
        {"shape": "D", "headers": {"WWW-Authenticate": 'Bearer error="invalid_token"'}},
        "HTTP 401: the service does not accept the token",
        "consent again",
    ),
    "denied": ({"code": 400}, "HTTP 401, code 400: the service does not accept", "tenant_id"),
}


@pytest.mark.parametrize("place", API)
@pytest.mark.parametrize("reason", REJECTED)
def test_a_second_401_is_fatal(
    reason: str,
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A new token that is refused too is no question of time; the line says what it is."""
    answer, meaning, remedy = REJECTED[reason]
    emulator = broken(Fault(place=place, status=401, **answer))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert [request.status for request in attempts(emulator, place, 401)] == [401, 401]
    assert emulator.stats().tokens_issued == 2
    assert_told(result, emulator, API[place], status=401)
    assert meaning in result.error
    assert remedy in result.error
    assert "Refused again with a new token." in result.error
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("form", ["header", "code"])
def test_missing_mfa_is_named_in_both_of_its_forms(form: str, start: Start, sync: Sync) -> None:
    """One morning the service demands MFA."""
    result = sync(start(mfa=form))
    assert result.exit_code == 1
    assert "onsent again" in result.error
    assert result.records("customers") == []


def test_tokens_that_die_early_are_survived() -> None:
    """A token may end long before its stated time: each request gets a second chance."""
    ticks = itertools.count()
    options = Options(customers=8, resellers=1, token_lifetime=3599, early_expiry=3000)
    with Emulator(options, clock=lambda: time.time() + 50 * next(ticks)) as emulator:
        config = {**emulator.tap_config(), "page_size": 3, "max_concurrent_requests": 1}
        result = run_tap(config=config)
        assert_complete(result, emulator)
        refused = [request for request in emulator.requests if request.status == 401]
        assert refused
        assert emulator.stats().tokens_issued == len(refused) + 1


# Sign-in


@pytest.mark.parametrize("number", SIGN_IN)
def test_a_refused_sign_in_says_what_to_do(
    number: int,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Each error of the token endpoint that the reference names has its remedy, and no retry."""
    status, error, remedy = SIGN_IN[number]
    emulator = broken(Fault(place="token", status=status, code=number))
    result = sync(emulator)
    assert result.exit_code == 1
    assert result.error.startswith(
        f"sign-in: the token endpoint answered HTTP {status} {error} AADSTS{number}. ",
    )
    assert remedy in result.error
    assert f"https://login.microsoftonline.com/error?code={number}" in result.error
    assert emulator.stats().by_place == {"token": {str(status): 1}}
    assert result.counts["RECORD"] == 0
    assert result.counts["STATE"] == 0


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("invalid_grant", "The refresh token is not accepted"),
        ("interaction_required", "needs a person"),
        ("invalid_client", "credentials are not accepted"),
        ("unauthorized_client", "may not sign in this way"),
        ("invalid_request", "Check tenant_id, client_id and refresh_token"),
        ("invalid_resource", "Check cloud"),
        ("something_new", "Check tenant_id, client_id, client_secret and auth_url"),
    ],
)
def test_an_error_without_a_known_number_has_a_remedy_too(
    error: str,
    remedy: str,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Where the number is missing, new or no number, the error's name decides."""
    for numbers in ([999999], [], "7000215", ["abc"], None):
        document = {"error": error, "error_codes": numbers}
        emulator = broken(Fault(place="token", status=400, json=document))
        result = sync(emulator)
        assert result.exit_code == 1
        assert remedy in result.error


def test_a_sign_in_refused_without_json_has_one_line(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A proxy that answers in place of the token endpoint: the line says where to look."""
    emulator = broken(Fault(place="token", status=403, shape="html"))
    result = sync(emulator)
    assert result.error == (
        "sign-in: the token endpoint answered HTTP 403. Check tenant_id, client_id, client_secret "
        "and auth_url. Not retried."
    )


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_a_busy_token_endpoint_is_asked_again(
    error: str,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The last row of the reference: the only errors of sign-in that pass by themselves."""
    emulator = broken(Fault(place="token", times=2, status=400, json={"error": error}))
    assert_complete(sync(emulator), emulator)
    assert emulator.stats().by_place["token"] == {"200": 1, "400": 2}


def test_the_token_endpoint_names_the_wait(broken: Callable[..., Emulator], sync: Sync) -> None:
    """Retry-After holds for sign-in too."""
    headers = {"Retry-After": "33"}
    emulator = broken(Fault(place="token", times=2, status=429, headers=headers))
    result = sync(emulator)
    assert_complete(result, emulator)
    assert sum(result.waits) >= 66


@pytest.mark.parametrize("lifetime", ["3599", 3599, None, "soon", -5, 0, 1e400, [1]])
def test_the_life_of_a_token_is_read_from_numbers_and_strings(
    lifetime: object,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The v1 endpoint sends strings; what cannot be read is taken for a short life."""
    emulator = broken()
    plain = sync(emulator, page_size=3)
    issued = {"token_type": "Bearer", "expires_in": lifetime, "access_token": "no-such-token"}
    # The first token is refused as unknown, the second one is the emulator's.
    emulator = broken(Fault(place="token", times=1, json=issued))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert len(result.messages) == len(plain.messages)
    assert emulator.stats().by_place["token"] == {"200": 2}


@pytest.mark.parametrize("token", [None, "", 5, "new\nline", "naïve"])
def test_an_answer_without_a_usable_token_is_asked_again(
    token: object,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A 200 of the token endpoint without a token is a passing fault."""
    emulator = broken(Fault(place="token", times=1, json={"access_token": token}))
    assert_complete(sync(emulator), emulator)


def test_a_failed_sign_in_is_asked_once_for_all_threads(start: Start, sync: Sync) -> None:
    """Whoever waits for the token that one thread asks for shares its failure."""
    emulator = start(
        Fault(place="relationships", expire_token=True),
        Fault(place="token", skip=1, status=400, code=50173),
        customers=8,
        token_latency=0.1,
    )
    result = sync(emulator)
    assert "AADSTS50173" in result.error
    assert emulator.stats().by_place["token"] == {"200": 1, "400": 1}


# The token cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_rotated_refresh_token_is_used_from_then_on(start: Start, sync: Sync) -> None:
    """Within a run each redemption uses the newest one: the one before it may be revoked."""
    emulator = start(
        *(Fault(place=place, times=1, expire_token=True) for place in ("partition", "resellers")),
        revoke_old_refresh_tokens=True,
    )
    assert_complete(sync(emulator, page_size=3), emulator)
    assert emulator.stats().by_place["token"] == {"200": 3}


def test_a_cached_refresh_token_outlives_the_run(start: Start, sync: Sync, cache: Path) -> None:
    """With token_cache_path the next run begins with the newest token; only the owner reads it."""
    emulator = start(revoke_old_refresh_tokens=True)
    assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
    first = cache.read_text()
    assert cache.stat().st_mode & 0o777 == 0o600
    assert emulator.credentials.refresh_token not in first
    assert_complete(sync(emulator, token_cache_path=str(cache)), emulator)
    assert cache.read_text() != first
    assert list(cache.parent.iterdir()) == [cache]
    # Without the cache the configured one is revoked by now.
    assert "AADSTS50173" in sync(emulator).error


def test_a_newly_configured_token_makes_the_cached_one_obsolete(
    start: Start,
    sync: Sync,
    cache: Path,
) -> None:
    """After a new consent the operator sets the new token, and it counts."""
    before = start()
    assert sync(before, token_cache_path=str(cache)).exit_code == 0
    after = start()
    assert_complete(sync(after, token_cache_path=str(cache)), after)


def test_app_only_credentials_need_no_cache(start: Start, sync: Sync, cache: Path) -> None:
    """There is no refresh token to keep."""
    catalog = catalog_of("customers")
    result = sync(start(), app_only=True, catalog=catalog, token_cache_path=str(cache))
    assert result.exit_code == 0
    assert not cache.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "{}", '{"origin": 5}', "\udcff", None])
def test_an_unusable_cache_is_told_in_one_line(
    content: str | None,
    start: Start,
    sync: Sync,
    cache: Path,
) -> None:
    """A file that holds something else is not overwritten, and nothing of it is told."""
    if content is None:
        cache.mkdir(mode=0o700)
    else:
        cache.touch(mode=0o600)
        cache.write_text(content, errors="surrogateescape")
    emulator = start()
    result = sync(emulator, token_cache_path=str(cache))
    if content == '{"origin": 5}':
        assert_complete(result, emulator)
        return
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: {cache} cannot be used (")
    assert "Delete the file, or set another path." in result.error
    assert "Traceback" not in result.stderr
    assert emulator.stats().requests == 0


def test_a_cache_that_others_may_read_is_refused(start: Start, sync: Sync, cache: Path) -> None:
    """A secret in the open is not used in silence."""
    cache.touch(mode=0o644)
    result = sync(start(), token_cache_path=str(cache))
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: others may read {cache}. Run chmod 600")
    assert "Traceback" not in result.stderr


def test_a_cache_that_cannot_be_written_costs_no_run(start: Start, sync: Sync, cache: Path) -> None:
    """The token in hand is good: a warning says what to look after."""
    emulator = start()
    result = sync(emulator, token_cache_path=str(cache / "missing" / "file"))
    assert_complete(result, emulator)
    (line,) = result.levels("WARNING")
    assert line.startswith("The new refresh token could not be kept in token_cache_path: No such")


def test_a_cache_is_replaced_in_one_step(
    start: Start,
    sync: Sync,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the disk fails in the middle, the old token is still there, and no half one beside."""
    emulator = start()
    assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
    before = cache.read_text()

    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fails)
    result = sync(emulator, token_cache_path=str(cache))
    assert_complete(result, emulator)
    assert "No space left on device" in result.levels("WARNING")[0]
    assert cache.read_text() == before
    assert list(cache.parent.iterdir()) == [cache]


# End of the data


def test_a_bare_token_may_lead_behind_the_last_page(start: Start, sync: Sync) -> None:
    """400 with code 2000 ends the data where a token in the body led there."""
    emulator = start(customers=8, link_form="token_only", ending="code_2000")
    assert_complete(sync(emulator, page_size=3), emulator)
    assert emulator.stats().by_place["continuation"]["400"] == 1


@pytest.mark.parametrize("place", ["customers", "partition", "resellers"])
def test_the_same_answer_to_a_first_page_is_an_error(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Taking bad input for the end of the data would lose customers in silence."""
    emulator = broken(Fault(place=place, status=400, code=2000))
    result = sync(emulator, page_size=3)
    assert_told(result, emulator, API[place], status=400)
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("place", ["continuation", "partition_continuation"])
def test_the_same_answer_behind_a_link_is_an_error(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A link is the service's own request: it has no reason to call it malformed."""
    emulator = broken(Fault(place=place, status=400, code="2000"))
    result = sync(emulator, page_size=3)
    assert_told(result, emulator, API[place], status=400)
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("link_form", ["relative", "token_only"])
def test_a_checkpoint_that_has_expired_means_from_the_start(
    link_form: str,
    start: Start,
    sync: Sync,
) -> None:
    """400 to a stored continuation: the stream is read again, and the log says so."""
    emulator = start(
        Fault(place="continuation", skip=1, status=503),
        customers=8,
        link_form=link_form,
    )
    broken_off = sync(emulator, page_size=3)
    assert broken_off.exit_code == 1
    emulator.faults = [Fault(place="continuation", times=1, status=400, code=2000)]
    result = sync(emulator, page_size=3, state=broken_off.state)
    assert_complete(result, emulator)
    assert "customers: resumed where an earlier run was interrupted" in result.log
    (line,) = [line for line in result.log if "the stream is read from its start" in line]
    assert line.startswith("customers: HTTP 400, code 2000: the stored continuation has expired; ")


def test_an_expired_checkpoint_of_a_partition_means_from_the_first_one(
    start: Start,
    sync: Sync,
) -> None:
    """The partitions before it belong to the same pass: they are read again too."""
    emulator = start(customers=40, resellers=3)
    last = list(emulator.resellers())[2]["id"]
    emulator.faults = [Fault(place="partition_continuation", reseller_id=last, status=503)]
    broken_off = sync(emulator, page_size=2)
    assert broken_off.exit_code == 1
    emulator.faults = [Fault(place="partition_continuation", times=1, status=400, code=2000)]
    result = sync(emulator, page_size=2, state=broken_off.state)
    assert result.exit_code == 0
    assert (
        result.keys("reseller_customers", "reseller_id", "id")
        == (held(emulator)["reseller_customers"])
    )


def test_a_pass_is_resumed_at_the_beginning_of_a_partition(start: Start, sync: Sync) -> None:
    """Between two partitions the checkpoint names the next one; those before are not read again."""
    emulator = start(customers=40, resellers=3)
    second = list(emulator.resellers())[1]["id"]
    emulator.faults = [Fault(place="partition", reseller_id=second, status=503)]
    broken_off = sync(emulator, page_size=500, max_retry_seconds=0)
    assert broken_off.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, page_size=500, state=broken_off.state)
    assert result.exit_code == 0
    first = {key[0] for key in broken_off.keys("reseller_customers", "reseller_id")}
    assert len(first) == 1
    assert result.keys("reseller_customers", "reseller_id", "id") == [
        key for key in held(emulator)["reseller_customers"] if key[0] not in first
    ]


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_continuation_that_is_not_found_is_no_end(
    status: int,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A second page that answers 404 is a fault of the service, not the end of the data."""
    emulator = broken(Fault(place="continuation", status=status, shape="B"))
    result = sync(emulator, page_size=3)
    assert_told(result, emulator, "customers", status=status)
    assert_resumable(result, emulator, sync)


# Fail


@pytest.mark.parametrize("place", API)
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_ends_the_run_with_one_line(
    refusal: str,
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Stream, status, code, meaning, remedy and ids; asked once; nothing emitted is lost."""
    answer, meaning, remedy = REFUSALS[refusal]
    emulator = broken(Fault(place=place, **answer))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_told(result, emulator, API[place], status=answer["status"])
    assert meaning in result.error
    assert remedy in result.error
    assert result.error.endswith("Not retried.")
    assert "?" not in result.error
    assert [request.status for request in at(emulator, place)] == [answer["status"]]
    assert result.log[-2].startswith("failed: ")
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("place", COLLECTIONS)
@pytest.mark.parametrize("refusal", INDIVIDUAL)
def test_what_skips_a_customer_is_fatal_for_a_collection(
    refusal: str,
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The codes that concern one customer say no more about a list than their status."""
    answer, _ = INDIVIDUAL[refusal]
    emulator = broken(Fault(place=place, **answer))
    result = sync(emulator, page_size=3)
    assert_told(result, emulator, API[place], status=answer["status"])
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("bom", ["success", "error", "all"])
def test_a_byte_order_mark_is_no_fault(bom: str, start: Start, sync: Sync) -> None:
    """In pages, errors and refusals to come back later."""
    emulator = start(
        Fault(place="customers", times=1, status=429, headers={"Retry-After": "2"}),
        Fault(place="resellers", times=1, status=500),
        Fault(place="relationships", skip=1, times=1, status=403, code=20002),
        bom=bom,
        customers=5,
    )
    result = sync(emulator, page_size=3)
    assert result.exit_code == 0
    assert result.keys("customers", "id") == held(emulator)["customers"]
    assert [line for line in result.levels("WARNING") if "code 20002" in line]


# Skip


@pytest.mark.parametrize("refusal", INDIVIDUAL)
def test_a_lost_customer_is_skipped_and_named(
    refusal: str,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """One customer that is refused is left out, counted, and named in the summary; asked once."""
    emulator = broken()
    lost = held(emulator)["customers"][4][0]
    answer, reason = INDIVIDUAL[refusal]
    emulator.faults = [Fault(place="relationships", customer_id=lost, **answer)]
    result = sync(emulator, page_size=3)
    assert result.exit_code == 0
    expected = [key for key in held(emulator)["customer_relationships"] if key[0] != lost]
    keys = result.keys("customer_relationships", "customer_id", "id", "relationshipType")
    assert keys == expected
    assert result.keys("customers", "id") == held(emulator)["customers"]
    (line,) = result.levels("WARNING")
    assert line.startswith(
        f"1 customers skipped, their relationships are missing: {lost} ({reason}",
    )
    assert "1 customers skipped" in result.log[-2]
    assert len([r for r in at(emulator, "relationships") if lost in r.path]) == 1


def test_a_pass_with_a_skip_deletes_nothing_in_its_stream(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """No ACTIVATE_VERSION for the relationships, one for each of the other streams."""
    emulator = broken(Fault(place="relationships", skip=3, times=1, status=403, code=20002))
    result = sync(emulator, page_size=3, emit_activate_version_messages=True)
    assert result.exit_code == 0
    activated = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert activated == ["customers", "indirect_resellers", "reseller_customers"]


def test_a_skip_is_remembered_when_the_pass_is_resumed(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The gap belongs to the pass, not to the run: the run that ends it activates nothing."""
    emulator = broken(
        Fault(place="relationships", skip=1, times=1, status=403, code=20002),
        Fault(place="continuation", skip=1, status=503),
    )
    deletes: dict[str, Any] = {"emit_activate_version_messages": True, "page_size": 3}
    broken_off = sync(emulator, **deletes)
    assert broken_off.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, state=broken_off.state, **deletes)
    assert result.exit_code == 0
    activated = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert activated == ["customers", "indirect_resellers", "reseller_customers"]


def test_the_first_ten_refused_are_a_system(start: Start, sync: Sync) -> None:
    """A provider whose every customer is refused has no right to ask: that is no skip."""
    emulator = start(Fault(place="relationships", status=403, code=1002), customers=30)
    result = sync(emulator, page_size=20, max_concurrent_requests=1)
    assert_told(result, emulator, "customer_relationships", status=403)
    assert "the service refused each of the first 10 customers" in result.error
    assert "neither indirect provider nor direct partner" in result.error
    assert emulator.stats().by_place["relationships"] == {"403": 10}


def test_ten_refused_after_an_answer_are_no_system(start: Start, sync: Sync) -> None:
    """Once the service has answered for somebody, refusals are individual."""
    emulator = start(Fault(place="relationships", skip=1, status=403, code=20002), customers=30)
    result = sync(emulator, page_size=20, max_concurrent_requests=1)
    assert result.exit_code == 0
    (line,) = result.levels("WARNING")
    assert line.startswith("29 customers skipped")
    assert line.count("20002") == 10
    assert line.endswith(", …")


def test_all_of_a_few_refused_are_a_system_too(start: Start, sync: Sync) -> None:
    """Three of three customers: the run must not end as if it were complete."""
    emulator = start(Fault(place="relationships", status=403, code=1002), customers=3)
    result = sync(emulator)
    assert result.exit_code == 1
    assert "the service refused every customer" in result.error


@pytest.mark.parametrize("resume", [False, True])
def test_refusals_of_an_earlier_run_are_no_system(
    resume: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
) -> None:
    """After a resume, one more refusal is not the tenth of the first ten."""
    emulator = start(
        Fault(place="relationships", skip=1, times=11, status=403, code=20002),
        *([Fault(place="continuation", skip=3, status=503)] if resume else []),
        customers=20,
    )
    result = sync(emulator, page_size=4, max_concurrent_requests=1)
    if resume:
        assert result.exit_code == 1
        emulator.faults = [Fault(place="relationships", times=1, status=403, code=20002)]
        result = sync(emulator, page_size=4, max_concurrent_requests=1, state=result.state)
    assert result.exit_code == 0, result.error


def test_a_resumed_pass_without_further_customers_is_no_system(start: Start, sync: Sync) -> None:
    """Skips of the earlier run alone do not mean that everybody was refused."""
    emulator = start(
        Fault(place="relationships", skip=1, times=2, status=403, code=20002),
        Fault(place="continuation", skip=1, status=503),
        customers=6,
        ending="empty",
    )
    broken_off = sync(emulator, page_size=3)
    assert broken_off.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, page_size=3, state=broken_off.state)
    assert result.exit_code == 0, result.error


@pytest.mark.parametrize(("most", "refused", "exit_code"), [(0, 1, 1), (2, 2, 0), (2, 3, 1)])
def test_the_operator_draws_the_line(
    most: int,
    refused: int,
    exit_code: int,
    start: Start,
    sync: Sync,
) -> None:
    """max_skipped_customers is the last number that is still accepted."""
    emulator = start(
        Fault(place="relationships", skip=1, times=refused, status=403, code=20002),
        customers=8,
    )
    result = sync(emulator, max_skipped_customers=most)
    assert result.exit_code == exit_code
    if exit_code:
        assert f"{refused} customers refused, max_skipped_customers allows {most}" in result.error
        assert "code 20002" in result.error


# Redirects


@pytest.mark.parametrize("place", API)
def test_a_redirect_is_not_followed(
    place: Place,
    broken: Callable[..., Emulator],
    start: Start,
    sync: Sync,
) -> None:
    """Not to another origin, nor within our own; the line says so."""
    other = start()
    for status, address in itertools.product(
        [301, 302, 307, 308],
        [f"{other.url}/v1/customers", "/v1/customers?size=3"],
    ):
        emulator = broken(Fault(place=place, redirect=address, status=status))
        result = sync(emulator, page_size=3)
        assert_told(result, emulator, API[place], status=status)
        assert "redirects to another address, which the tap does not follow" in result.error
        assert address not in result.stderr
    assert other.stats().requests == 0


def test_a_redirect_of_the_token_endpoint_is_not_followed(
    broken: Callable[..., Emulator],
    start: Start,
    sync: Sync,
) -> None:
    """Credentials go to auth_url and nowhere else."""
    other = start()
    emulator = broken(Fault(place="token", redirect=f"{other.url}/steal", status=307))
    result = sync(emulator)
    assert result.exit_code == 1
    assert "sign-in: the token endpoint answered HTTP 307" in result.error
    assert other.stats().requests == 0


# The summary


def test_a_failed_run_says_so_and_how_far_it_came(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The last two lines: the totals, and the reason."""
    emulator = broken(Fault(place="continuation", status=403, code=900150))
    result = sync(emulator, page_size=3)
    relationships = len(result.records("customer_relationships"))
    assert result.log[-2].startswith(f"failed: {3 + relationships} records, ")
    assert result.log[-1] == result.error


def test_deselecting_the_refused_stream_is_a_remedy(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """What the line advises works."""
    emulator = broken(Fault(place="relationships", status=403, code=900150))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert result.keys("customers", "id") == held(emulator)["customers"]
