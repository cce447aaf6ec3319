"""The contestants read what the emulator holds, and any that do not are detected."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from partnercenter_benchmarks.cases import CHILDREN, Case, Entry, cases
from partnercenter_benchmarks.contestants import Contestant, contestants
from partnercenter_benchmarks.measuring import measure, measure_all, verdict
from partnercenter_benchmarks.server import serving
from tests.benchmarks.made_up import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from partnercenter_benchmarks.cases import Name
    from partnercenter_benchmarks.server import Server
    from tests.conftest import Start

SMALL = Case(
    name="small",
    section="children",
    title="30 customers",
    streams=CHILDREN,
    entries=(),
    customers=30,
    resellers=3,
    partitions=(0, 3),
    page_size=7,
)
READY = contestants(())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(SMALL) as running:
        yield running


def fake_contestant(*lines: str, code: int = 0) -> Contestant:
    """A contestant that prints the given lines."""
    text = "".join(f"{line}\n" for line in lines)
    program = f"import sys; print({text!r}, end=''); sys.exit({code} and 'Oh no.')"
    return Contestant(lambda *_: [sys.executable, "-c", program])


def record(stream: str, **members: str) -> str:
    return json.dumps({"type": "RECORD", "stream": stream, "record": members})


def without_links(customer: Mapping[str, Any]) -> dict[str, Any]:
    profile = {name: value for name, value in customer["companyProfile"].items() if name != "links"}
    kept = {name: value for name, value in customer.items() if name != "links"}
    return {**kept, "companyProfile": profile}


@pytest.mark.parametrize("name", ["stock", "naive", "floor"])
def test_what_is_read_is_what_the_emulator_holds(name: Name, start: Start, tmp_path: Path) -> None:
    """Every field of every record, in the order of the API."""
    emulator = start(customers=30, resellers=3)
    resellers = [reseller["id"] for reseller in emulator.resellers()]
    settings = {
        **emulator.tap_config(),
        "page_size": 7,
        "max_concurrent_requests": 4,
        "reseller_ids": resellers,
    }
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    command = READY[name].command(tmp_path, CHILDREN)
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict[str, Any]]] = {stream: [] for stream in CHILDREN}
    states = [0]
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message["type"] == "RECORD":
            found[message["stream"]].append(message["record"])
        elif message["type"] == "STATE":
            states.append(len(line))
    # In its best configuration, the stock tap keeps no bookmark for each customer.
    assert (max(states) > 1_000) is (name == "naive")
    customers = {each["id"]: without_links(each) for each in emulator.customers()}
    assert found["customers"] == list(customers.values())
    assert found["customer_relationships"] == [
        {**each, "relationshipType": each.get("relationshipType") or "none"}
        for each in emulator.relationships()
    ]
    memberships = sorted(
        emulator.memberships(), key=lambda each: resellers.index(each["reseller_id"])
    )
    assert found["reseller_customers"] == [
        {**customers[each["customer_id"]], "reseller_id": each["reseller_id"]}
        for each in memberships
    ]


def test_a_run_is_measured(server: Server) -> None:
    """As a process, including the requests counted by the emulator."""
    found = measure(SMALL, Entry("floor", 4), READY["floor"], server, 1)
    assert (found.outcome, found.detail) == ("ok", "")
    assert found.records == sum(server.expected.values())
    assert 5e6 < found.memory < 5e8
    assert found.cpu > 0
    assert found.wall > 0.05
    assert found.stdout > 10_000
    # A token, five pages, thirty customers, and the pages of three partitions.
    assert found.requests >= 36 + 3
    assert 1 <= found.most_in_flight <= 4


def test_the_tap_respects_its_setting(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A higher number of concurrent requests is an error, not a result."""
    monkeypatch.setattr(server, "expected", {})
    seen = server.stats() | {"most_in_flight": 9}
    monkeypatch.setattr(server, "stats", lambda: seen)
    found = measure(SMALL, Entry("tap", 8), fake_contestant(), server, 0)
    assert (found.outcome, found.detail) == ("wrong", "9 requests in flight at once")
    assert measure(SMALL, Entry("floor", 8), fake_contestant(), server, 0).outcome == "ok"


def test_a_complete_case_is_measured() -> None:
    """Each contestant runs its rounds in turn; with a quota, its use is measured too."""
    entries = (Entry("floor", 4), Entry("naive", most_rounds=1))
    case = replace(SMALL, entries=entries, rounds=2)
    under_quota = replace(SMALL, entries=entries[:1], name="quota", quota=1_000)
    ready: dict[Name, Contestant] = {"floor": READY["floor"], "naive": fake_contestant(code=1)}
    (facts, runs), (_, waited) = measure_all([case, under_quota], ready)
    assert (facts.customers, facts.quota) == (30, 0)
    assert [(each.contestant, each.round) for each in runs] == [
        *(("floor", 0), ("naive", 0)),
        ("floor", 1),
    ]
    assert [each.outcome for each in (*runs, *waited)] == ["ok", "failed", "ok", "ok"]


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        (["a", "b"], "customers: 2 records instead of 3"),
        (["a", "b", "c", "d"], "customers: 4 records instead of 3"),
        (["a", "b", "b"], "customers: 1 records twice"),
    ],
)
def test_lost_and_duplicate_records_are_errors(
    server: Server, monkeypatch: pytest.MonkeyPatch, lines: list[str], detail: str
) -> None:
    """The run is wrong, and the command's exit code says so."""
    monkeypatch.setattr(server, "expected", {"customers": 3})
    fake = fake_contestant(*(record("customers", id=each) for each in lines))
    found = measure(SMALL, Entry("tap", 8), fake, server, 1)
    assert (found.outcome, found.detail) == ("wrong", detail)
    assert verdict([found]) == 1


def test_records_of_an_unrequested_stream_are_errors(server: Server) -> None:
    """They would cost time that no other contestant spends."""
    fake = fake_contestant(record("extra", id="a"))
    assert "extra: 1 records instead of 0" in measure(SMALL, Entry("tap"), fake, server, 0).detail


def test_a_contestant_that_fails_is_reported_with_its_last_lines(server: Server) -> None:
    """An error, except under a quota, where failing is a result; for the tap it always is one."""
    found = measure(SMALL, Entry("dlt", 8), fake_contestant(code=1), server, 1)
    assert (found.outcome, found.detail) == ("failed", "exit code 1: Oh no.")
    assert verdict([found]) == 1
    assert verdict([run("dlt", case="quota-500", outcome="failed")]) == 0
    assert verdict([run("tap", case="quota-500", outcome="failed")]) == 1
    assert verdict([run("dlt", case="quota-500", outcome="wrong")]) == 1


def test_the_users_settings_do_not_affect_a_contestant(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log level in the shell would distort the measurement."""
    monkeypatch.setenv("TAP_PARTNERCENTER_LOGLEVEL", "DEBUG")
    monkeypatch.setattr(server, "expected", {})
    program = "import os, sys; sys.exit('TAP_PARTNERCENTER_LOGLEVEL' in os.environ)"
    shell = Contestant(lambda *_: [sys.executable, "-c", program])
    assert measure(SMALL, Entry("tap", 8), shell, server, 1).outcome == "ok"


@pytest.mark.parametrize("quick", [True, False])
def test_cases_are_complete(quick: bool) -> None:  # noqa: FBT001
    """Names are unique, and the tap takes part everywhere."""
    found = cases(quick=quick)
    assert len({case.name for case in found}) == len(found)
    assert all("tap" in {entry.name for entry in case.entries} for case in found)
    sections = {"children", "siblings", "partitions", "records", "quota"}
    assert {case.section for case in found} <= sections


@pytest.mark.e2e
def test_dlt_reads_everything_too(server: Server) -> None:
    """In the environment created by the command."""
    found = measure(SMALL, Entry("dlt", 4), contestants(["dlt"])["dlt"], server, 1)
    assert (found.outcome, found.detail) == ("ok", "")
    assert found.records == sum(server.expected.values())
