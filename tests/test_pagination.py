"""Pagination over a real socket: which request comes next, with which headers, and the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from partnercenter_emulator import Fault
from partnercenter_emulator.options import LinkForm
from tap_partnercenter.pagination import absolute_url
from tests.command_line import catalog_of
from tests.failures import assert_refused
from tests.truth import assert_complete, assert_customers, held

if TYPE_CHECKING:
    from partnercenter_emulator import Emulator
    from tests.conftest import Start, Sync

API = "https://api.partnercenter.microsoft.com"
CUSTOMERS = catalog_of("customers")
FORMS = get_args(LinkForm)


def targets(emulator: Emulator) -> list[str]:
    """The paths requested from the API, in order."""
    return [request.path for request in emulator.requests if request.place != "token"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", ["plain", "no_links", "empty_links", "null_next", "empty"])
def test_every_form_of_link_leads_to_every_record(
    form: str, ending: str, start: Start, sync: Sync
) -> None:
    """Whatever a page's link and the last page look like, nothing is lost."""
    emulator = start(customers=10, link_form=form, ending=ending)
    assert_customers(sync(emulator, catalog=CUSTOMERS, page_size=3), emulator)


def test_a_link_is_followed_with_all_of_its_headers(start: Start, sync: Sync) -> None:
    """The emulator refuses a continuation without all headers of its link."""
    emulator = start(customers=10, extra_link_headers=True)
    assert_customers(sync(emulator, catalog=CUSTOMERS, page_size=4), emulator)


def test_a_link_is_followed_as_it_is(start: Start, sync: Sync) -> None:
    """The service's URL is used unchanged."""
    emulator = start(customers=5, link_form="versioned")
    sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert targets(emulator) == ["/v1/customers?size=3", "/v1/customers?size=3&seekOperation=Next"]


def test_a_token_in_the_body_repeats_the_query(start: Start, sync: Sync) -> None:
    """Without a link the tap repeats its request, with the token in the header."""
    emulator = start(customers=5, link_form="token_only")
    assert_customers(sync(emulator, catalog=CUSTOMERS, page_size=2), emulator)
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


@pytest.mark.parametrize("headers", [{"X-Other": "1"}, {"MS-ContinuationToken": "third"}])
def test_a_token_in_a_header_of_the_response_leads_to_the_next_page(
    headers: dict[str, str], start: Start, sync: Sync
) -> None:
    """Like one in the body; on the last page it may be that of the request."""

    def answer(token: str, *ids: str) -> dict[str, Any]:
        items = [{"id": identity} for identity in ids]
        return {"json": {"items": items}, "headers": {"MS-ContinuationToken": token}}

    emulator = start(
        Fault(place="customers", **answer("second", "a", "b")),
        Fault(place="continuation", times=1, **answer("third", "c")),
        Fault(place="continuation", **{**answer("", "d"), "headers": headers}),
    )
    result = sync(emulator, catalog=CUSTOMERS, page_size=2)
    assert result.exit_code == 0, result.stderr
    assert result.keys("customers", "id") == [("a",), ("b",), ("c",), ("d",)]


@pytest.mark.parametrize("name", ["ms-continuationtoken", "MS-ContinuationToken"])
def test_a_tokens_header_may_be_in_any_case(name: str, start: Start, sync: Sync) -> None:
    """After the last page it works like any token, and only one is sent."""

    def linked(page: str, *ids: str) -> dict[str, Any]:
        header = {"key": name, "value": page}
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
    assert bookmark["resume"]["headers"] == [[name, "second"]]


def test_an_empty_page_is_not_the_end(start: Start, sync: Sync) -> None:
    """While a page has a continuation, the data is not complete."""
    emulator = start(customers=30, empty_page_every=2)
    assert_complete(sync(emulator, page_size=4), emulator)


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
def test_all_forms_of_the_uri_are_normalized(uri: str, path: str) -> None:
    """All known forms become one absolute address below the base."""
    assert absolute_url(uri, API) == API + path


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


@pytest.mark.parametrize(
    "end",
    [{"json": {"items": []}}, {"status": 400}, {"status": 404}, {"status": 416}, {"status": 204}],
)
def test_a_short_page_of_invoices_is_not_taken_for_the_end(
    end: dict[str, Any], start: Start, sync: Sync
) -> None:
    """The service may cap pages below the requested size. What is past the end is unknown."""
    emulator = start(
        Fault(place="invoices", json={"items": [{"id": "a"}, {"id": "b"}]}),
        Fault(place="invoices_continuation", times=1, json={"items": [{"id": "c"}]}),
        Fault(place="invoices_continuation", **end),
    )
    result = sync(emulator, catalog=catalog_of("invoices"))
    assert result.exit_code == 0, result.stderr
    assert result.keys("invoices", "id") == [("a",), ("b",), ("c",)]
    assert result.levels("WARNING") == []
    assert all("?size=200&offset=" in target for target in targets(emulator))


def test_a_loop_of_invoice_pages_is_an_error(start: Start, sync: Sync) -> None:
    """Only a service that has sent the whole list may repeat a link."""
    emulator = start(Fault(place="invoices_continuation", cycle=1), invoices=10)
    result = sync(emulator, catalog=catalog_of("invoices"), page_size=2)
    assert result.exit_code == 1
    assert "its pages form a loop" in result.error


@pytest.mark.parametrize("last", ["c", "d"])
def test_an_offset_that_is_ignored_does_not_end_a_longer_list(
    last: str, start: Start, sync: Sync
) -> None:
    """If a request for everything still returns a page, its link is followed, but not again."""

    def page(*ids: str, offset: int = 0) -> dict[str, Any]:
        link = {"next": {"uri": f"/invoices?offset={offset}", "method": "GET"}}
        return {"items": [{"id": one} for one in ids], "links": link if offset else {}}

    answers = [
        page("a", "b", offset=2),
        page("a", "b"),
        page("a", "b", "c", offset=2 if last == "c" else 3),
        page("d"),
        page(),
    ]
    # After the token.
    emulator = start(
        *(
            Fault(place="any", skip=number, times=1, json=answer)
            for number, answer in enumerate(answers, 1)
        ),
    )
    result = sync(emulator, catalog=catalog_of("invoices"), page_size=2)
    assert result.exit_code == 0, result.stderr
    ids = ["a", "b", "c", "d"]
    assert result.keys("invoices", "id") == [(one,) for one in ids[: ids.index(last) + 1]]
    assert targets(emulator)[2] == "/v1/invoices"


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 400},
        {"status": 400, "code": 2000},
        {"status": 404},
        {"status": 416},
        {"status": 204},
        {"json": {"items": []}},
        {"json": {"items": [{"id": "a"}]}},
    ],
    ids=str,
)
def test_invoices_that_cannot_be_requested_at_once_are_not_taken_for_complete(
    refusal: dict[str, Any], start: Start, sync: Sync
) -> None:
    """The service ignored the offset, so there may be more than the first page."""
    page = {"items": [{"id": "a"}, {"id": "b"}]}
    # After the token.
    emulator = start(
        *(Fault(place="any", skip=number, times=1, json=page) for number in (1, 2)),
        Fault(place="any", skip=3, **refusal),
    )
    result = sync(
        emulator,
        catalog=catalog_of("invoices"),
        page_size=2,
        emit_activate_version_messages=True,
    )
    reason = f"HTTP {refusal['status']}" if "status" in refusal else "fewer rows for the whole list"
    assert_refused(result, reason, "invoices")
    assert result.counts["ACTIVATE_VERSION"] == 0
