"""Sign-in and tokens: refused, replaced and shared; and what the operator reads about it."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault, Options
from tests.command_line import FINAL, catalog_of, run_tap
from tests.failures import API, assert_reported, assert_resumable, attempts
from tests.truth import assert_complete

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Broken, Start, Sync

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


# Refresh


@pytest.mark.parametrize("place", API)
def test_an_expired_token_is_replaced_in_the_middle(
    place: Place, broken: Broken, sync: Sync
) -> None:
    """On a 401 the same request is repeated with a new token and the same continuation."""
    emulator = broken(Fault(place=place, times=1, expire_token=True))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert [request.status for request in attempts(emulator, place, 401)] == [401, 200]
    assert emulator.stats().tokens_issued == 2
    assert result.waits == []


REJECTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "audience": ({"code": 900420}, "code 900420: the token was issued for the retired", "Consent"),
    "audience as text": ({"code": "900420"}, "code 900420: the token was", "Consent again for"),
    "MFA": ({"code": "900421"}, "code 900421: the token carries no proof of MFA", "with MFA"),
    "MFA without JSON": (
        {"shape": "D", "headers": {"WWW-Authenticate": 'Bearer error="invalid_token"'}},
        "HTTP 401: the service does not accept the token",
        "consent again",
    ),
    "denied": ({"code": 400}, "HTTP 401, code 400: the service does not accept", "tenant_id"),
}


@pytest.mark.parametrize("place", API)
@pytest.mark.parametrize("reason", REJECTED)
def test_a_401_that_persists_with_new_tokens_is_fatal(
    reason: str, place: Place, broken: Broken, sync: Sync
) -> None:
    """If a new token is refused too, retrying is useless; the line says what is wrong."""
    answer, meaning, remedy = REJECTED[reason]
    emulator = broken(Fault(place=place, status=401, **answer))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    # At first only some requests need MFA, so this error gets a few more attempts.
    tries = 6 if reason == "MFA" else 2
    assert [request.status for request in attempts(emulator, place, 401)] == [401] * tries
    assert emulator.stats().tokens_issued == tries
    assert_reported(result, emulator, API[place], status=401)
    assert meaning in result.error
    assert remedy in result.error
    assert "Refused again with a new token." in result.error
    assert_resumable(result, emulator, sync)


def test_missing_mfa_is_retried_while_few_requests_are_refused(broken: Broken, sync: Sync) -> None:
    """Some of many requests are refused twice or more, but each succeeds in the end."""
    emulator = broken(Fault(place="relationships", times=5, status=401, code="900421"))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert emulator.stats().tokens_issued == 6


def test_missing_mfa_that_passes_is_warned_of(broken: Broken, sync: Sync) -> None:
    """As the service enforces MFA on ever more requests, retries that succeed are an early sign."""
    emulator = broken(Fault(place="relationships", every=3, status=401, code="900421"))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    first, summary = result.levels("WARNING")
    assert first.startswith("HTTP 401, code 900421: the token carries no proof of MFA. ")
    assert "Consent again with MFA and set the new refresh_token." in first
    refused = [request for request in emulator.requests if request.status == 401]
    assert len(refused) > 1
    reason = first.partition(". ")[0]
    assert summary == f"{len(refused)} requests refused at first: {reason}"
    assert result.log[-1] == summary


def test_a_token_is_not_used_in_its_last_minutes(broken: Broken, sync: Sync) -> None:
    """It may expire while a request is in flight, and clocks differ."""
    headers = {"Retry-After": "3400"}
    # The token lives for 3599 seconds: longer than the pause, but by less than five minutes.
    emulator = broken(Fault(place="continuation", times=1, status=429, headers=headers))
    result = sync(emulator, page_size=3, max_concurrent_requests=1, max_retry_seconds=4000)
    assert_complete(result, emulator)
    after = next(n for n, request in enumerate(emulator.requests) if request.status == 429)
    assert [r.place for r in emulator.requests[after + 1 : after + 3]] == ["token", "continuation"]


def test_a_token_that_lives_for_two_minutes_is_used_for_one(start: Start, sync: Sync) -> None:
    """With a margin longer than its life, each request would sign in again."""
    emulator = start(token_lifetime=120)
    assert sync(emulator).exit_code == 0
    assert emulator.stats().tokens_issued == 1


@pytest.mark.parametrize("form", ["header", "code"])
def test_missing_mfa_is_named_in_both_of_its_forms(form: str, start: Start, sync: Sync) -> None:
    """The service starts to require MFA."""
    result = sync(start(mfa=form))
    assert result.exit_code == 1
    assert "onsent again" in result.error
    assert result.records("customers") == []


def test_tokens_that_expire_early_are_replaced() -> None:
    """A token may expire long before its stated time: each request is retried once."""
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
def test_a_refused_sign_in_says_what_to_do(number: int, broken: Broken, sync: Sync) -> None:
    """Each documented error of the token endpoint has a remedy, and no retry."""
    status, error, remedy = SIGN_IN[number]
    emulator = broken(Fault(place="token", status=status, code=number))
    result = sync(emulator)
    # A later run, or one on another machine, may not get these errors.
    assert result.exit_code == (1 if number == 53003 else FINAL)
    assert result.error.startswith(
        f"sign-in: the token endpoint returned HTTP {status} {error} AADSTS{number}. ",
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
        ("interaction_required", "needs a user"),
        ("invalid_client", "credentials are not accepted"),
        ("unauthorized_client", "may not sign in this way"),
        ("invalid_request", "Check tenant_id, client_id and refresh_token"),
        ("invalid_resource", "Check cloud"),
        ("something_new", "Check tenant_id, client_id, client_secret and auth_url"),
    ],
)
def test_an_error_without_a_known_number_has_a_remedy_too(
    error: str, remedy: str, broken: Broken, sync: Sync
) -> None:
    """If the number is unknown or missing, the error's name decides."""
    for numbers in ([999999], [], "7000215", ["abc"], None):
        document = {"error": error, "error_codes": numbers}
        emulator = broken(Fault(place="token", status=400, json=document))
        result = sync(emulator)
        unknown = numbers == [999999] or error == "something_new"
        assert result.exit_code == (1 if unknown else FINAL)
        assert remedy in result.error


def test_a_sign_in_refused_without_json_has_one_line(broken: Broken, sync: Sync) -> None:
    """A proxy answers instead of the token endpoint: the line says where to look."""
    emulator = broken(Fault(place="token", status=403, shape="html"))
    result = sync(emulator)
    assert result.error == (
        "sign-in: the token endpoint returned HTTP 403. Check tenant_id, client_id, client_secret "
        "and auth_url. Not retried."
    )


@pytest.mark.parametrize(("app_only", "requests"), [(False, 2), (True, 1)])
def test_a_public_client_that_is_refused_without_a_secret_too_is_reported(
    app_only: bool,  # noqa: FBT001
    requests: int,
    broken: Broken,
    sync: Sync,
) -> None:
    """The refresh token of a device code is redeemed once more, without the secret."""
    emulator = broken(Fault(place="token", status=401, code=700025))
    result = sync(emulator, app_only=app_only, catalog=catalog_of("customers"))
    assert result.exit_code != 0
    assert "AADSTS700025" in result.error
    assert emulator.stats().by_place == {"token": {"401": requests}}


@pytest.mark.parametrize(
    "answer", [{"body": b"<html>Sign in</html>"}, {"json": {}}, {"status": 204}], ids=str
)
def test_a_login_page_in_place_of_a_token_is_called_so(
    answer: dict[str, Any], broken: Broken, sync: Sync
) -> None:
    """HTTP 200 alone would not say what is wrong."""
    result = sync(broken(Fault(place="token", **answer)), max_retry_seconds=2)
    assert result.exit_code == 1
    status = answer.get("status", 200)
    assert result.error.startswith(
        f"sign-in: the token endpoint returned HTTP {status} without an access token"
    )
    assert "no proxy responds in its place" in result.error


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_a_busy_token_endpoint_is_retried(error: str, broken: Broken, sync: Sync) -> None:
    """The reference's last row: the only sign-in errors that are transient."""
    emulator = broken(Fault(place="token", times=2, status=400, json={"error": error}))
    assert_complete(sync(emulator), emulator)
    assert emulator.stats().by_place["token"] == {"200": 1, "400": 2}


@pytest.mark.parametrize("shape", [None, "html"])
def test_the_token_endpoint_may_send_retry_after(shape: Any, broken: Broken, sync: Sync) -> None:
    """Retry-After is obeyed for sign-in too, even if a proxy sends it."""
    headers = {"Retry-After": "33"}
    emulator = broken(Fault(place="token", times=2, status=429, headers=headers, shape=shape))
    result = sync(emulator)
    assert_complete(result, emulator)
    assert sum(result.waits) >= 66


@pytest.mark.parametrize("lifetime", ["3599", 3599, None, "soon", -5, 0, 1e400, 10**400, [1]])
def test_the_lifetime_of_a_token_may_be_a_number_or_a_string(
    lifetime: object, broken: Broken, sync: Sync
) -> None:
    """The v1 endpoint sends strings; an unreadable lifetime counts as a short one."""
    emulator = broken()
    plain = sync(emulator, page_size=3)
    issued = {"token_type": "Bearer", "expires_in": lifetime, "access_token": "no-such-token"}
    # The first token is refused as unknown; the second is the emulator's.
    emulator = broken(Fault(place="token", times=1, json=issued))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert len(result.messages) == len(plain.messages)
    assert emulator.stats().by_place["token"] == {"200": 2}


@pytest.mark.parametrize("token", [None, "", 5, "new\nline", "naïve"])
def test_a_response_without_a_usable_token_is_retried(
    token: object, broken: Broken, sync: Sync
) -> None:
    """A token response with status 200 but no token is a transient error."""
    emulator = broken(Fault(place="token", times=1, json={"access_token": token}))
    assert_complete(sync(emulator), emulator)


def test_threads_that_need_a_token_at_once_share_one(start: Start, sync: Sync) -> None:
    """The partitions start together, before there is a token."""
    emulator = start(customers=80, resellers=8, token_latency=0.1)
    resellers = [reseller["id"] for reseller in emulator.resellers()]
    result = sync(emulator, catalog=catalog_of("reseller_customers"), reseller_ids=resellers)
    assert result.exit_code == 0
    assert emulator.stats().tokens_issued == 1
    assert emulator.stats().by_place["partition"] == {"200": 8}


def test_a_failed_sign_in_is_attempted_once_for_all_threads(start: Start, sync: Sync) -> None:
    """All threads that wait for the same token share its failure."""
    emulator = start(
        Fault(place="relationships", expire_token=True),
        Fault(place="token", skip=1, status=400, code=50173),
        customers=8,
        token_latency=0.1,
    )
    result = sync(emulator)
    assert "AADSTS50173" in result.error
    assert emulator.stats().by_place["token"] == {"200": 1, "400": 1}
