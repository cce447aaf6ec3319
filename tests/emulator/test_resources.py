"""What holds for every row of the table of requests: who may ask, pages, faults, the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import urlencode

import pytest
import requests

from partnercenter_emulator import Emulator, Fault, Options
from partnercenter_emulator.resources import PLACES, RESOURCES, Resource

Page: TypeAlias = dict[str, Any]
SignIn: TypeAlias = Callable[..., requests.Session]
ReadAll: TypeAlias = Callable[[requests.Session, str], list[Page]]
Follow: TypeAlias = Callable[[requests.Session, Page, str], requests.Response | None]

OPTIONS = Options(customers=25, resellers=4)
LINK_FORMS = ["relative", "versioned", "absolute", "double_question", "token_only", "rotate"]
ENDINGS = [
    "plain", "no_links", "empty_links", "null_next", "empty", "code_2000", "code_2000_link",
]  # fmt: skip
READ = [row for row in RESOURCES if row.method == "GET" and row.place != "partition"]
SOUGHT = [row for row in READ if row.paging in {"plain", "seek"}]
BY_CUSTOMER = [row for row in SOUGHT if row.of_customer]

of_table = pytest.mark.parametrize("row", READ, ids=lambda row: row.place)
of_collections = pytest.mark.parametrize("row", SOUGHT, ids=lambda row: row.place)
of_customers = pytest.mark.parametrize("row", BY_CUSTOMER, ids=lambda row: row.place)


def _path(row: Resource, customer_id: str, **query: str) -> str:
    pairs = [
        (name, part)
        for name, value in {**row.everything, **query}.items()
        for part in value.split(",")
    ]
    path = "/v1" + row.path(customer_id)
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _busiest(emulator: Emulator, row: Resource) -> tuple[str, list[Page]]:
    """The customer that has most records of a kind, and these records."""
    by_customer: dict[str, list[Page]] = {}
    for record in emulator.held(row.place):
        customer_id = record.pop("customer_id", "") if row.of_customer else ""
        by_customer.setdefault(customer_id, []).append(record)
    return max(by_customer.items(), key=lambda pair: len(pair[1]))


def _items(pages: list[Page]) -> list[Page]:
    return [item for page in pages for item in page["items"]]


@of_table
def test_what_is_held_is_what_is_answered(row: Resource, sign_in: SignIn) -> None:
    """Customer by customer, the truth of a place is what its requests answer."""
    with Emulator(OPTIONS) as emulator:
        client = sign_in(emulator)
        expected = list(emulator.held(row.place))
        assert expected
        found: list[Page] = []
        ids = [str(customer["id"]) for customer in emulator.customers()]
        for customer_id in ids if row.of_customer else [""]:
            answer = client.get(_path(row, customer_id)).json()
            if row.paging == "object":
                found.append(answer)
                continue
            assert answer["totalCount"] == len(answer["items"])
            added = {"customer_id": customer_id} if row.of_customer else {}
            found += [added | item for item in answer["items"]]
        assert found == expected


@of_table
def test_a_user_is_needed_where_the_table_says_so(row: Resource, sign_in: SignIn) -> None:
    """Code 900329 for app-only there, and nowhere else."""
    with Emulator(OPTIONS) as emulator:
        first = str(next(emulator.customers())["id"])
        answer = sign_in(emulator, app_only=True).get(_path(row, first))
        assert answer.status_code == (403 if row.user else 200)
        assert not row.user or answer.json()["code"] == 900329


@pytest.mark.parametrize("form", LINK_FORMS)
@of_collections
def test_every_collection_comes_in_pages_of_every_link_form(
    row: Resource, form: str, sign_in: SignIn, read_all: ReadAll
) -> None:
    """Each record once, in order, no page above the limit."""
    with Emulator(OPTIONS) as emulator:
        emulator.configure(link_form=form, collection_page_limit=2, page_limit=2)
        customer_id, expected = _busiest(emulator, row)
        pages = read_all(sign_in(emulator), _path(row, customer_id, size="500"))
        assert _items(pages) == expected
        assert {len(page["items"]) for page in pages[:-1]} <= {2}
        places = {request.place for request in emulator.requests} - {"token"}
        assert places == ({row.place, row.going_on} if len(pages) > 1 else {row.place})


@pytest.mark.parametrize("by", ["key", "position"])
@pytest.mark.parametrize("ending", ENDINGS)
@of_collections
def test_every_collection_ends_in_every_way(
    row: Resource, ending: str, by: str, sign_in: SignIn, read_all: ReadAll
) -> None:
    """With empty pages in between as well."""
    with Emulator(OPTIONS) as emulator:
        emulator.configure(
            ending=ending, continuation_by=by, collection_page_limit=1, page_limit=3,
            empty_page_every=3, extra_link_headers=True,
        )  # fmt: skip
        customer_id, expected = _busiest(emulator, row)
        assert _items(read_all(sign_in(emulator), _path(row, customer_id))) == expected


@of_customers
def test_a_continuation_is_one_customers_and_one_lists(
    row: Resource, sign_in: SignIn, follow: Follow
) -> None:
    """Elsewhere it is bad input, and without the option nobody asks for it."""
    with Emulator(OPTIONS) as emulator:
        emulator.configure(collection_page_limit=1, ending="empty")
        client = sign_in(emulator)
        customer_id, records = _busiest(emulator, row)
        page = client.get(_path(row, customer_id)).json()
        answer = follow(client, page, "")
        assert answer is not None
        assert answer.json()["items"] == records[1:2]
        token = {pair["key"]: pair["value"] for pair in page["links"]["next"]["headers"]}
        other = next(c["id"] for c in emulator.customers() if c["id"] != customer_id)
        for path in (_path(row, other, seekOperation="Next"), "/v1/customers?seekOperation=Next"):
            answer = client.get(path, headers=token)
            assert (answer.status_code, answer.json()["code"]) == (400, 2000)
        emulator.configure(collection_page_limit=0)
        path = _path(row, customer_id, seekOperation="Next")
        assert client.get(path, headers=token).json()["items"] == records


@of_customers
def test_a_fault_of_one_customers_records_leaves_the_others_alone(
    row: Resource, sign_in: SignIn
) -> None:
    """By place and customer; the second page has a place of its own."""
    with Emulator(OPTIONS) as emulator:
        client = sign_in(emulator)
        emulator.configure(collection_page_limit=1, ending="empty")
        customer_id, _ = _busiest(emulator, row)
        other = next(c["id"] for c in emulator.customers() if c["id"] != customer_id)
        faults = [
            Fault(place=row.place, customer_id=customer_id, status=403, code=20002, times=1),
            Fault(place=row.going_on, customer_id=customer_id, status=404, times=1),
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


def test_places_are_unique_and_those_without_records_are_named() -> None:
    """A fault means one kind of request; nothing is held where nothing is read."""
    assert len(set(PLACES)) == len(PLACES)
    with pytest.raises(KeyError, match="no data create; there is: memberships, customers"):
        Emulator(OPTIONS).held("create")
