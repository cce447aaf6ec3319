"""Certificates instead of secrets, and stores for a refresh token."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Credentials, Fault
from tests import certificates
from tests.certificates import PASSWORD
from tests.command_line import FINAL, QuickClock, catalog_of, run_tap
from tests.conftest import KEY
from tests.failures import revocations
from tests.gateway import gateway
from tests.processes import begun, ended
from tests.truth import assert_complete

if TYPE_CHECKING:
    from pathlib import Path

    from partnercenter_demo.postgres import Server
    from partnercenter_emulator import Emulator
    from tests.conftest import Start, Sync

CERTIFICATE = certificates.certificate()
REGISTERED = Credentials(certificate=certificates.public(CERTIFICATE))
OTHER_KEY = base64.urlsafe_b64encode(b"o" * 32).decode()
OTHER_APP = "0b9f3c1e-6d25-4f8a-a3e7-5c1d2b4e6f80"
DAY = 86_400


# Certificates


def with_certificate(emulator: Emulator, path: Path, *, app_only: bool = False) -> dict[str, Any]:
    config: dict[str, Any] = emulator.tap_config(app_only=app_only)
    del config["client_secret"]
    return {**config, "client_certificate_path": str(path)}


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (certificates.pem(CERTIFICATE), None),
        (certificates.pem(CERTIFICATE), "of something else"),
        (certificates.pem(CERTIFICATE, password=PASSWORD), PASSWORD),
        (certificates.pfx(CERTIFICATE), PASSWORD),
    ],
    ids=["PEM", "PEM with a password that it does not need", "encrypted PEM", "PFX"],
)
def test_a_certificate_signs_in(
    content: bytes, password: str | None, start: Start, tmp_path: Path
) -> None:
    """Each sign-in has its own assertion: the service accepts none twice."""
    path = tmp_path / "app"
    path.write_bytes(content)
    emulator = start(Fault(place="resellers", times=1, expire_token=True), credentials=REGISTERED)
    config = with_certificate(emulator, path) | {"client_certificate_password": password}
    result = run_tap(config=config)
    assert_complete(result, emulator)
    assert emulator.stats().by_place["token"] == {"200": 2}
    assert result.levels("WARNING") == []


def test_a_certificate_signs_in_without_a_user(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "app.pem"
    path.write_bytes(certificates.pem(CERTIFICATE))
    emulator = start(credentials=REGISTERED)
    config = with_certificate(emulator, path, app_only=True)
    result = run_tap(config=config, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert len(result.records("customers")) == 7


UNUSABLE: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "cannot be read (No such file or directory)."),
    "nothing": (b"", "cannot be opened. Check client_certificate_password, and that the file"),
    "no key": (certificates.public(CERTIFICATE).encode(), "contains no private key. Put it into"),
    "no certificate": (certificates.pem(None), "contains no certificate for its private key."),
    "no certificate in a PFX": (certificates.pfx(None), "contains no certificate for its private"),
    "another certificate": (
        certificates.pem(CERTIFICATE, certificates.OTHER_KEY),
        "contains no certificate for its private key. Put both into one file.",
    ),
    "no RSA": (
        certificates.pem(certificates.certificate(certificates.CURVE_KEY), certificates.CURVE_KEY),
        "contains a key that is not RSA",
    ),
    "wrong password": (
        certificates.pem(CERTIFICATE, password="another"),  # noqa: S106 - not a secret
        "cannot be opened. Check client_certificate_password",
    ),
    "wrong password of a PFX": (
        certificates.pfx(CERTIFICATE, password="another"),  # noqa: S106 - not a secret
        "cannot be opened. Check client_certificate_password",
    ),
    "expired": (
        certificates.pem(certificates.certificate(begins=-30, ends=-1)),
        "the certificate expired on ",
    ),
    "not yet valid": (
        certificates.pem(certificates.certificate(begins=2)),
        "the certificate is not valid before ",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_certificate_is_reported_before_the_first_request(
    case: str, start: Start, tmp_path: Path
) -> None:
    """One line; nothing was sent, and the password appears nowhere."""
    content, reason = UNUSABLE[case]
    path = tmp_path / "app"
    if content is not None:
        path.write_bytes(content)
    emulator = start(credentials=REGISTERED)
    config = with_certificate(emulator, path) | {"client_certificate_password": PASSWORD}
    result = run_tap(config=config)
    assert result.exit_code == (1 if case in {"missing", "not yet valid"} else FINAL)
    assert result.error.startswith("client_certificate_path: ")
    assert reason in result.error
    assert PASSWORD not in result.stderr
    assert emulator.stats().requests == 0


def test_an_unregistered_certificate_is_reported(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "app.pem"
    path.write_bytes(certificates.pem(certificates.certificate()))
    result = run_tap(config=with_certificate(start(credentials=REGISTERED), path))
    assert result.exit_code == FINAL
    assert "AADSTS700027. The app does not know the certificate. Upload it" in result.error


@pytest.mark.parametrize(
    ("module", "settings", "extra"),
    [
        ("jwt", {"client_certificate_path": "app.pem"}, "certificate"),
        ("psycopg", {"token_cache_path": "postgresql://host/name"}, "database"),
        ("cryptography.fernet", {"token_cache_path": "tokens"}, "database"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(  # noqa: PLR0913, PLR0917
    module: str,
    settings: dict[str, Any],
    extra: str,
    start: Start,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    # They may have been imported with the library by another test.
    for user in ("certificate", "token_database"):
        monkeypatch.delitem(sys.modules, f"tap_partnercenter.{user}", raising=False)
    emulator = start()
    result = sync(emulator, token_cache_key=KEY, **settings)
    assert result.exit_code == 1
    assert f"install tap-partnercenter[{extra}]" in result.error
    assert emulator.stats().requests == 0


# Stores


def test_a_stored_token_is_used_by_the_next_run(
    start: Start, sync: Sync, store: dict[str, Any]
) -> None:
    """The service revokes redeemed tokens: only the stored successor works."""
    emulator = start(revoke_old_refresh_tokens=True)
    for _ in range(3):
        result = sync(emulator, **store)
        assert_complete(result, emulator)
        assert result.levels("WARNING") == []
    assert "AADSTS50173" in sync(emulator).error


def test_tokens_in_one_store_do_not_affect_each_other(
    start: Start, sync: Sync, store: dict[str, Any]
) -> None:
    """Two users of one app, and another app: no run takes or loses the token of another."""
    first, second = (start(revoke_old_refresh_tokens=True) for _ in range(2))
    app = Credentials(client_id=OTHER_APP)
    third = start(revoke_old_refresh_tokens=True, credentials=app)
    assert first.tap_config()["client_id"] == second.tap_config()["client_id"]
    for emulator in (first, second, third) * 2:
        emulator.reset_stats()
        result = sync(emulator, **store)
        assert_complete(result, emulator)
        assert emulator.stats().by_place["token"] == {"200": 1}
        assert result.levels("WARNING") == []


def test_a_stored_token_is_encrypted(
    start: Start, sync: Sync, database: Server, table: str
) -> None:
    """The row, or a dump of it, is useless without the key; keys can be rotated."""
    emulator = start(revoke_old_refresh_tokens=True)
    assert sync(emulator, token_cache_path=table, token_cache_key=KEY).exit_code == 0
    with database.connect() as connection:
        ((name, content),) = connection.execute(
            "select name, content from tap_partnercenter_tokens"
        ).fetchall()
    assert b"refresh_token" not in base64.urlsafe_b64decode(content)
    assert emulator.credentials.client_id not in name
    emulator.reset_stats()
    other = sync(emulator, token_cache_path=table, token_cache_key=OTHER_KEY)
    assert other.exit_code == 1
    assert "was not encrypted with token_cache_key. Set the key" in other.error
    assert emulator.stats().requests == 0
    for keys in (f"{OTHER_KEY}, {KEY}", OTHER_KEY):
        result = sync(emulator, token_cache_path=table, token_cache_key=keys)
        assert_complete(result, emulator)


class LaterClock(QuickClock):
    """Eleven weeks and two days ahead."""

    days = 79

    def now(self) -> float:
        return super().now() + self.days * DAY


def test_a_store_that_cannot_be_written_is_a_warning(
    start: Start, database: Server, table: str
) -> None:
    """The run succeeds; from two weeks before the token expires, the warning has the date too."""
    emulator = start()
    config = {**emulator.tap_config(), "token_cache_path": table, "token_cache_key": KEY}
    assert run_tap(config=config).exit_code == 0
    with database.connect() as connection:
        connection.execute("drop role if exists reader")
        connection.execute("create role reader login")
        connection.execute("grant select on tap_partnercenter_tokens to reader")
    config["token_cache_path"] = table.replace("postgres@", "reader@")
    result = run_tap(config=config)
    assert_complete(result, emulator)
    (line,) = result.levels("WARNING")
    assert line.startswith(
        "The new refresh token could not be stored in token_cache_path: InsufficientPrivilege."
    )
    result = run_tap(config=config, clock=LaterClock)
    assert_complete(result, emulator)
    _, line = result.levels("WARNING")
    assert line.startswith("The stored refresh token expires on 20")
    assert "tap-partnercenter-login" in line
    # If the store can be written, signing in postpones the expiry.
    config["token_cache_path"] = table
    assert run_tap(config=config, clock=LaterClock).levels("WARNING") == []


def test_each_use_moves_the_end_of_a_stored_token(start: Start, tmp_path: Path) -> None:
    """If dated from its first use, a token used every night would be dropped after 90 days."""

    class LaterClock(QuickClock):
        def now(self) -> float:
            return super().now() + 60 * DAY

    path = tmp_path / "tokens"
    config = {**start().tap_config(), "token_cache_path": str(path)}
    issued = []
    for clock in (QuickClock, LaterClock):
        assert run_tap(config=config, catalog=catalog_of("customers"), clock=clock).exit_code == 0
        (token,) = json.loads(path.read_text())["tokens"].values()
        issued.append(token["issued_at"])
    assert issued[1] - issued[0] > 59 * DAY


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("", "Connection refused"),
        ("?sslmode=nonsense", 'invalid sslmode value: "nonsense"'),
        ("?colour=red", 'invalid connection option "colour"'),
    ],
)
def test_an_unreachable_database_is_reported_without_its_password(
    options: str, reason: str, start: Start, sync: Sync
) -> None:
    """In a single line, with the reason: it is down, or the address is wrong."""
    emulator = start()
    url = f"postgresql://user:Passw0rdPlanted@127.0.0.1:1/name{options}"
    result = sync(emulator, token_cache_path=url, token_cache_key=KEY)
    assert result.exit_code == 1
    assert "the database name at 127.0.0.1 cannot be read (" in result.error
    assert reason in result.error
    assert result.levels("WARNING") == []
    assert "Passw0rdPlanted" not in result.stderr
    assert emulator.stats().requests == 0


@pytest.mark.parametrize("again", [False, True], ids=["one sign-in", "two"])
def test_a_database_that_restarts_while_a_token_is_redeemed_loses_no_token(
    again: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
    database: Server,
    table: str,
) -> None:
    """The new token is stored at the next sign-in, or at the end of the run."""
    emulator = start(revoke_old_refresh_tokens=True)
    emulator.faults = [Fault(place="resellers", times=1, expire_token=True)] * again
    with gateway(database) as between:
        stats = emulator.stats
        between.is_up = lambda: not stats().tokens_issued or "resellers" in stats().by_place
        restarted = sync(emulator, token_cache_path=between.url, token_cache_key=KEY)
    assert_complete(restarted, emulator)
    (line,) = restarted.levels("WARNING")
    assert line.startswith(
        "The new refresh token could not be stored in token_cache_path: the database postgres at "
        "127.0.0.1 cannot be read ("
    )
    result = sync(emulator, token_cache_path=table, token_cache_key=KEY)
    assert_complete(result, emulator)
    assert result.levels("WARNING") == []


@pytest.mark.parametrize(
    ("statement", "warning"),
    [
        ("pg_try_advisory_xact_lock", "token_cache_path cannot be locked ("),
        (
            "insert into tap_partnercenter_tokens",
            "The new refresh token could not be stored in token_cache_path: ",
        ),
    ],
    ids=["locked", "stored"],
)
def test_a_connection_that_breaks_in_a_statement_loses_no_token(  # noqa: PLR0913, PLR0917
    statement: str, warning: str, start: Start, sync: Sync, database: Server, table: str
) -> None:
    """The run ends with the newest token in the database, and says what failed meanwhile."""
    emulator = start(revoke_old_refresh_tokens=True)
    with gateway(database) as between:
        between.cut_at = statement.encode()
        broken = sync(emulator, token_cache_path=between.url, token_cache_key=KEY)
    assert_complete(broken, emulator)
    (line,) = broken.levels("WARNING")
    assert line.startswith(warning)
    result = sync(emulator, token_cache_path=table, token_cache_key=KEY)
    assert_complete(result, emulator)
    assert result.levels("WARNING") == []


def test_a_database_that_disappears_does_not_end_a_run(
    start: Start, sync: Sync, database: Server, table: str
) -> None:
    """The run has a valid token, and has read for hours."""
    assert table
    emulator = start(Fault(place="resellers", times=1, expire_token=True))
    with gateway(database) as between:
        between.is_up = lambda: "customers" not in emulator.stats().by_place
        result = sync(emulator, token_cache_path=between.url, token_cache_key=KEY)
    assert_complete(result, emulator)
    unreadable, unsaved = result.levels("WARNING")
    assert unreadable.startswith("token_cache_path: the database postgres at 127.0.0.1 cannot be")
    assert unreadable.endswith("The run continues with the token that it has.")
    assert unsaved.startswith("The new refresh token could not be stored in token_cache_path")


def test_a_database_that_hangs_does_not_stop_the_tap_forever(
    start: Start, sync: Sync, database: Server, table: str
) -> None:
    """Somebody has locked the table, first for everyone, then for writers only."""
    emulator = start()
    store: dict[str, Any] = {
        "token_cache_path": table,
        "token_cache_key": KEY,
        "request_timeout": 1,
    }
    assert sync(emulator, **store).exit_code == 0
    with database.connect() as connection:
        connection.execute("begin; lock table tap_partnercenter_tokens")
        unread = sync(emulator, **store)
        connection.execute("end; begin; lock table tap_partnercenter_tokens in share mode")
        unsaved = sync(emulator, **store)
    assert unread.exit_code == 1
    assert "the database postgres at" in unread.error
    assert "cannot be read (no response within 1 s)" in unread.error
    assert_complete(unsaved, emulator)
    (line,) = unsaved.levels("WARNING")
    assert "could not be stored in token_cache_path: no response within 1 s" in line


@pytest.mark.slow
def test_a_database_that_never_responds_is_reported(start: Start, sync: Sync) -> None:
    """A firewall, or a proxy without a database behind it, may accept connections."""
    emulator = start()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://user@127.0.0.1:{silent.getsockname()[1]}/name"
        result = sync(emulator, token_cache_path=url, token_cache_key=KEY, request_timeout=1)
    assert result.exit_code == 1
    assert "the database name at 127.0.0.1 cannot be read (connection timeout" in result.error
    assert emulator.stats().requests == 0


def test_an_unreachable_database_does_not_mean_app_only(start: Start, sync: Sync) -> None:
    """Without a configured token, the kind of these credentials is unknown."""
    emulator = start()
    url = "postgresql://user@127.0.0.1:1/name"
    result = sync(emulator, app_only=True, token_cache_path=url, token_cache_key=KEY)
    assert result.exit_code == 1
    assert "the database name at 127.0.0.1 cannot be read" in result.error
    assert emulator.stats().requests == 0


@pytest.mark.parametrize("member", [{}, {"refresh_token": 5}])
def test_a_service_that_does_not_rotate_leaves_the_store_unchanged(
    member: dict[str, Any], start: Start, sync: Sync, tmp_path: Path
) -> None:
    """The configured token is still the newest."""
    path = tmp_path / "tokens"
    answer = {"access_token": "opaque", "expires_in": 3599, **member}
    result = sync(start(Fault(place="token", json=answer)), token_cache_path=str(path))
    assert "HTTP 401" in result.error
    assert not path.exists()


@pytest.mark.slow
def test_a_process_that_hangs_with_the_database_does_not_block_others_forever(
    start: Start, sync: Sync, database: Server, table: str
) -> None:
    """As with a file: after two minutes the run continues."""
    emulator = start()
    config = emulator.tap_config()
    account = hashlib.sha256(f"{config['tenant_id']} {config['client_id']}".encode()).hexdigest()
    digest = hashlib.sha256(f"tap_partnercenter_tokens {account}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    with database.connect() as connection:
        connection.execute("select pg_advisory_lock(%s)", [key])
        result = sync(emulator, token_cache_path=table, token_cache_key=KEY)
    assert_complete(result, emulator)
    (line,) = result.levels("WARNING")
    assert line.startswith("Another process has held the lock of token_cache_path for 120 s")


def test_a_refused_configured_token_falls_back_to_none(
    start: Start, sync: Sync, store: dict[str, Any]
) -> None:
    """A refused token is reported once, with its own reason."""
    emulator = start()
    result = sync(emulator, refresh_token="0.nonsense", **store)  # noqa: S106 - nobody's
    assert result.exit_code == FINAL
    assert "AADSTS70000" in result.error
    assert emulator.stats().by_place == {"token": {"400": 1}}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["file", "database"], indirect=True)
@pytest.mark.parametrize("customers", [30, pytest.param(400, marks=pytest.mark.e2e)])
def test_processes_that_share_a_store_do_not_lock_each_other_out(
    customers: int, start: Start, store: dict[str, Any], tmp_path: Path
) -> None:
    """With a strict service, over hundreds of rotations, each redeems what another stored."""
    emulator = start(customers=customers, revoke_old_refresh_tokens=True, token_latency=0.02)
    emulator.faults = revocations(emulator)
    config = {**emulator.tap_config(), **store, "max_concurrent_requests": 1}
    for result in ended(begun(config, tmp_path, 2)):
        assert result.exit_code == 0, result.stderr
        assert " WARNING " not in result.stderr
        assert_complete(result, emulator)
    assert emulator.stats().by_place["token"] == {"200": customers + 2}
