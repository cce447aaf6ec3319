"""The token cache: refresh tokens that rotate, and a file that holds the newest."""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault, Options
from partnercenter_emulator.credentials import TENANT_DOMAIN
from tests.command_line import FINAL, QuickClock, catalog_of, run_tap
from tests.conftest import KEY
from tests.truth import assert_complete

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Start, Sync


WAITING = "Waiting for another process to sign in (token_cache_path)"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def cached(sync: Sync, cache: Path) -> Sync:
    """Run a whole sync with the cache."""
    return functools.partial(sync, token_cache_path=str(cache))


@pytest.fixture
def filled(start: Start, cached: Sync) -> Start:
    """Start an emulator whose first token is in the cache; its statistics are empty."""

    def fill(*faults: Fault, **options: Any) -> Emulator:
        emulator = start(*faults, **options)
        assert cached(emulator).exit_code == 0
        emulator.reset_stats()
        return emulator

    return fill


def test_a_rotated_refresh_token_is_used_afterwards(start: Start, sync: Sync) -> None:
    """Within a run each redemption uses the newest token: the previous one may be revoked."""
    emulator = start(
        *(Fault(place=place, times=1, expire_token=True) for place in ("partition", "resellers")),
        revoke_old_refresh_tokens=True,
    )
    assert_complete(sync(emulator, page_size=3), emulator)
    assert emulator.stats().by_place["token"] == {"200": 3}


def test_a_cached_refresh_token_is_used_by_the_next_run(
    filled: Start, cached: Sync, sync: Sync, cache: Path
) -> None:
    """With token_cache_path the next run starts with the newest token, in a file of mode 0600."""
    emulator = filled(revoke_old_refresh_tokens=True)
    first = cache.read_text()
    assert cache.stat().st_mode & 0o777 == 0o600
    assert emulator.credentials.refresh_token not in first
    assert_complete(cached(emulator), emulator)
    assert cache.read_text() != first
    # An empty lock file, and nothing else.
    lock = cache.with_name("tokens.json.lock")
    assert sorted(cache.parent.iterdir()) == [cache, lock]
    assert (lock.stat().st_size, lock.stat().st_mode & 0o777) == (0, 0o600)
    # Without the cache: the configured token is revoked by now.
    assert "AADSTS50173" in sync(emulator).error


def test_a_newly_configured_token_makes_the_cached_one_obsolete(start: Start, cached: Sync) -> None:
    """After a new consent the operator configures the new token, and the tap uses it."""
    before = start()
    assert cached(before).exit_code == 0
    after = start()
    assert_complete(cached(after), after)
    assert after.stats().by_place["token"] == {"200": 1}


def test_a_cached_token_is_not_sent_to_another_tenant(
    filled: Start, cached: Sync, cache: Path
) -> None:
    """It belongs to the settings that it was issued for, and only they redeem it."""
    emulator = filled()
    put(cache, "of the other tenant")
    result = cached(emulator, tenant_id=TENANT_DOMAIN)
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
        '{"tokens": {"\udcff": {}}}',
        pytest.param('{"a": ' + "[" * 100_000, id="deep"),
        None,
    ],
)
def test_an_unusable_cache_is_reported_in_one_line(
    content: str | None, start: Start, cached: Sync, cache: Path
) -> None:
    """A file with other content is not overwritten, and the line quotes nothing from it."""
    if content is None:
        cache.mkdir(mode=0o700)
    else:
        cache.touch(mode=0o600)
        cache.write_text(content, errors="surrogateescape")
    emulator = start()
    result = cached(emulator)
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: {cache} cannot be used (")
    assert "Delete it, or set another path." in result.error
    assert "Traceback" not in result.stderr
    assert emulator.stats().requests == 0


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_an_empty_cache_has_no_token(
    key: str | None, start: Start, cached: Sync, cache: Path
) -> None:
    """Someone created it, or a disk was full: the configured token still works."""
    cache.touch(mode=0o600)
    emulator = start()
    result = cached(emulator, token_cache_key=key)
    assert result.exit_code == 0
    assert ("refresh_token" in cache.read_text(encoding="utf-8")) is (key is None)
    assert cache.stat().st_size


def test_a_directory_as_cache_is_reported_without_suggesting_chmod(
    start: Start, cached: Sync, cache: Path
) -> None:
    """With mode 0600 no user could enter the directory."""
    cache.mkdir(mode=0o755)
    result = cached(start())
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: {cache} cannot be used (Is a directory).")
    assert "chmod" not in result.error


def test_a_cache_that_is_not_a_file_is_neither_read_nor_replaced(
    start: Start, cached: Sync, cache: Path
) -> None:
    """Nobody may ever write to a pipe; and root would replace /dev/null by a file."""
    os.mkfifo(cache, 0o600)
    result = cached(start())
    assert result.exit_code == 1
    assert result.error == f"token_cache_path: {cache} is not a file. Set another path."
    assert cache.is_fifo()


def test_a_home_folder_that_does_not_exist_is_reported_in_one_line(
    start: Start, sync: Sync
) -> None:
    """For a user without an entry in /etc/passwd, as in a container, `~` has no meaning."""
    emulator = start()
    result = sync(emulator, token_cache_path="~nobody-at-all/tokens")  # noqa: S106 - a path
    assert_complete(result, emulator)
    (line,) = result.levels("WARNING")
    assert line.startswith("The new refresh token could not be stored in token_cache_path: No such")
    result = sync(emulator, client_certificate_path="~nobody-at-all/app.pem")
    assert result.exit_code != 0
    assert result.error.startswith("client_certificate_path: ")


def test_a_cache_keeps_its_owner(filled: Start, cached: Sync, cache: Path) -> None:
    """Somebody tries something as root, and at night another user runs the tap again."""
    emulator = filled()
    owner = 12_345 if os.geteuid() == 0 else os.geteuid()
    os.chown(cache, owner, -1)
    assert cached(emulator).exit_code == 0
    assert emulator.stats().by_place["token"] == {"200": 1}
    assert cache.stat().st_uid == owner


def test_a_cache_of_another_user_is_not_to_be_deleted(
    filled: Start, cached: Sync, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds a valid token."""
    emulator = filled()

    def is_denied(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", is_denied)
    assert cached(emulator).error == (
        f"token_cache_path: {cache} cannot be used (Permission denied). Make the user of this "
        "process its owner, or set another path."
    )


def test_a_cache_that_links_to_itself_is_reported(start: Start, cached: Sync, cache: Path) -> None:
    """A bare OSError would not say where to look."""
    cache.symlink_to(cache)
    result = cached(start())
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: {cache} cannot be used (Too many levels")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_cache_that_others_may_read_is_refused(
    mode: int, start: Start, cached: Sync, cache: Path
) -> None:
    """A secret that others can read is not used silently."""
    cache.touch()
    cache.chmod(mode)
    result = cached(start())
    assert result.exit_code == 1
    assert result.error.startswith(f"token_cache_path: others may read {cache}. Run chmod 600")
    assert "Traceback" not in result.stderr


def test_a_cache_that_cannot_be_written_does_not_fail_the_run(
    start: Start, sync: Sync, cache: Path
) -> None:
    """The token is valid: a warning says what to fix."""
    emulator = start()
    result = sync(emulator, token_cache_path=str(cache / "missing" / "file"))
    assert_complete(result, emulator)
    (line,) = result.levels("WARNING")
    assert line.startswith("The new refresh token could not be stored in token_cache_path: No such")


@pytest.fixture
def fill_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After the call, no file can be written completely."""

    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", fails)


def test_a_token_that_could_not_be_stored_is_used_before_the_stored_one(
    filled: Start, cached: Sync, fill_disk: Callable[[], None]
) -> None:
    """The stored token was redeemed for it, and is not used again."""
    emulator = filled(revoke_old_refresh_tokens=True)
    emulator.faults = [Fault(place="customers", times=1, expire_token=True)]
    fill_disk()
    assert_complete(cached(emulator), emulator)
    assert emulator.stats().by_place["token"] == {"200": 2}


def test_a_cache_is_replaced_atomically(
    filled: Start, cached: Sync, cache: Path, fill_disk: Callable[[], None]
) -> None:
    """If the disk fails halfway, the file still holds the old token, complete."""
    emulator = filled()
    before = cache.read_text()
    fill_disk()
    result = cached(emulator)
    assert_complete(result, emulator)
    assert "No space left on device" in result.levels("WARNING")[0]
    assert cache.read_text() == before
    assert sorted(cache.parent.iterdir()) == [cache, cache.with_name("tokens.json.lock")]


def test_a_token_is_on_the_disk_before_it_replaces_the_old_one(
    filled: Start, cached: Sync, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure the file would be empty otherwise, and the old token redeemed."""
    emulator = filled()
    before = cache.read_text()
    written: list[tuple[int, str]] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: written.append((os.fstat(file).st_size, cache.read_text()))
    )
    assert cached(emulator).exit_code == 0
    assert written == [(cache.stat().st_size, before)]
    assert cache.read_text() != before


def test_a_symbolic_link_to_the_cache_is_kept(start: Start, cached: Sync, cache: Path) -> None:
    """The file may be on a volume: the link's target is replaced, whether or not it exists yet."""
    volume = cache.with_name("volume")
    volume.mkdir()
    cache.symlink_to("volume/tokens")
    emulator = start(revoke_old_refresh_tokens=True)
    for _ in range(2):
        assert_complete(cached(emulator), emulator)
        assert cache.is_symlink()
        assert sorted(path.name for path in volume.iterdir()) == ["tokens", "tokens.lock"]


def put(cache: Path, refresh_token: str) -> None:
    """Replace the token in the cache."""
    stored = json.loads(cache.read_text())
    for token in stored["tokens"].values():
        token["refresh_token"] = refresh_token
    cache.write_text(json.dumps(stored))


@pytest.mark.parametrize("faults", [[], [Fault(place="token", drop_field="refresh_token")]])
def test_a_refused_cached_token_falls_back_to_the_configured_one(
    faults: list[Fault], filled: Start, cached: Sync, cache: Path
) -> None:
    """The run succeeds with a warning, and the next one starts with a valid token, new or not."""
    emulator = filled()
    emulator.faults = faults
    put(cache, "revoked")
    result = cached(emulator)
    assert_complete(result, emulator)
    (line,) = result.levels("WARNING")
    assert line == (
        "The refresh token in token_cache_path is not accepted (HTTP 400 invalid_grant "
        "AADSTS70000). The configured one is, and replaces it."
    )
    assert emulator.stats().by_place["token"] == {"200": 1, "400": 1}
    emulator.reset_stats()
    again = cached(emulator)
    assert again.levels("WARNING") == []
    assert emulator.stats().by_place["token"] == {"200": 1}


def test_both_tokens_refused_is_reported_once(filled: Start, cached: Sync, cache: Path) -> None:
    """The reason is that of the newest token."""
    emulator = filled(revoke_old_refresh_tokens=True)
    put(cache, "malformed")
    result = cached(emulator)
    assert result.exit_code == FINAL
    assert "AADSTS70000" in result.error
    assert result.levels("WARNING") == []
    assert emulator.stats().by_place == {"token": {"400": 2}}


def test_a_token_stored_by_another_process_is_used(cached: Sync, cache: Path) -> None:
    """A process without the lock redeemed the token that was read, and stored its successor."""
    late: list[str] = []

    def clock() -> float:
        if late:
            cache.write_text(late.pop())
        return time.time()

    options = Options(customers=7, resellers=2, revoke_old_refresh_tokens=True)
    with Emulator(options, clock=clock) as emulator:
        assert cached(emulator).exit_code == 0
        old = cache.read_text()
        assert cached(emulator).exit_code == 0
        new = cache.read_text()
        cache.write_text(old)
        emulator.reset_stats()
        # The emulator reads its clock when the request with the old token arrives.
        late.append(new)
        result = cached(emulator)
        assert_complete(result, emulator)
        assert emulator.stats().by_place["token"] == {"200": 1, "400": 1}
        assert result.levels("WARNING") == []


def test_a_process_that_hangs_with_the_cache_does_not_block_others_forever(
    start: Start, cached: Sync, cache: Path
) -> None:
    """The tap waits for two minutes, says so, continues, and does not wait again."""
    emulator = start(Fault(place="resellers", times=1, expire_token=True))
    with cache.with_name("tokens.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = cached(emulator)
    assert_complete(result, emulator)
    assert emulator.stats().tokens_issued == 2
    assert 100 < sum(result.waits) < 121
    (line,) = result.levels("WARNING")
    assert line.startswith("Another process has held the lock of token_cache_path for 120 s")
    assert result.log.count(WAITING) == 1


def test_a_short_wait_for_another_process_is_not_logged(start: Start, cache: Path) -> None:
    """Each sign-in takes a moment."""
    emulator = start()
    with cache.with_name("tokens.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        class ReleasingClock(QuickClock):
            def wait(self, seconds: float) -> None:
                super().wait(seconds)
                if sum(self.waits) > 2:
                    fcntl.flock(lock, fcntl.LOCK_UN)

        config = {**emulator.tap_config(), "token_cache_path": str(cache)}
        result = run_tap(config=config, clock=ReleasingClock)
    assert_complete(result, emulator)
    assert 2 < sum(result.waits) < 3
    assert WAITING not in result.log
    assert result.levels("WARNING") == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOLCK, "No locks available"), (errno.ENOSYS, "Function not implemented")],
)
def test_a_file_system_without_locks_does_not_fail_the_run(
    number: int, reason: str, start: Start, cached: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On such network file systems the token is still stored, with a warning."""

    def refuses(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuses)
    emulator = start(revoke_old_refresh_tokens=True)
    for _ in range(2):
        result = cached(emulator)
        assert_complete(result, emulator)
        (line,) = result.levels("WARNING")
        assert line.startswith(f"token_cache_path cannot be locked ({reason}): if two")
