"""Customers that the service refuses one by one: skipped, named and counted, up to a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of
from tests.failures import API, COLLECTIONS, assert_reported, assert_resumable, at, sampled
from tests.truth import held

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Broken, Start, Sync

INDIVIDUAL: dict[str, tuple[dict[str, Any], str]] = {
    "20002": (
        {"status": 403, "code": 20002},
        "HTTP 403, code 20002: the partner no longer has a commerce",
    ),
    "20002 as text": ({"status": 403, "code": "20002"}, "HTTP 403, code 20002: the partner"),
    "1002": ({"status": 403, "code": 1002}, "HTTP 403, code 1002: authorization failed"),
    "1000": ({"status": 404, "code": 1000}, "HTTP 404, code 1000: the service does not return"),
    "60003": ({"status": 404, "code": 60003}, "HTTP 404, code 60003: the service does not return"),
    "3000": ({"status": 400, "code": 3000}, "HTTP 400, code 3000: the service finds no relation"),
    "2000": ({"status": 400, "code": 2000}, "HTTP 400, code 2000: the service rejected"),
    "2012": ({"status": 400, "code": 2012}, "HTTP 400, code 2012: the service rejected"),
    "bad request": ({"status": 400, "shape": "C"}, "HTTP 400: the service rejected"),
    "gateway": ({"status": 404, "shape": "B"}, "HTTP 404: the service does not return"),
    "no body": ({"status": 403, "shape": "D"}, "HTTP 403: the service does not return"),
    "html": ({"status": 404, "shape": "html"}, "HTTP 404: the service does not return"),
}


def test_a_skip_without_a_user_recommends_one(start: Start, sync: Sync) -> None:
    """If other customers were answered, the summary says so; other statuses add no such advice."""
    document = {"items": [], "totalCount": 0}
    emulator = start(
        Fault(place="relationships", times=1, status=403, code=20002),
        Fault(place="relationships", times=1, status=404, code=1000),
        Fault(place="relationships", json=document),
        customers=5,
        app_only_code=0,
    )
    result = sync(emulator, app_only=True, catalog=catalog_of("customer_relationships"))
    assert result.exit_code == 0
    (_, line) = result.levels("WARNING")
    assert line.count("; set refresh_token)") == 1
    assert "code 20002" in line


@pytest.mark.parametrize(
    ("refusal", "place"),
    # After a link, code 2000 may mean that a token has expired.
    sampled([name for name in INDIVIDUAL if name != "2000"], COLLECTIONS, each=2),
)
def test_what_skips_a_customer_is_fatal_for_a_collection(
    refusal: str, place: Place, broken: Broken, sync: Sync
) -> None:
    """For a list, the codes about a single customer mean nothing beyond their status."""
    answer, _ = INDIVIDUAL[refusal]
    emulator = broken(Fault(place=place, **answer))
    result = sync(emulator, page_size=3)
    assert_reported(result, emulator, API[place], status=answer["status"])
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("refusal", INDIVIDUAL)
def test_a_lost_customer_is_skipped_and_named(refusal: str, broken: Broken, sync: Sync) -> None:
    """A refused customer is requested once, left out, counted, and named in the summary."""
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
        f"customer_relationships: 1 customer skipped; their records are missing: {lost} ({reason}",
    )
    assert " 1 customer skipped, " in result.log[-2]
    assert "deletes" not in result.stderr
    assert len([r for r in at(emulator, "relationships") if lost in r.path]) == 1


def test_a_customer_refused_in_the_middle_is_skipped_too(start: Start, sync: Sync) -> None:
    """Its first page is emitted, but the customer does not count as read."""
    emulator = start(customers=4, resellers=1)
    ids = [customer["id"] for customer in emulator.customers()]
    page = {"items": [{"id": "a", "relationshipType": "x"}], "continuationToken": "AQ/+"}
    fault: dict[str, Any] = {"place": "relationships", "customer_id": ids[1]}
    emulator.faults = [Fault(**fault, times=1, json=page), Fault(**fault, status=404, code=1000)]
    result = sync(emulator, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.stderr
    (line,) = result.levels("WARNING")
    assert f"1 customer skipped; their records are missing: {ids[1]} (HTTP 404, code 1000" in line
    owners = {owner for (owner,) in result.keys("customer_relationships", "customer_id")}
    assert owners == {*ids}
    assert result.keys("customer_refreshes", "customer_id") == [(ids[n],) for n in (0, 2, 3)]
    activated = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert activated == ["customers", "indirect_resellers", "reseller_customers"]


def test_a_pass_with_a_skipped_customer_deletes_nothing_in_its_stream(
    broken: Broken, sync: Sync
) -> None:
    """The relationships get no ACTIVATE_VERSION, each of the other streams gets one."""
    emulator = broken(Fault(place="relationships", skip=3, times=1, status=403, code=20002))
    result = sync(emulator, page_size=3, emit_activate_version_messages=True)
    assert result.exit_code == 0
    activated = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert activated == ["customers", "indirect_resellers", "reseller_customers"]


def test_a_skip_is_remembered_when_the_pass_is_resumed(broken: Broken, sync: Sync) -> None:
    """The gap belongs to the pass, not to the run: the run that completes it activates nothing."""
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
    assert activated == ["indirect_resellers", "reseller_customers"]


def test_the_first_ten_refused_are_systematic(start: Start, sync: Sync) -> None:
    """If every customer is refused, the partner lacks the right to ask: that is not a skip."""
    emulator = start(Fault(place="relationships", status=403, code=1002), customers=30)
    result = sync(emulator, page_size=20, max_concurrent_requests=1)
    assert_reported(result, emulator, "customer_relationships", status=403)
    assert "the service refused each of the first 10 customers" in result.error
    assert "Only indirect providers and indirect resellers" in result.error
    assert emulator.stats().by_place["relationships"] == {"403": 10}


def test_ten_refused_after_a_response_are_not_systematic(start: Start, sync: Sync) -> None:
    """Once the service has answered for one customer, refusals are individual."""
    emulator = start(Fault(place="relationships", skip=1, status=403, code=20002), customers=130)
    result = sync(emulator, max_skipped_customers=200, max_concurrent_requests=1)
    assert result.exit_code == 0
    (line,) = result.levels("WARNING")
    assert line.startswith("customer_relationships: 129 customers skipped")
    assert line.count("20002") == 100
    assert line.endswith(", …")


@pytest.mark.parametrize("customers", [2, 3])
def test_all_of_a_few_refused_are_systematic_too(customers: int, start: Start, sync: Sync) -> None:
    """With two of two customers refused, the run must not end as if it were complete."""
    emulator = start(Fault(place="relationships", status=403, code=1002), customers=customers)
    result = sync(emulator)
    assert result.exit_code == 1
    assert "the service refused every customer" in result.error
    assert "deselect customer_relationships" in result.error


def test_a_single_customer_may_be_refused(start: Start, sync: Sync) -> None:
    """One refusal does not show whether all would be: it is a skip like any other."""
    emulator = start(Fault(place="relationships", status=403, code=20002), customers=1)
    result = sync(emulator, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.error
    (line,) = result.levels("WARNING")
    assert line.startswith("customer_relationships: 1 customer skipped")


@pytest.mark.parametrize("resume", [False, True])
def test_refusals_of_an_earlier_run_are_not_systematic(
    resume: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
) -> None:
    """After a resume, one more refusal does not complete the first ten."""
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


@pytest.mark.parametrize("left", [0, 3])
def test_what_is_left_of_a_resumed_pass_does_not_show_what_is_systematic(
    left: int, start: Start, sync: Sync
) -> None:
    """Whether no customer or a refused few: the earlier run has read others."""
    emulator = start(
        Fault(place="relationships", skip=1, times=2, status=403, code=20002),
        Fault(place="continuation", skip=1, status=503),
        customers=6 + left,
        ending="empty",
    )
    broken_off = sync(emulator, page_size=3)
    assert broken_off.exit_code == 1
    emulator.faults = [Fault(place="relationships", status=403, code=20002)]
    result = sync(emulator, page_size=3, state=broken_off.state)
    assert result.exit_code == 0, result.error


@pytest.mark.parametrize(("most", "exit_code"), [(1, 1), (2, 0)])
def test_the_line_counts_the_skips_of_the_whole_pass(
    most: int, exit_code: int, start: Start, sync: Sync
) -> None:
    """An interruption does not double the number of customers that a table may lack."""
    emulator = start(
        Fault(place="relationships", skip=1, times=1, status=403, code=20002),
        Fault(place="continuation", skip=1, status=501),
        customers=9,
    )
    interrupted = sync(emulator, page_size=3, max_skipped_customers=most)
    assert interrupted.exit_code == 1
    emulator.faults = [Fault(place="relationships", skip=1, times=1, status=403, code=20002)]
    result = sync(emulator, page_size=3, max_skipped_customers=most, state=interrupted.state)
    assert result.exit_code == exit_code, result.stderr
    assert ("max_skipped_customers allows 1" in result.stderr) == (exit_code == 1)


@pytest.mark.parametrize(("most", "refused", "exit_code"), [(0, 1, 1), (2, 2, 0), (2, 3, 1)])
def test_the_operator_sets_the_limit_of_skipped_customers(
    most: int, refused: int, exit_code: int, start: Start, sync: Sync
) -> None:
    """max_skipped_customers is the highest number that is still accepted."""
    emulator = start(
        Fault(place="relationships", skip=1, times=refused, status=403, code=20002),
        customers=8,
    )
    result = sync(emulator, max_skipped_customers=most)
    assert result.exit_code == exit_code
    if exit_code:
        number = "1 customer" if refused == 1 else f"{refused} customers"
        assert f"{number} refused, max_skipped_customers allows {most}" in result.error
        assert "code 20002" in result.error
