"""Code 2000 for a continuation: the end of the data, an expired token, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of
from tests.failures import API, assert_reported, assert_resumable
from tests.truth import Warehouse, assert_complete, assert_customers, held

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Broken, Start, Sync

CUSTOMERS = catalog_of("customers")


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("customers", 2000),
        ("partition", 2000),
        ("resellers", "2000"),
        ("continuation", 2000),
        ("partition_continuation", "2000"),
    ],
)
def test_code_2000_is_an_error_on_a_first_page_and_after_a_link(
    place: Place, code: Any, broken: Broken, sync: Sync
) -> None:
    """Treating it as the end would lose customers; a link is the service's own request."""
    emulator = broken(Fault(place=place, status=400, code=code))
    result = sync(emulator, page_size=3)
    assert_reported(result, emulator, API[place], status=400)
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize(
    ("form", "ending"),
    [("token_only", "code_2000"), ("relative", "code_2000_link"), ("versioned", "code_2000_link")],
)
def test_the_2000_ending_is_an_end_after_a_short_page(
    form: str, ending: str, start: Start, sync: Sync
) -> None:
    """The last page may have a token; using it returns 400 with code 2000."""
    emulator = start(customers=7, link_form=form, ending=ending)
    assert_complete(sync(emulator, page_size=3), emulator)
    assert emulator.stats().by_place["continuation"] == {"200": 2, "400": 1}


@pytest.mark.parametrize("customers", [1, 2, 3, 8])
def test_the_2000_ending_is_an_end_after_the_only_page(
    customers: int, start: Start, sync: Sync
) -> None:
    """A short list has no page to compare with: read in halves, it has the same rows."""
    emulator = start(customers=customers, link_form="token_only", ending="code_2000")
    result = sync(emulator, catalog=CUSTOMERS)
    assert_customers(result, emulator)
    assert result.levels("WARNING") == []
    assert emulator.stats().by_place["customers"] == {"200": 2}
    assert emulator.stats().by_place["continuation"]["400"] == 2
    halves = [request.path for request in emulator.requests][-3:]
    assert all(f"size={max(1, customers // 2)}" in path for path in halves[-2:])


def test_only_the_whole_page_may_have_a_token_that_leads_nowhere(start: Start, sync: Sync) -> None:
    """Its halves end without one."""
    emulator = start(customers=3, link_form="token_only")
    whole = {"items": [*emulator.customers()], "continuationToken": "no such token"}
    emulator.faults = [Fault(place="customers", times=1, json=whole)]
    assert_customers(sync(emulator, catalog=CUSTOMERS), emulator)


@pytest.mark.parametrize("requests_at_once", [1, 8])
@pytest.mark.parametrize("pages", [0, 1])
@pytest.mark.parametrize("page_size", [4, 500])
@pytest.mark.parametrize("form", ["relative", "token_only"])
def test_a_token_that_expires_after_a_full_page_loses_no_customer(
    form: str, page_size: int, pages: int, requests_at_once: int, request: pytest.FixtureRequest
) -> None:
    """Not even if the service sends fewer records than requested."""
    start, sync = request.getfixturevalue("start"), request.getfixturevalue("sync")
    refused = Fault(place="continuation", skip=pages, times=1, status=400, code=2000)
    emulator = start(refused, customers=16, link_form=form, page_limit=4)
    result = sync(
        emulator,
        page_size=page_size,
        max_concurrent_requests=requests_at_once,
        emit_activate_version_messages=True,
    )
    assert result.exit_code == 0, result.stderr
    ids = held(emulator)["customers"]
    assert result.keys("customers", "id") == [*ids[: 4 * (pages + 1)], *ids]
    reported = [line for line in result.log if "reading again from the first page" in line]
    assert len(reported) == 1
    assert reported[0].startswith("customers: ")
    warehouse = Warehouse()
    warehouse.load(result.stdout.splitlines())
    warehouse.assert_equals(emulator)


@pytest.mark.parametrize("form", ["relative", "token_only"])
def test_a_token_that_expires_after_an_empty_page_loses_no_customer(
    form: str, start: Start, sync: Sync
) -> None:
    """An empty page in the middle is not a short one: the page before it was full."""
    # Every second page is empty: the continuation after the first such page is refused.
    refused = Fault(place="continuation", skip=1, times=1, status=400, code=2000)
    emulator = start(refused, customers=16, link_form=form, empty_page_every=2)
    result = sync(emulator, page_size=4, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.stderr
    ids = held(emulator)["customers"]
    assert result.keys("customers", "id") == [*ids[:4], *ids]
    warehouse = Warehouse()
    warehouse.load(result.stdout.splitlines())
    warehouse.assert_equals(emulator)


@pytest.mark.parametrize("customers", [2, 6])
def test_the_2000_ending_is_an_end_after_a_short_page_and_an_empty_one(
    customers: int, start: Start, sync: Sync
) -> None:
    emulator = start(
        customers=customers,
        link_form="token_only",
        ending="code_2000",
        empty_page_every=2,
    )
    result = sync(emulator, catalog=CUSTOMERS, page_size=4)
    assert_customers(result, emulator)


@pytest.mark.parametrize(("customers", "short"), [(8, True), (9, False)])
def test_a_resumed_run_knows_the_size_of_earlier_pages(
    customers: int,
    short: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
) -> None:
    """The last page is compared with those of the interrupted run, and not read again."""
    emulator = start(customers=customers, link_form="token_only", ending="code_2000", page_limit=3)
    emulator.faults = [Fault(place="continuation", skip=1, times=1, status=501)]
    interrupted = sync(emulator, catalog=CUSTOMERS)
    assert interrupted.exit_code == 1
    result = sync(emulator, catalog=CUSTOMERS, state=interrupted.state)
    last = held(emulator)["customers"][6:]
    assert result.keys("customers", "id")[: len(last)] == last
    restarted = any("reading again from the first page" in line for line in result.log)
    assert restarted is not short
    assert (result.exit_code == 0) is short


def test_a_link_without_a_token_is_not_the_end(start: Start, sync: Sync) -> None:
    """Only a token may follow the last page: a link may not, even after a short page."""
    emulator = start(customers=8)
    short = [{"id": customer["id"]} for customer in [*emulator.customers()][3:5]]
    link = {"uri": "/customers?size=3&seekOperation=Next", "method": "GET"}
    # The emulator refuses this link with 400 and code 2000.
    page = {"items": short, "links": {"next": link}}
    emulator.faults = [Fault(place="continuation", times=1, json=page)]
    result = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert result.exit_code == 0, result.stderr
    ids = held(emulator)["customers"]
    assert result.keys("customers", "id") == [*ids[:5], *ids]


def test_a_refused_token_does_not_make_the_first_page_the_whole_list(
    start: Start, sync: Sync
) -> None:
    """Requested again in pages of its own size, it would look complete again."""
    refused = Fault(place="continuation", status=400, code=2000)
    emulator = start(refused, customers=16, link_form="token_only", page_limit=4)
    result = sync(emulator, catalog=CUSTOMERS)
    assert "Refused again after restarting the stream." in result.error


def test_a_token_that_is_refused_again_ends_the_run(start: Start, sync: Sync) -> None:
    """The stream starts over once, then a line says what may help; no data counts as complete."""
    emulator = start(
        Fault(place="continuation", skip=1, every=2, status=400, code=2000),
        customers=16,
        link_form="token_only",
    )
    result = sync(emulator, page_size=4, emit_activate_version_messages=True)
    assert result.exit_code == 1
    assert "customers: HTTP 400, code 2000: the service rejected a continuation" in result.error
    assert "Set a smaller page_size" in result.error
    assert "Refused again after restarting the stream." in result.error
    assert result.counts["ACTIVATE_VERSION"] == 0
    assert emulator.stats().by_place["customers"] == {"200": 2}


def test_without_a_page_size_none_is_suggested(start: Start, sync: Sync) -> None:
    """The number of resellers on a page is the service's, so only time or deselecting can help."""
    fault = Fault(place="resellers_continuation", status=400, code=2000)
    emulator = start(fault, resellers=3, collection_page_limit=2, link_form="token_only")
    result = sync(emulator, catalog=catalog_of("indirect_resellers"))
    assert result.exit_code == 1
    assert "Refused again after restarting the stream." in result.error
    assert "Try again later, or deselect the stream." in result.error
    assert "page_size" not in result.error


def test_a_token_that_expires_in_a_partition_loses_no_customer(start: Start, sync: Sync) -> None:
    """Only that reseller is read again."""
    emulator = start(customers=30, resellers=3, link_form="token_only")
    second = str([*emulator.resellers()][1]["id"])
    fault: dict[str, Any] = {"reseller_id": second, "times": 1, "status": 400, "code": 2000}
    emulator.faults = [Fault(place="partition_continuation", **fault)]
    result = sync(emulator, catalog=catalog_of("reseller_customers"), page_size=3)
    keys = held(emulator)["reseller_customers"]
    page = [key for key in keys if key[0] == second][:3]
    place = keys.index(page[0])
    expected = [*keys[:place], *page, *keys[place:]]
    assert result.keys("reseller_customers", "reseller_id", "id") == expected
    emulator.faults = [
        Fault(place="partition_continuation", **{**fault, "reseller_id": str(reseller["id"])})
        for reseller in emulator.resellers()
    ]
    result = sync(emulator, catalog=catalog_of("reseller_customers"), page_size=3)
    assert result.exit_code == 0, result.stderr
    assert sum("reading again from the first page" in line for line in result.log) == 1


@pytest.mark.parametrize(
    ("place", "sizes", "complete"),
    [
        # The number of resellers on a page is the service's.
        ("resellers", [2, 1], True),
        ("resellers", [2, 2], False),
        # A service may send more than was requested: two are requested here.
        ("customers", [4, 1], True),
        ("customers", [4, 3], False),
    ],
)
def test_a_short_page_has_fewer_records_than_requested_and_than_another(
    place: Place,
    sizes: list[int],
    complete: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
) -> None:
    """Otherwise the token has expired, and the rest would be lost."""
    ids = [str(number) for number in range(9)]
    pages = [
        {"items": [{"id": ids.pop(0)} for _ in range(size)], "continuationToken": f"token {number}"}
        for number, size in enumerate(sizes)
    ]
    emulator = start(
        Fault(place=place, times=1, json=pages[0]),
        Fault(place="any", skip=2, times=1, json=pages[1]),
        Fault(place="any", skip=3, times=1, status=400, code=2000),
    )
    result = sync(emulator, catalog=catalog_of(API[place]), page_size=2)
    assert result.exit_code == 0, result.stderr
    restarted = any("reading again from the first page" in line for line in result.log)
    assert restarted is not complete


@pytest.mark.parametrize("requests_at_once", [1, 8])
def test_a_token_that_expires_for_a_customer_loses_no_relationship(
    requests_at_once: int, start: Start, sync: Sync
) -> None:
    """Only that customer is requested again."""
    emulator = start(customers=5)
    ids = [str(customer["id"]) for customer in emulator.customers()]
    pages = [
        {"items": [{"id": "a", "relationshipType": "x"}], "continuationToken": "AQ/+"},
        {"items": [{"id": "b", "relationshipType": "x"}]},
    ]
    answers: list[dict[str, Any]] = [
        {"json": pages[0]},
        {"status": 400, "code": 2000},
        {"json": pages[0]},
        {"json": pages[1]},
    ]
    emulator.faults = [
        Fault(place="relationships", customer_id=ids[2], skip=number, times=1, **answer)
        for number, answer in enumerate(answers)
    ]
    result = sync(emulator, max_concurrent_requests=requests_at_once)
    assert result.exit_code == 0, result.stderr
    found = result.keys("customer_relationships", "customer_id", "id")
    assert [key for customer, key in found if customer == ids[2]] == ["a", "a", "b"]
    others = [key[:2] for key in held(emulator)["customer_relationships"] if key[0] != ids[2]]
    assert [key for key in found if key[0] != ids[2]] == others
    # The next pass is compared with the rows of the second reading.
    assert result.state["bookmarks"]["customer_relationships"]["rows"] == len(found) - 1
