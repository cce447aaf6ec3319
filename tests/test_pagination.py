"""Pagination over a real socket: which request comes next, with which headers, and the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest

from partnercenter_emulator import Fault
from partnercenter_emulator.options import LinkForm
from tap_partnercenter.pagination import UnusableContinuation, absolute_url
from tests.command_line import catalog_of
from tests.truth import Warehouse, held

if TYPE_CHECKING:
    from partnercenter_emulator import Emulator
    from tests.command_line import Result
    from tests.conftest import Start, Sync

API = "https://api.partnercenter.microsoft.com"
CUSTOMERS = catalog_of("customers")
FORMS = get_args(LinkForm)


def complete(result: Result, emulator: Emulator) -> bool:
    ids = [customer["id"] for customer in emulator.customers()]
    return result.exit_code == 0 and [key for (key,) in result.keys("customers", "id")] == ids


def targets(emulator: Emulator) -> list[str]:
    """The paths requested from the API, in order."""
    return [request.path for request in emulator.requests if request.place != "token"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", ["plain", "no_links", "empty_links", "null_next", "empty"])
def test_every_form_of_link_leads_to_every_record(
    form: str,
    ending: str,
    start: Start,
    sync: Sync,
) -> None:
    """Whatever a page's link and the last page look like, nothing is lost."""
    emulator = start(customers=10, link_form=form, ending=ending)
    assert complete(sync(emulator, catalog=CUSTOMERS, page_size=3), emulator)


def test_a_link_is_followed_with_all_of_its_headers(start: Start, sync: Sync) -> None:
    """The emulator refuses a continuation without all headers of its link."""
    emulator = start(customers=10, extra_link_headers=True)
    assert complete(sync(emulator, catalog=CUSTOMERS, page_size=4), emulator)


def test_a_link_is_followed_as_it_is(start: Start, sync: Sync) -> None:
    """The service's address is used unchanged."""
    emulator = start(customers=5, link_form="versioned")
    sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert targets(emulator) == ["/v1/customers?size=3", "/v1/customers?size=3&seekOperation=Next"]


def test_a_token_in_the_body_repeats_the_query(start: Start, sync: Sync) -> None:
    """Without a link the tap repeats its request, with the token in the header."""
    emulator = start(customers=5, link_form="token_only")
    assert complete(sync(emulator, catalog=CUSTOMERS, page_size=2), emulator)
    assert targets(emulator) == [
        "/v1/customers?size=2",
        "/v1/customers?size=2&seekOperation=Next",
        "/v1/customers?size=2&seekOperation=Next",
    ]


def test_a_filter_is_repeated_with_a_token_in_the_body(start: Start, sync: Sync) -> None:
    """It is undocumented whether the service remembers the filter, so it is sent again."""
    emulator = start(customers=40, resellers=1, link_form="token_only")
    result = sync(emulator, catalog=catalog_of("reseller_customers"), page_size=20)
    members = [member["customer_id"] for member in emulator.memberships()]
    assert [key for (key,) in result.keys("reseller_customers", "id")] == members
    pages = [target for target in targets(emulator) if "filter=" in target]
    assert len(pages) == -(-len(members) // 20)
    assert pages[1] == f"{pages[0]}&seekOperation=Next"


@pytest.mark.parametrize("form", FORMS)
def test_an_interrupted_run_is_resumed_behind_every_form_of_link(
    form: str,
    start: Start,
    sync: Sync,
) -> None:
    """The state contains all that the next request needs: address, headers and token."""
    fault = Fault(place="continuation", skip=1, times=1, status=501)
    emulator = start(fault, customers=10, link_form=form, extra_link_headers=True)
    interrupted = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert interrupted.exit_code == 1
    resumed = sync(emulator, catalog=CUSTOMERS, page_size=3, state=interrupted.state)
    assert resumed.exit_code == 0, resumed.stderr
    assert resumed.keys("customers", "id") == held(emulator)["customers"][6:]


def test_every_page_of_the_resellers_has_its_customers(start: Start, sync: Sync) -> None:
    """Even if their stream is not selected, and their list is read only for this."""
    emulator = start(customers=20, resellers=2)
    first, second = emulator.resellers()
    link = {"uri": "/relationships?seekOperation=Next", "method": "GET"}
    emulator.faults = [
        Fault(place="resellers", times=1, json={"items": [first], "links": {"next": link}}),
        # After the token and the first page.
        Fault(place="any", skip=2, times=1, json={"items": [second]}),
    ]
    result = sync(emulator, catalog=catalog_of("reseller_customers"))
    assert result.exit_code == 0, result.stderr
    found = result.keys("reseller_customers", "reseller_id", "id")
    assert found == held(emulator)["reseller_customers"]


@pytest.mark.parametrize(
    ("form", "ending"),
    [("token_only", "code_2000"), ("relative", "code_2000_link"), ("versioned", "code_2000_link")],
)
def test_the_2000_ending_is_an_end_behind_a_short_page(
    form: str,
    ending: str,
    start: Start,
    sync: Sync,
) -> None:
    """The last page may have a token; using it returns 400 with code 2000."""
    emulator = start(customers=8, link_form=form, ending=ending)
    result = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert complete(result, emulator)
    assert emulator.stats().by_place["continuation"] == {"200": 2, "400": 1}


@pytest.mark.parametrize("customers", [1, 2, 3, 8])
def test_the_2000_ending_is_an_end_behind_the_only_page(
    customers: int,
    start: Start,
    sync: Sync,
) -> None:
    """A short list has no page to compare with: read in halves, it has the same rows."""
    emulator = start(customers=customers, link_form="token_only", ending="code_2000")
    result = sync(emulator, catalog=CUSTOMERS)
    assert complete(result, emulator)
    assert result.levels("WARNING") == []


@pytest.mark.parametrize("requests_at_once", [1, 8])
@pytest.mark.parametrize("pages", [0, 1])
@pytest.mark.parametrize("page_size", [4, 500])
@pytest.mark.parametrize("form", ["relative", "token_only"])
def test_a_token_that_expires_behind_a_full_page_loses_nobody(
    form: str,
    page_size: int,
    pages: int,
    requests_at_once: int,
    request: pytest.FixtureRequest,
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
    told = [line for line in result.log if "reading again from the first page" in line]
    assert len(told) == 1
    assert told[0].startswith("customers: ")
    warehouse = Warehouse()
    warehouse.load(result.stdout.splitlines())
    warehouse.assert_equals(emulator)


@pytest.mark.parametrize("form", ["relative", "token_only"])
def test_a_token_that_expires_behind_an_empty_page_loses_nobody(
    form: str,
    start: Start,
    sync: Sync,
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
def test_the_2000_ending_is_an_end_behind_a_short_page_and_an_empty_one(
    customers: int,
    start: Start,
    sync: Sync,
) -> None:
    emulator = start(
        customers=customers,
        link_form="token_only",
        ending="code_2000",
        empty_page_every=2,
    )
    result = sync(emulator, catalog=CUSTOMERS, page_size=4)
    assert complete(result, emulator)


def test_a_link_without_a_token_leads_to_no_end(start: Start, sync: Sync) -> None:
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


def test_an_only_page_is_not_the_whole_list_because_its_token_is_refused(
    start: Start,
    sync: Sync,
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


def test_a_token_that_expires_in_a_partition_loses_nobody(start: Start, sync: Sync) -> None:
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


@pytest.mark.parametrize("requests_at_once", [1, 8])
def test_a_token_that_expires_for_a_customer_loses_no_relationship(
    requests_at_once: int,
    start: Start,
    sync: Sync,
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


def test_the_name_of_a_tokens_header_may_be_in_lower_case(start: Start, sync: Sync) -> None:
    """After the last page it works like any token, and only one is sent."""

    def linked(page: str, *ids: str) -> dict[str, Any]:
        header = {"key": "ms-continuationtoken", "value": page}
        link = {"uri": "/customers?seekOperation=Next", "headers": [header]}
        items = [{"id": identity} for identity in ids]
        return {"items": items, "links": {"next": link}, "continuationToken": f"{page}, too"}

    first = Fault(place="customers", json=linked("second", "a", "b", "c"))
    emulator = start(
        first,
        Fault(place="continuation", times=1, json=linked("third", "d")),
        Fault(place="continuation", status=400, code=2000),
    )
    result = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert result.exit_code == 0, result.stderr
    assert result.keys("customers", "id") == [("a",), ("b",), ("c",), ("d",)]
    emulator.faults = [first, Fault(place="continuation", status=501)]
    bookmark = sync(emulator, catalog=CUSTOMERS, page_size=3).state["bookmarks"]["customers"]
    assert bookmark["resume"]["headers"] == [["ms-continuationtoken", "second"]]


def test_a_resumed_run_knows_the_pages_before_it(start: Start, sync: Sync) -> None:
    """The last page is short compared with those that the interrupted run read."""
    emulator = start(
        Fault(place="continuation", skip=1, times=1, status=501),
        customers=8,
        link_form="token_only",
        ending="code_2000",
    )
    interrupted = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert interrupted.exit_code == 1
    resumed = sync(emulator, catalog=CUSTOMERS, page_size=3, state=interrupted.state)
    assert resumed.exit_code == 0, resumed.stderr
    assert resumed.keys("customers", "id") == held(emulator)["customers"][6:]


@pytest.mark.parametrize("place", ["customers", "continuation"])
@pytest.mark.parametrize("code", [2000, "2000"])
def test_the_2000_ending_is_an_error_elsewhere(
    place: str,
    code: str | int,
    start: Start,
    sync: Sync,
) -> None:
    """On a first page or after a link the same answer must not end the data silently."""
    emulator = start(Fault(place=place, status=400, code=code))
    result = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert result.exit_code == 1
    assert "customers: HTTP 400, code 2000" in result.error


def test_an_empty_page_is_not_the_end(start: Start, sync: Sync) -> None:
    """While a page has a continuation, the data is not complete."""
    emulator = start(customers=20, empty_page_every=2)
    assert complete(sync(emulator, catalog=CUSTOMERS, page_size=3), emulator)


@pytest.mark.parametrize("marks", ["success", "all"])
def test_a_byte_order_mark_is_no_part_of_the_json(marks: str, start: Start, sync: Sync) -> None:
    """The service is known to start its bodies with one."""
    emulator = start(customers=10, bom=marks)
    assert complete(sync(emulator, catalog=CUSTOMERS, page_size=4), emulator)


@pytest.mark.parametrize("pages", [1, 2])
def test_a_circle_of_continuations_is_an_error(pages: int, start: Start, sync: Sync) -> None:
    """A page that leads to itself, or back to an earlier one, would never end."""
    emulator = start(
        Fault(place="continuation", cycle=1 if pages == 1 else 2),
        customers=30,
    )
    result = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert result.exit_code == 1
    assert "its pages form a loop" in result.error
    assert len(emulator.requests) < 10


def test_a_circle_back_to_where_a_run_was_resumed_is_an_error(start: Start, sync: Sync) -> None:
    """The page of the stored continuation is known as well."""
    emulator = start(Fault(place="continuation", skip=1, times=1, status=501), customers=30)
    interrupted = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert interrupted.exit_code == 1
    emulator.faults = [Fault(place="continuation", cycle=1)]
    emulator.reset_stats()
    result = sync(emulator, catalog=CUSTOMERS, page_size=3, state=interrupted.state)
    assert result.exit_code == 1
    assert "its pages form a loop" in result.error
    assert emulator.stats().by_place["continuation"] == {"200": 1}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/customers?size=2", "/v1/customers?size=2"),
        ("/v1/customers?size=2", "/v1/customers?size=2"),
        ("/V1/customers?size=2", "/V1/customers?size=2"),
        ("/customers?size=2?seekOperation=Next", "/v1/customers?size=2&seekOperation=Next"),
        (f"{API}/v1/customers?size=2", "/v1/customers?size=2"),
        (f"{API}/customers", "/v1/customers"),
        (f"{API}:443/v1/customers#part", "/v1/customers"),
    ],
)
def test_forms_of_the_uri_become_one(uri: str, path: str) -> None:
    """All known forms become one absolute address below the base."""
    assert absolute_url(uri, API) == API + path


@pytest.mark.parametrize(
    "uri",
    [
        None,
        7,
        "",
        "customers?size=2",
        "?size=2",
        "http://api.partnercenter.microsoft.com/v1/customers",
        "https://api.partnercenter.microsoft.com:8443/v1/customers",
        "https://api.partnercenter.microsoft.com.example.org/v1/customers",
        "https://user@api.partnercenter.microsoft.com/v1/customers",
        "//api.partnercenter.microsoft.com/v1/customers",
        "/v1/../admin",
        "/v1/customers\\..\\admin",
        "/v1/customers size=2",
        "/v1/customers\r\nHost: example.org",
        "ftp://api.partnercenter.microsoft.com/v1/customers",
        "https://[half/v1/customers",
        "/v1/kündigen",
    ],
)
def test_other_uris_are_refused(uri: Any) -> None:
    """Nothing is sent to an address outside the configured base."""
    with pytest.raises(UnusableContinuation):
        absolute_url(uri, API)


def test_a_refused_link_is_told_in_one_line(start: Start, sync: Sync) -> None:
    """The operator reads what happened and where; the address itself is not repeated."""
    emulator = start(Fault(place="customers", link_to="https://example.org/v1/customers"))
    result = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert result.exit_code == 1
    assert "customers: the service named a next page at an origin other" in result.error
    assert "example.org" not in result.stderr


def test_output_is_lines_of_json(start: Start, sync: Sync) -> None:
    """Every line on stdout is a message."""
    result = sync(start(customers=30), page_size=7)
    assert all(json.loads(line)["type"] for line in result.stdout.splitlines())
    assert result.stdout.endswith("\n")


@pytest.mark.parametrize("invoices", [4, 5])
def test_full_pages_of_invoices_need_no_link(invoices: int, start: Start, sync: Sync) -> None:
    """The tap computes the next offset itself, after the last row of the page."""
    emulator = start(
        Fault(place="invoices", drop_field="links"),
        Fault(place="invoices_continuation", drop_field="links"),
        invoices=invoices,
    )
    result = sync(emulator, catalog=catalog_of("invoices"), page_size=2)
    assert result.exit_code == 0, result.stderr
    ids = [(invoice["id"],) for invoice in emulator.held("invoices")]
    assert len(ids) == invoices
    assert result.keys("invoices", "id") == ids


def test_a_circle_of_invoices_is_an_error(start: Start, sync: Sync) -> None:
    """Only a service that has sent the whole list may repeat a link."""
    emulator = start(Fault(place="invoices_continuation", cycle=1), invoices=10)
    result = sync(emulator, catalog=catalog_of("invoices"), page_size=2)
    assert result.exit_code == 1
    assert "its pages form a loop" in result.error


def test_an_offset_that_is_ignored_does_not_end_a_longer_list(start: Start, sync: Sync) -> None:
    """If a request for everything still returns a page, its link is followed."""

    def page(*ids: str, offset: int = 0) -> dict[str, Any]:
        link = {"next": {"uri": f"/invoices?offset={offset}", "method": "GET"}}
        return {"items": [{"id": one} for one in ids], "links": link if offset else {}}

    answers = [page("a", "b", offset=2), page("a", "b"), page("a", "b", "c", offset=3), page("d")]
    # After the token.
    emulator = start(
        *(
            Fault(place="any", skip=number, times=1, json=answer)
            for number, answer in enumerate(answers, 1)
        ),
    )
    result = sync(emulator, catalog=catalog_of("invoices"), page_size=2)
    assert result.exit_code == 0, result.stderr
    assert result.keys("invoices", "id") == [("a",), ("b",), ("c",), ("d",)]
