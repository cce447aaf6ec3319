"""`--test` as files: what an operator reads when the credentials do not work.

Run `pytest tests/test_connection.py --update-golden` to rewrite the files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Credentials, Fault
from tests import certificates
from tests.command_line import FINAL, catalog_of, run_tap
from tests.failures import API
from tests.test_credentials import with_certificate

if TYPE_CHECKING:
    from tests.command_line import Result
    from tests.conftest import Start, Sync

GOLDEN = Path(__file__).parent / "golden" / "connection"
#: Emulator faults and options, and tap settings.
CASES: dict[str, tuple[list[Fault], dict[str, Any], dict[str, Any]]] = {
    "healthy": ([], {}, {}),
    "app_only": ([], {}, {"refresh_token": None}),
    "missing_role": ([Fault(place="resellers", status=403, code=900150)], {}, {}),
    "missing_mfa": ([], {"mfa": "code"}, {}),
    "missing_mfa_in_its_old_form": ([], {"mfa": "header"}, {}),
    "dead_audience": ([Fault(place=p, status=401, code="900420") for p in API], {}, {}),
    "wrong_tenant": ([], {}, {"tenant_id": "contoso.example"}),
    "wrong_secret": ([], {}, {"client_secret": "wrong"}),
    "expired_consent": ([Fault(place="token", status=400, code=700082)], {}, {}),
    "no_indirect_provider": (
        [
            Fault(place=place, status=403, code=1002)
            for place in ("resellers", "partition", "relationships")
        ],
        {},
        {},
    ),
    "unreachable": ([], {}, {"api_url": "http://127.0.0.1:1"}),
    "little_patience": (
        [Fault(place="resellers", status=503)],
        {},
        {"max_retry_seconds": 2},
    ),
    "no_authority": ([], {}, {"auth_url": "http://127.0.0.1:1"}),
}


def reported(result: Result) -> str:
    """The table and the last line, without what changes from run to run."""
    lines = [f"exit code {result.exit_code}", *result.log]
    text = "\n".join(line for line in lines if not line.startswith(("Skipping", "tap-partner")))
    text = re.sub(r"(MS-\w+) [\w.-]{8,}", r"\1 …", text)
    text = re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?", "DATE", text)
    return re.sub(r"(failed|complete): .*", r"\1: …", text) + "\n"


def assert_golden(result: Result, name: str, request: pytest.FixtureRequest) -> None:
    path = GOLDEN / f"{name}.txt"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(reported(result), encoding="utf-8")
    assert reported(result) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_a_connection_test_explains(
    case: str, start: Start, request: pytest.FixtureRequest
) -> None:
    """Credentials, tenant, cloud, token, and each stream with its rows, or reason and remedy."""
    faults, options, settings = CASES[case]
    emulator = start(*faults, **options)
    result = run_tap("--test", config={**emulator.tap_config(), **settings})
    assert (result.exit_code == 0) == (case == "healthy")
    assert result.stdout == ""
    assert emulator.credentials.client_secret not in result.stderr
    assert sum(result.waits) < 60
    assert_golden(result, case, request)


def test_a_connection_test_of_app_only_credentials_passes(
    start: Start, request: pytest.FixtureRequest
) -> None:
    config = start().tap_config(app_only=True)
    result = run_tap("--test", config=config, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert_golden(result, "app_only_customers", request)


def test_a_connection_test_names_its_own_limit(start: Start) -> None:
    """No setting allows a longer wait."""
    emulator = start(Fault(place="customers", status=429, headers={"Retry-After": "57"}))
    result = run_tap("--test", config=emulator.tap_config(), catalog=catalog_of("customers"))
    assert "asks for a pause of 57 s; the limit of --test allows 15." in result.error


def test_a_connection_test_does_not_wait_for_the_pause_of_another_stream(start: Start) -> None:
    """The first stream is told to wait longer than the test may; the others are not tried then."""
    emulator = start(Fault(place="customers", status=429, headers={"Retry-After": "57"}))
    result = run_tap("--test", config=emulator.tap_config())
    assert result.exit_code == 1
    assert sum(result.waits) < 15
    assert "HTTP 429 on another request" in table(result)["indirect_resellers"]


def test_a_connection_test_keeps_to_the_configured_rate(start: Start) -> None:
    """Its own slots may be a minute apart: nobody refused anything."""
    config = {**start().tap_config(), "max_requests_per_minute": 1}
    assert run_tap("--test", config=config).exit_code == 0


def test_a_connection_test_of_only_a_child_requests_a_parent(start: Start) -> None:
    result = run_tap("--test", config=start().tap_config(), catalog=catalog_of("subscriptions"))
    assert result.exit_code == 0
    assert any(line.startswith("subscriptions  reachable") for line in result.log)
    assert not any(line.startswith("customers") for line in result.log)


@pytest.mark.parametrize("name", ["certificate", "expired_certificate"])
def test_a_connection_test_reports_the_certificate(
    name: str, start: Start, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Its expiry, or that it has expired."""
    made = certificates.certificate(begins=-40, ends=-1 if name.startswith("expired") else 40)
    path = tmp_path / "app.pem"
    path.write_bytes(certificates.pem(made))
    emulator = start(credentials=Credentials(certificate=certificates.public(made)))
    result = run_tap("--test", config=with_certificate(emulator, path))
    assert (result.exit_code == FINAL) == name.startswith("expired")
    assert_golden(result, name, request)


def test_a_connection_test_reports_when_the_refresh_token_expires(
    start: Start, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With a store the day is known: the test itself has postponed it."""
    settings = {"token_cache_path": str(tmp_path / "tokens")}
    result = run_tap("--test", config={**start().tap_config(), **settings})
    assert_golden(result, "with_a_store", request)


def test_a_token_that_cannot_be_read_is_not_a_failure(start: Start) -> None:
    """Its content is for the API; the operator sees it only if it can be read."""
    said = {
        "opaque": "granted, but its claims cannot be read.",
        "a.b.c": "granted, but its claims cannot be read.",
        "a.W10.c": "granted, but its claims cannot be read.",
        "a.eyJleHAiOiAxZTk5OTl9.c": "no roles",
        "a.eyJleHAiOiAxMDAwMDAwMDAwMDAwMDAwMDAwfQ.c": "granted, but its claims cannot be read.",
    }
    for token, text in said.items():
        answer = {"access_token": token, "expires_in": 3599, "refresh_token": "0.next"}
        emulator = start(Fault(place="token", json=answer))
        result = run_tap("--test", config=emulator.tap_config())
        assert result.exit_code == 1
        assert any("HTTP 401" in line for line in result.log)
        (row,) = [line for line in result.log if line.startswith("token ")]
        assert row.endswith(f"  {text}")


ANSWERED = {"customers", "customer_relationships", "indirect_resellers", "reseller_customers"}


def table(result: Result) -> dict[str, str]:
    """The rows of a connection test's table: name and text."""
    rows = [re.split("  +", line, maxsplit=1) for line in result.log if "  " in line]
    return {name: text for name, text in rows}  # noqa: C416 - rows are lists


def answered(result: Result) -> set[str]:
    """The reachable streams."""
    return {name for name, text in table(result).items() if text.startswith("reachable, ")}


def test_a_connection_test_tries_every_stream(start: Start, sync: Sync) -> None:
    """`--test` requests one record of each stream, the child too, and prints a sentence for it."""
    emulator = start()
    result = sync(emulator, "--test")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert answered(result) == ANSWERED
    assert table(result)["customers"] == "reachable, 7 rows on the first page"
    places = emulator.stats().by_place
    assert {"customers", "relationships", "resellers", "partition"} <= places.keys()
    assert places["relationships"] == {"200": 1}
    assert "error" not in result.stderr.lower()
    for customer in emulator.customers():
        assert str(customer["companyProfile"]["companyName"]) not in result.stderr


@pytest.mark.parametrize("behind", [False, True])
def test_a_connection_test_tries_what_is_selected(
    behind: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
    tmp_path: Path,
) -> None:
    """App-only, the other streams would refuse; the catalog may precede or follow the option."""
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(catalog_of("customers")), encoding="utf-8")
    options = ["--catalog", str(path), "--test"]
    options = [options[2], *options[:2]] if behind else options
    result = sync(start(), *options, app_only=True)
    assert result.exit_code == 0
    assert answered(result) == {"customers"}
    assert not table(result).keys() & (ANSWERED - {"customers"})


@pytest.mark.parametrize(
    ("place", "silent"),
    [
        ("customers", {"customers", "customer_relationships"}),
        ("resellers", {"indirect_resellers", "reseller_customers"}),
        ("partition", {"reseller_customers"}),
    ],
)
def test_a_connection_test_fails_with_the_stream_that_does_not_respond(
    place: Any, silent: set[str], start: Start, sync: Sync
) -> None:
    """The others are still tried; the exit code is 1."""
    emulator = start(Fault(place=place, status=403))
    result = sync(emulator, "--test")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert answered(result) == ANSWERED - silent
    for name in silent:
        assert table(result)[name].startswith("not reachable: ")
        assert "MS-" not in table(result)[name]
    assert "HTTP 403" in result.error
    assert "MS-CorrelationId" in result.error


@pytest.mark.parametrize(
    ("options", "faults", "reported"),
    [
        (
            {"customers": 0},
            [],
            {
                "customers": "reachable, but it has no rows.",
                "customer_relationships": "not tried: there are no customers.",
            },
        ),
        (
            {"resellers": 0},
            [],
            {
                "indirect_resellers": "reachable, but it has no rows.",
                "reseller_customers": "reachable, but it has no rows.",
            },
        ),
        (
            {},
            [Fault(place="relationships", status=404)],
            {
                "customer_relationships": (
                    "reachable, but it refused the one customer that was tried."
                ),
            },
        ),
    ],
)
def test_a_connection_test_says_what_it_could_not_see(
    options: dict[str, Any], faults: list[Fault], reported: dict[str, str], start: Start, sync: Sync
) -> None:
    """An empty response or a refusal is still an answer, but a less informative one."""
    result = sync(start(*faults, **options), "--test")
    assert result.exit_code == 0
    assert reported.items() <= table(result).items()
