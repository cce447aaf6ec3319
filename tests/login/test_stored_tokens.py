"""What a login stores, next to a configured token, an earlier login and running taps."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of, run_tap
from tests.failures import revocations
from tests.login.conftest import config_of
from tests.processes import begun, ended
from tests.truth import assert_complete

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.browser import Browser
    from tests.conftest import Start


def test_a_login_replaces_an_expired_configured_token(
    start: Start, sign_in: Callable[..., Result], tmp_path: Path
) -> None:
    """If the old token is still configured, the new one comes first or replaces it."""
    emulator = start(revoke_old_refresh_tokens=True)
    old = {"refresh_token": "0.old"}
    assert sign_in(emulator, **old).exit_code == 0
    run = run_tap(config=config_of(emulator, tmp_path, **old))
    assert_complete(run, emulator)
    assert run.levels("WARNING") == []
    # Removed from the configuration, as the command advises: the same token, not an earlier one.
    run = run_tap(config=config_of(emulator, tmp_path))
    assert_complete(run, emulator)
    assert run.levels("WARNING") == []
    # A configured token unknown to the login is tried once, and reported.
    emulator.faults = [Fault(place="resellers", times=1, expire_token=True)]
    emulator.reset_stats()
    other = run_tap(config=config_of(emulator, tmp_path, refresh_token="0.another"))  # noqa: S106
    assert_complete(other, emulator)
    (line,) = other.levels("WARNING")
    assert line.startswith("The configured refresh token is not accepted (HTTP 400 invalid_grant")
    assert emulator.stats().by_place["token"] == {"200": 2, "400": 1}


def test_a_token_that_is_stored_late_replaces_every_copy_of_its_predecessor(
    start: Start, sign_in: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for a moment, and the configured token is removed only afterwards."""
    emulator = start(revoke_old_refresh_tokens=True)
    old = {"refresh_token": "0.old"}
    assert sign_in(emulator, **old).exit_code == 0
    outcomes = iter([OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])

    def sync_to_disk(_: int) -> None:
        for error in outcomes:
            raise error

    monkeypatch.setattr(os, "fsync", sync_to_disk)
    for place in ("resellers", "partition"):
        emulator.faults = [*emulator.faults, Fault(place=place, times=1, expire_token=True)]
    emulator.reset_stats()
    run = run_tap(config=config_of(emulator, tmp_path, **old))
    assert_complete(run, emulator)
    (line,) = run.levels("WARNING")
    assert line.startswith("The new refresh token could not be stored in token_cache_path: No spa")
    assert emulator.stats().by_place["token"] == {"200": 3}
    run = run_tap(config=config_of(emulator, tmp_path))
    assert_complete(run, emulator)
    assert run.levels("WARNING") == []


@pytest.mark.parametrize("configured_first", [True, False])
def test_the_token_of_the_latest_chain_is_redeemed_first(
    configured_first: bool,  # noqa: FBT001
    start: Start,
    sign_in: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """Of a configured token and a login, each stored by itself: the older may be revoked by now."""
    emulator = start()
    config = config_of(emulator, tmp_path, refresh_token=emulator.credentials.refresh_token)

    def stored() -> dict[str, dict[str, Any]]:
        tokens: dict[str, dict[str, Any]] = json.loads((tmp_path / "tokens").read_text())["tokens"]
        return tokens

    def begin(*, configured: bool) -> None:
        result = run_tap(config=config) if configured else sign_in(emulator)
        assert result.exit_code == 0

    begin(configured=configured_first)
    (older,) = stored()
    begin(configured=not configured_first)
    tokens = stored()
    tokens[older]["refresh_token"] = "revoked"  # noqa: S105 - it is none
    (tmp_path / "tokens").write_text(json.dumps({"tokens": tokens}))
    emulator.reset_stats()
    run = run_tap(config=config)
    assert_complete(run, emulator)
    assert emulator.stats().by_place["token"] == {"200": 1}
    assert run.levels("WARNING") == []


def test_app_only_credentials_stay_app_only_without_a_login(start: Start, tmp_path: Path) -> None:
    config = config_of(start(), tmp_path)
    result = run_tap(config=config, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert any("app-only credentials" in line for line in result.log)
    with contextlib.suppress(FileNotFoundError):
        pytest.fail(str((tmp_path / "tokens").stat()))


def test_an_unreadable_token_is_kept_anyway(
    start: Start, browser: Browser, sign_in: Callable[..., Result]
) -> None:
    """It is unknown who signed in, but the streams show whether the token works."""
    answer = {"access_token": "opaque", "refresh_token": "0.of-nobody"}
    result = sign_in(start(Fault(place="token", times=1, json=answer)))
    assert result.exit_code == 1
    assert "Signed in.\n" in result.output
    assert "token                   none. sign-in: the token endpoint returned HTTP 400" in (
        result.output
    )
    assert "Signed in to Partner Center" in browser.pages[0].text


@pytest.mark.slow
@pytest.mark.parametrize("store", ["file", "database"], indirect=True)
@pytest.mark.parametrize("customers", [30, pytest.param(300, marks=pytest.mark.e2e)])
def test_a_login_and_two_taps_at_once_do_not_lock_each_other_out(
    customers: int,
    start: Start,
    sign_in: Callable[..., Result],
    store: dict[str, Any],
    tmp_path: Path,
) -> None:
    """They share a file or a database, and the service revokes each used token."""
    emulator = start(customers=customers, revoke_old_refresh_tokens=True)
    assert sign_in(emulator, **store).exit_code == 0
    emulator.faults = revocations(emulator)
    config = config_of(emulator, tmp_path, max_concurrent_requests=1, **store)
    taps = begun(config, tmp_path, 2)
    for _ in range(3):
        assert sign_in(emulator, **store).exit_code == 0
    for result in ended(taps):
        assert result.exit_code == 0, result.stderr
        assert " WARNING " not in result.stderr
        assert_complete(result, emulator)
    assert emulator.stats().by_place["token"].keys() == {"200"}
