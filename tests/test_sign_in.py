"""Tokens: refused, replaced, rotated and stored; and what the operator reads about it."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault, Options
from partnercenter_emulator.credentials import TENANT_DOMAIN
from tests.command_line import FINAL, Result, catalog_of, run_tap
from tests.conftest import KEY
from tests.failures import API, assert_resumable, assert_told, attempts
from tests.truth import assert_complete

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from partnercenter_emulator.faults import Place
    from tests.conftest import Start, Sync

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
def test_a_token_that_is_over_is_replaced_in_the_middle(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
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
def test_a_401_that_new_tokens_do_not_end_is_fatal(
    reason: str,
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """If a new token is refused too, retrying is useless; the line says what is wrong."""
    answer, meaning, remedy = REJECTED[reason]
    emulator = broken(Fault(place=place, status=401, **answer))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    # At first only some requests need MFA, so this error gets a few more attempts.
    tries = 6 if reason == "MFA" else 2
    assert [request.status for request in attempts(emulator, place, 401)] == [401] * tries
    assert emulator.stats().tokens_issued == tries
    assert_told(result, emulator, API[place], status=401)
    assert meaning in result.error
    assert remedy in result.error
    assert "Refused again with a new token." in result.error
    assert_resumable(result, emulator, sync)


def test_missing_mfa_is_retried_while_few_requests_are_refused(
    broken: Callable[..., Emulator], sync: Sync
) -> None:
    """Some of many requests are refused twice or more, but each succeeds in the end."""
    emulator = broken(Fault(place="relationships", times=5, status=401, code="900421"))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert emulator.stats().tokens_issued == 6


def test_missing_mfa_that_passes_is_warned_of(broken: Callable[..., Emulator], sync: Sync) -> None:
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


def test_a_token_is_not_used_in_its_last_minutes(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """It may expire while a request is under way, and clocks differ."""
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


def test_tokens_that_die_early_are_survived() -> None:
    """A token may expire long before its stated time: each request gets a second chance."""
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
    """Each documented error of the token endpoint has a remedy, and no retry."""
    status, error, remedy = SIGN_IN[number]
    emulator = broken(Fault(place="token", status=status, code=number))
    result = sync(emulator)
    # A later run, or one on another machine, may not get these errors.
    assert result.exit_code == (1 if number in {53003, 700024} else FINAL)
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
    error: str,
    remedy: str,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """If the number is unknown or missing, the error's name decides."""
    for numbers in ([999999], [], "7000215", ["abc"], None):
        document = {"error": error, "error_codes": numbers}
        emulator = broken(Fault(place="token", status=400, json=document))
        result = sync(emulator)
        unknown = numbers == [999999] or error == "something_new"
        assert result.exit_code == (1 if unknown else FINAL)
        assert remedy in result.error


def test_a_sign_in_refused_without_json_has_one_line(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A proxy answers in place of the token endpoint: the line says where to look."""
    emulator = broken(Fault(place="token", status=403, shape="html"))
    result = sync(emulator)
    assert result.error == (
        "sign-in: the token endpoint returned HTTP 403. Check tenant_id, client_id, client_secret "
        "and auth_url. Not retried."
    )


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_a_busy_token_endpoint_is_asked_again(
    error: str,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The reference's last row: the only sign-in errors that are transient."""
    emulator = broken(Fault(place="token", times=2, status=400, json={"error": error}))
    assert_complete(sync(emulator), emulator)
    assert emulator.stats().by_place["token"] == {"200": 1, "400": 2}


def test_the_token_endpoint_names_the_wait(broken: Callable[..., Emulator], sync: Sync) -> None:
    """Retry-After is obeyed for sign-in too."""
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
def test_an_answer_without_a_usable_token_is_asked_again(
    token: object,
    broken: Callable[..., Emulator],
    sync: Sync,
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


def test_a_failed_sign_in_is_asked_once_for_all_threads(start: Start, sync: Sync) -> None:
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


# The token cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_rotated_refresh_token_is_used_from_then_on(start: Start, sync: Sync) -> None:
    """Within a run each redemption uses the newest token: the previous one may be revoked."""
    emulator = start(
        *(Fault(place=place, times=1, expire_token=True) for place in ("partition", "resellers")),
        revoke_old_refresh_tokens=True,
    )
    assert_complete(sync(emulator, page_size=3), emulator)
    assert emulator.stats().by_place["token"] == {"200": 3}


def test_a_cached_refresh_token_outlives_the_run(start: Start, sync: Sync, cache: Path) -> None:
    """With token_cache_path the next run starts with the newest token, in a file of mode 0600."""
    emulator = start(revoke_old_refresh_tokens=True)
    assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
    first = cache.read_text()
    assert cache.stat().st_mode & 0o777 == 0o600
    assert emulator.credentials.refresh_token not in first
    assert_complete(sync(emulator, token_cache_path=str(cache)), emulator)
    assert cache.read_text() != first
    # An empty lock file, and nothing else.
    lock = cache.with_name("tokens.json.lock")
    assert sorted(cache.parent.iterdir()) == [cache, lock]
    assert (lock.stat().st_size, lock.stat().st_mode & 0o777) == (0, 0o600)
    # Without the cache: the configured token is revoked by now.
    assert "AADSTS50173" in sync(emulator).error


def test_a_newly_configured_token_makes_the_cached_one_obsolete(
    start: Start,
    sync: Sync,
    cache: Path,
) -> None:
    """After a new consent the operator configures the new token, and the tap uses it."""
    before = start()
    assert sync(before, token_cache_path=str(cache)).exit_code == 0
    after = start()
    assert_complete(sync(after, token_cache_path=str(cache)), after)
    assert after.stats().by_place["token"] == {"200": 1}


def test_a_cached_token_is_not_sent_to_another_tenant(
    start: Start,
    sync: Sync,
    cache: Path,
) -> None:
    """It belongs to the settings that it was issued for, and only they redeem it."""
    emulator = start()
    assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
    put(cache, "of the other tenant")
    emulator.reset_stats()
    result = sync(emulator, token_cache_path=str(cache), tenant_id=TENANT_DOMAIN)
    assert_complete(result, emulator)
    assert emulator.stats().by_place["token"] == {"200": 1}


def test_app_only_credentials_need_no_cache(start: Start, sync: Sync, cache: Path) -> None:
    """There is no refresh token to store."""
    catalog = catalog_of("customers")
    result = sync(start(), app_only=True, catalog=catalog, token_cache_path=str(cache))
    assert result.exit_code == 0
    assert not cache.exists()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "5",
        "{}",
        '{"origin": 5}',
        '{"tokens": []}',
        '{"tokens": {"a": {}}}',
        "\udcff",
        None,
    ],
)
def test_an_unusable_cache_is_told_in_one_line(
    content: str | None,
    start: Start,
    sync: Sync,
    cache: Path,
) -> None:
    """A file with other content is not overwritten, and the line quotes nothing from it."""
    if content is None:
        cache.mkdir(mode=0o700)
    else:
        cache.touch(mode=0o600)
        cache.write_text(content, errors="surrogateescape")
    emulator = start()
    result = sync(emulator, token_cache_path=str(cache))
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: {cache} cannot be used (")
    assert "Delete it, or set another path." in result.error
    assert "Traceback" not in result.stderr
    assert emulator.stats().requests == 0


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_an_empty_cache_is_one_without_a_token(
    key: str | None, start: Start, sync: Sync, cache: Path
) -> None:
    """Someone created it, or a disk was full: the configured token still works."""
    cache.touch(mode=0o600)
    emulator = start()
    result = sync(emulator, token_cache_path=str(cache), token_cache_key=key)
    assert result.exit_code == 0
    assert ("refresh_token" in cache.read_text(encoding="utf-8")) is (key is None)
    assert cache.stat().st_size


def test_a_folder_as_cache_is_not_to_be_closed_to_others(
    start: Start, sync: Sync, cache: Path
) -> None:
    """With mode 0600 nobody could enter the folder."""
    cache.mkdir(mode=0o755)
    result = sync(start(), token_cache_path=str(cache))
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: {cache} cannot be used (Is a directory).")
    assert "chmod" not in result.error


def test_a_link_to_itself_as_cache_is_called_so(start: Start, sync: Sync, cache: Path) -> None:
    """A bare OSError would not say where to look."""
    cache.symlink_to(cache)
    result = sync(start(), token_cache_path=str(cache))
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: {cache} cannot be used (Too many levels")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_cache_that_others_may_read_is_refused(
    mode: int,
    start: Start,
    sync: Sync,
    cache: Path,
) -> None:
    """A secret that others can read is not used silently."""
    cache.touch()
    cache.chmod(mode)
    result = sync(start(), token_cache_path=str(cache))
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: others may read {cache}. Run chmod 600")
    assert "Traceback" not in result.stderr


def test_a_cache_that_cannot_be_written_costs_no_run(start: Start, sync: Sync, cache: Path) -> None:
    """The token is valid: a warning says what to fix."""
    emulator = start()
    result = sync(emulator, token_cache_path=str(cache / "missing" / "file"))
    assert_complete(result, emulator)
    (line,) = result.levels("WARNING")
    assert line.startswith("The new refresh token could not be stored in token_cache_path: No such")


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, no file can be written to its end."""

    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", fails)


def test_a_token_that_could_not_be_stored_is_used_before_the_stored_one(
    start: Start, sync: Sync, cache: Path, fill_disk: Callable[[], None]
) -> None:
    """The stored token was redeemed for it, and is not used again."""
    emulator = start(revoke_old_refresh_tokens=True)
    assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
    emulator.faults = [Fault(place="customers", times=1, expire_token=True)]
    emulator.reset_stats()
    fill_disk()
    assert_complete(sync(emulator, token_cache_path=str(cache)), emulator)
    assert emulator.stats().by_place["token"] == {"200": 2}


def test_a_cache_is_replaced_in_one_step(
    start: Start,
    sync: Sync,
    cache: Path,
    fill_disk: Callable[[], None],
) -> None:
    """If the disk fails halfway, the file still holds the old token, complete."""
    emulator = start()
    assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
    before = cache.read_text()
    fill_disk()
    result = sync(emulator, token_cache_path=str(cache))
    assert_complete(result, emulator)
    assert "No space left on device" in result.levels("WARNING")[0]
    assert cache.read_text() == before
    assert sorted(cache.parent.iterdir()) == [cache, cache.with_name("tokens.json.lock")]


def test_a_symbolic_link_to_the_cache_is_kept(start: Start, sync: Sync, cache: Path) -> None:
    """The file may be on a volume: the link's target is replaced, whether or not it exists yet."""
    volume = cache.with_name("volume")
    volume.mkdir()
    cache.symlink_to("volume/tokens")
    emulator = start(revoke_old_refresh_tokens=True)
    for _ in range(2):
        assert_complete(sync(emulator, token_cache_path=str(cache)), emulator)
        assert cache.is_symlink()
        assert sorted(path.name for path in volume.iterdir()) == ["tokens", "tokens.lock"]


def put(cache: Path, refresh_token: str) -> None:
    """Replace the token in the cache."""
    stored = json.loads(cache.read_text())
    for token in stored["tokens"].values():
        token["refresh_token"] = refresh_token
    cache.write_text(json.dumps(stored))


def test_a_refused_token_in_the_cache_gives_way_to_the_configured_one(
    start: Start,
    sync: Sync,
    cache: Path,
) -> None:
    """The run succeeds with a warning, and the next one starts with a valid token."""
    emulator = start()
    assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
    put(cache, "revoked")
    emulator.reset_stats()
    result = sync(emulator, token_cache_path=str(cache))
    assert_complete(result, emulator)
    (line,) = result.levels("WARNING")
    assert line == (
        "The refresh token in token_cache_path is not accepted (HTTP 400 invalid_grant "
        "AADSTS70000). The configured one is, and replaces it."
    )
    assert emulator.stats().by_place["token"] == {"200": 1, "400": 1}
    emulator.reset_stats()
    again = sync(emulator, token_cache_path=str(cache))
    assert again.levels("WARNING") == []
    assert emulator.stats().by_place["token"] == {"200": 1}


def test_both_tokens_refused_is_told_once(start: Start, sync: Sync, cache: Path) -> None:
    """The reason is that of the newest token."""
    emulator = start(revoke_old_refresh_tokens=True)
    assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
    put(cache, "malformed")
    emulator.reset_stats()
    result = sync(emulator, token_cache_path=str(cache))
    assert result.exit_code == FINAL
    assert "AADSTS70000" in result.error
    assert result.levels("WARNING") == []
    assert emulator.stats().by_place == {"token": {"400": 2}}


def test_a_token_that_came_meanwhile_is_used(sync: Sync, cache: Path) -> None:
    """A process without the lock redeemed the token that was read, and stored its successor."""
    late: list[str] = []

    def clock() -> float:
        if late:
            cache.write_text(late.pop())
        return time.time()

    options = Options(customers=7, resellers=2, revoke_old_refresh_tokens=True)
    with Emulator(options, clock=clock) as emulator:
        assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
        old = cache.read_text()
        assert sync(emulator, token_cache_path=str(cache)).exit_code == 0
        new = cache.read_text()
        cache.write_text(old)
        emulator.reset_stats()
        # The emulator reads its clock when the request with the old token arrives.
        late.append(new)
        result = sync(emulator, token_cache_path=str(cache))
        assert_complete(result, emulator)
        assert emulator.stats().by_place["token"] == {"200": 1, "400": 1}
        assert result.levels("WARNING") == []


def test_a_process_that_hangs_on_the_cache_holds_nobody_up_for_ever(
    start: Start,
    sync: Sync,
    cache: Path,
) -> None:
    """The tap waits two minutes, says so meanwhile, goes on, and does not wait again."""
    emulator = start(Fault(place="resellers", times=1, expire_token=True))
    with cache.with_name("tokens.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = sync(emulator, token_cache_path=str(cache))
    assert_complete(result, emulator)
    assert emulator.stats().tokens_issued == 2
    assert 100 < sum(result.waits) < 121
    (line,) = result.levels("WARNING")
    assert line.startswith("Another process has held the lock of token_cache_path for 120 s")
    assert "Waiting for another process that signs in (token_cache_path)" in result.log


def test_a_file_system_without_locks_costs_no_run(
    start: Start,
    sync: Sync,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On such network file systems the token is still stored, with a warning."""

    def refuses(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuses)
    emulator = start(revoke_old_refresh_tokens=True)
    for _ in range(2):
        result = sync(emulator, token_cache_path=str(cache))
        assert_complete(result, emulator)
        (line,) = result.levels("WARNING")
        assert line.startswith("token_cache_path cannot be locked (No locks available): if two")


@pytest.mark.slow
def test_processes_that_share_a_cache_lock_nobody_out(start: Start, cache: Path) -> None:
    """Each redeems what the other stored, although the service revokes used tokens."""
    emulator = start(customers=24, revoke_old_refresh_tokens=True, token_latency=0.02)
    emulator.faults = [
        Fault(place="relationships", customer_id=str(each["id"]), times=1, expire_token=True)
        for each in emulator.customers()
    ]
    config = cache.with_name("config.json")
    settings = {"token_cache_path": str(cache), "max_concurrent_requests": 1}
    config.write_text(json.dumps({**emulator.tap_config(), **settings}))
    command = [sys.executable, "-m", "tap_partnercenter", "--config", str(config)]
    taps = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for tap in taps:
        stdout, stderr = tap.communicate(timeout=60)
        assert tap.returncode == 0, stderr
        assert " WARNING " not in stderr
        assert_complete(Result(0, stdout, stderr), emulator)
    # One for each process at its start, and one for each token revoked meanwhile.
    assert emulator.stats().by_place["token"] == {"200": 26}
