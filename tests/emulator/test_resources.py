"""Every row of the table of requests: required credentials, pages, faults, ground truth."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, get_args
from urllib.parse import urlencode

import msgspec
import pytest
import requests

from partnercenter_emulator import Emulator, Fault, Options
from partnercenter_emulator.options import Ending, LinkForm
from partnercenter_emulator.resources import PLACES, RESOURCES, Resource
from tests.emulator.conftest import Page

if TYPE_CHECKING:
    from tests.emulator.conftest import SignIn

ReadAll: TypeAlias = Callable[[requests.Session, str], list[Page]]
Follow: TypeAlias = Callable[[requests.Session, Page, str], requests.Response | None]

OPTIONS = Options(customers=25, resellers=4)
NOW = 1_790_000_000.0
TODAY = "2026-09-21"
#: Queries for lists that are too long, in addition to those that return everything.
NARROWED = {"audit_records": {"startDate": "2026-09-18"}}
LINK_FORMS = get_args(LinkForm)
ENDINGS = get_args(Ending)
READ = [
    row
    for row in RESOURCES
    if row.method == "GET" and row.place not in {"partition", "usage_records"}
]
COLLECTIONS = [row for row in READ if row.paging != "object"]
BY_CUSTOMER = [row for row in COLLECTIONS if row.of_customer]

of_table = pytest.mark.parametrize("row", READ, ids=lambda row: row.place)
of_customers = pytest.mark.parametrize("row", BY_CUSTOMER, ids=lambda row: row.place)


def _sampled(always: list[str], turns: tuple[str, ...]) -> list[Any]:
    """Every collection with the given values, and with two of the rest, in turn."""
    return [
        pytest.param(row, one, id=f"{row.place}-{one}")
        for number, row in enumerate(COLLECTIONS)
        for one in dict.fromkeys(
            [*always, *(turns[(2 * number + step) % len(turns)] for step in range(2))]
        )
    ]


def _path(row: Resource, customer_id: str, **query: str) -> str:
    pairs = [
        (name, part)
        for name, value in {**row.all_records, **NARROWED.get(row.place, {}), **query}.items()
        for part in value.split(",")
    ]
    path = "/v1" + row.path(customer_id)
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _held(emulator: Emulator, row: Resource) -> list[Page]:
    first = NARROWED.get(row.place, {}).get("startDate", "")
    return [one for one in emulator.held(row.place) if one.get("operationDate", first) >= first]


def _busiest(emulator: Emulator, row: Resource) -> tuple[str, list[Page]]:
    """The customer with the most records of a kind, and these records."""
    by_customer: dict[str, list[Page]] = {}
    for record in _held(emulator, row):
        customer_id = record.pop("customer_id", "") if row.of_customer else ""
        by_customer.setdefault(customer_id, []).append(record)
    return max(by_customer.items(), key=lambda pair: len(pair[1]))


def _start(**options: Any) -> Emulator:
    return Emulator(msgspec.structs.replace(OPTIONS, **options), clock=lambda: NOW)


def _items(pages: list[Page]) -> list[Page]:
    return [item for page in pages for item in page["items"]]


@of_table
def test_what_is_held_is_what_is_served(row: Resource, sign_in: SignIn) -> None:
    """For each customer, the requests of a place return its ground truth."""
    with _start() as emulator:
        client = sign_in(emulator)
        expected = [] if row.place == "relationship_request" else _held(emulator, row)
        found: list[Page] = []
        ids = [str(customer["id"]) for customer in emulator.customers()]
        for customer_id in ids if row.of_customer else [""]:
            response = client.get(_path(row, customer_id)).json(parse_float=Decimal)
            if row.paging == "object":
                found += [response] if row.of_customer else []
                continue
            assert response["totalCount"] == len(response["items"])
            added = {"customer_id": customer_id} if row.of_customer else {}
            found += [added | item for item in response["items"]]
        assert found == expected


@of_table
def test_a_user_is_needed_where_the_table_says_so(row: Resource, sign_in: SignIn) -> None:
    """App-only gets code 900329 there, and nowhere else."""
    with _start() as emulator:
        first = str(next(emulator.customers())["id"])
        response = sign_in(emulator, app_only=True).get(_path(row, first))
        assert response.status_code == (403 if row.user else 200)
        assert not row.user or response.json()["code"] == 900329


@pytest.mark.parametrize(("row", "form"), _sampled(["rotate"], LINK_FORMS))
def test_every_collection_comes_in_pages_with_links(
    row: Resource, form: str, sign_in: SignIn, read_all: ReadAll
) -> None:
    """Each record once, in order, no page above the limit."""
    with _start() as emulator:
        emulator.configure(link_form=form, collection_page_limit=2, page_limit=2)
        customer_id, expected = _busiest(emulator, row)
        pages = read_all(sign_in(emulator), _path(row, customer_id, size="500"))
        assert _items(pages) == expected
        assert {len(page["items"]) for page in pages[:-1]} <= {2}
        places = {request.place for request in emulator.requests} - {"token"}
        assert places == ({row.place, row.continuation_place} if len(pages) > 1 else {row.place})


@pytest.mark.parametrize(("row", "ending"), _sampled(["code_2000"], ENDINGS))
def test_every_collection_ends_as_configured(
    row: Resource, ending: str, sign_in: SignIn, read_all: ReadAll
) -> None:
    """With empty pages in between as well."""
    with _start() as emulator:
        by = "position" if ending.endswith("s") else "key"
        emulator.configure(
            ending=ending, continuation_by=by, collection_page_limit=1, page_limit=3,
            empty_page_every=3, extra_link_headers=True,
        )  # fmt: skip
        customer_id, expected = _busiest(emulator, row)
        assert _items(read_all(sign_in(emulator), _path(row, customer_id, size="3"))) == expected


@of_customers
def test_a_continuation_is_one_customers_and_one_lists(
    row: Resource, sign_in: SignIn, follow: Follow
) -> None:
    """For others it is bad input, and without the option it is ignored."""
    with _start() as emulator:
        emulator.configure(collection_page_limit=1, ending="empty")
        client = sign_in(emulator)
        customer_id, records = _busiest(emulator, row)
        page = client.get(_path(row, customer_id)).json()
        response = follow(client, page, "")
        assert response is not None
        assert response.json(parse_float=Decimal)["items"] == records[1:2]
        token = {pair["key"]: pair["value"] for pair in page["links"]["next"]["headers"]}
        other = next(c["id"] for c in emulator.customers() if c["id"] != customer_id)
        for path in (_path(row, other, seekOperation="Next"), "/v1/customers?seekOperation=Next"):
            response = client.get(path, headers=token)
            assert (response.status_code, response.json()["code"]) == (400, 2000)
        emulator.configure(collection_page_limit=0)
        path = _path(row, customer_id, seekOperation="Next")
        assert client.get(path, headers=token).json(parse_float=Decimal)["items"] == records


@of_customers
def test_a_fault_of_one_customers_records_does_not_affect_the_others(
    row: Resource, sign_in: SignIn
) -> None:
    """By place and customer; the second page has its own place."""
    with _start() as emulator:
        client = sign_in(emulator)
        emulator.configure(collection_page_limit=1, ending="empty")
        customer_id, _ = _busiest(emulator, row)
        other = next(c["id"] for c in emulator.customers() if c["id"] != customer_id)
        faults = [
            Fault(place=row.place, customer_id=customer_id, status=403, code=20002, times=1),
            Fault(place=row.continuation_place, customer_id=customer_id, status=404, times=1),
            Fault(place=row.place, add_fields={"new": 1}),
        ]
        emulator.faults = faults
        assert client.get(_path(row, customer_id)).status_code == 403
        page = client.get(_path(row, customer_id)).json()
        assert {item["new"] for item in page["items"]} == {1}
        assert client.get(_path(row, other)).status_code == 200
        link = page["links"]["next"]
        headers = {pair["key"]: pair["value"] for pair in link["headers"]}
        assert client.get("/v1" + link["uri"], headers=headers).status_code == 404


def _invoices(**options: Any) -> Emulator:
    return _start(invoices=7, **options)


def test_invoices_come_whole_or_by_offset(sign_in: SignIn, read_all: ReadAll) -> None:
    """All of them without a size; with one, a link without headers, and a count for the page."""
    with _invoices() as emulator:
        client = sign_in(emulator)
        whole = client.get("/v1/invoices").json()
        assert (len(whole["items"]), set(whole["links"])) == (7, {"self"})
        page = client.get("/v1/invoices?size=2&offset=2").json()
        assert page["items"] == whole["items"][2:4]
        assert page["totalCount"] == 2
        assert page["links"]["next"] == {
            "uri": "/invoices?size=2&offset=4", "method": "GET", "headers": [],
        }  # fmt: skip
        pages = read_all(client, "/v1/invoices?size=3")
        assert [len(page["items"]) for page in pages] == [3, 3, 1]
        assert client.get("/v1/invoices?size=x").status_code == 400


@pytest.mark.parametrize(
    ("paging", "counts", "links_on"),
    [
        ("offset_ignored", [2, 2], [True, False]),
        ("ignored", [7, 7], [False, False]),
        ("ignored_with_next", [7, 7], [True, True]),
    ],
)
def test_a_service_may_ignore_the_offset(
    paging: str, counts: list[int], links_on: list[bool], sign_in: SignIn
) -> None:
    """Every offset then returns the same, and the next links may never end."""
    with _invoices() as emulator:
        emulator.configure(invoice_paging=paging)
        client = sign_in(emulator)
        pages = [client.get(f"/v1/invoices?size=2&offset={at}").json() for at in (0, 6)]
        assert [len(page["items"]) for page in pages] == counts
        assert pages[0]["items"] == pages[1]["items"]
        assert ["next" in page["links"] for page in pages] == links_on


@pytest.mark.parametrize(
    ("place", "path"),
    [("usage_records", "usagerecords"), ("relationship_request", "relationshiprequests")],
)
def test_a_literal_path_segment_is_not_a_customer_id(
    place: str, path: str, sign_in: SignIn
) -> None:
    """It is a separate request, which needs a user."""
    with _start() as emulator:
        assert sign_in(emulator).get(f"/v1/customers/{path}").status_code == 200
        assert sign_in(emulator, app_only=True).get(f"/v1/customers/{path}").status_code == 403
        assert emulator.stats().by_place[place] == {"200": 1, "403": 1}
        assert sign_in(emulator).get(f"/v1/customers/{path}/orders").status_code == 404


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ("", {"MicrosoftCloudAgreement"}),
        ("?agreementType=microsoftcustomeragreement", {"MicrosoftCustomerAgreement"}),
        ("?agreementType=*", {"MicrosoftCloudAgreement", "MicrosoftCustomerAgreement", "Other"}),
        ("?agreementType=%2A", {"MicrosoftCloudAgreement", "MicrosoftCustomerAgreement", "Other"}),
    ],
)
def test_without_its_parameter_the_list_of_agreements_lacks_some(
    query: str, types: set[str], sign_in: SignIn
) -> None:
    """Only those of the oldest type are returned, without any hint."""
    with _start() as emulator:
        customer_id = emulator.create_customer("Avtal AB")["id"]
        for kind in ("MicrosoftCloudAgreement", "MicrosoftCustomerAgreement", "Other"):
            emulator.add("agreements", {"type": kind}, customer_id)
        page = sign_in(emulator).get(f"/v1/customers/{customer_id}/agreements{query}").json()
        assert {item["type"] for item in page["items"]} == types
        assert set(page) == {"totalCount", "items"}


@pytest.mark.parametrize(
    ("query", "groups"),
    [
        ("", {"group1"}),
        ("?licenseGroupIds=Group2", {"group2"}),
        ("?licenseGroupIds=Group1&licenseGroupIds=Group2", {"group1", "group2"}),
    ],
)
def test_without_its_parameter_the_list_of_skus_lacks_some(
    query: str, groups: set[str], sign_in: SignIn
) -> None:
    """The second licence group is missing unless the parameter names both, repeated."""
    with _start() as emulator:
        client = sign_in(emulator)
        found = [
            item["productSku"]["licenseGroupId"]
            for customer in emulator.customers()
            for item in client.get(f"/v1/customers/{customer['id']}/subscribedskus{query}").json()[
                "items"
            ]
        ]
        assert set(found) == groups


def test_places_are_unique_and_those_without_records_are_named() -> None:
    """A fault selects one kind of request; nothing is held where nothing is read."""
    assert len(set(PLACES)) == len(PLACES)
    with pytest.raises(KeyError, match="no data create; available: memberships, customers"):
        Emulator(OPTIONS).held("create")
