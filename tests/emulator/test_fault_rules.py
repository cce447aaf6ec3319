"""Faults on demand: the rules that select requests, and rules that are refused."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault, Options

if TYPE_CHECKING:
    from tests.emulator.conftest import SignIn

LIST = "/v1/customers?size=2"
SMALL = Options(customers=9, resellers=2)

USELESS: list[tuple[dict[str, Any], str]] = [
    ({}, "requires an action"),
    ({"times": 1}, "requires an action"),
    ({"hang": 0}, "requires an action"),
    ({"code": 2000}, "code requires status"),
    ({"shape": "B"}, "shape requires status"),
    ({"description": "No."}, "description requires status"),
    ({"body": b"x", "code": 1, "status": 400}, "code requires status, and no other"),
    ({"headers": {}}, "headers is empty"),
    ({"link_to": ""}, "link_to is empty"),
    ({"add_fields": {}}, "add_fields is empty"),
    ({"status": 500, "add_fields": {"a": 1}}, "status and add_fields cannot be combined"),
    ({"status": 500, "reset": True}, "status and reset cannot be combined"),
    ({"reset": True, "not_json": True}, "only one of reset, not_json"),
    ({"json": None, "cycle": 1}, "only one of json, cycle"),
    ({"unframed": True, "truncate": True}, "only one of truncate, unframed"),
    ({"repeat": True, "drip": "body"}, "only one of drip, repeat"),
    ({"place": "token", "cycle": 1}, "cycle has no effect at token"),
    ({"place": "customers", "customer_id": "x", "status": 500}, "customer_id has no effect"),
    ({"place": "customers", "reseller_id": "x", "status": 500}, "reseller_id has no effect"),
    ({"status": 204, "json": {}}, "status 204 has no body"),
    ({"status": 304, "description": "x"}, "status 304 has no body"),
    ({"status": 204, "truncate": True}, "truncate needs a body"),
    ({"empty_body": True, "truncate": True}, "truncate needs a body"),
    ({"share": 0.0, "status": 500}, "share"),
    ({"headers": {"Retry After": "1"}}, "'Retry After' is not a header name"),
    ({"headers": {"": "1"}}, "'' is not a header name"),
    ({"status": 500, "headers": {"content-length": "5"}}, "content-length is set by the server"),
    ({"status": 500, "headers": {"Transfer-Encoding": "chunked"}}, "is set by the server"),
    ({"headers": {"X": "a\r\nSet-Cookie: b"}}, "value of X"),
    ({"headers": {"X": "\u20ac"}}, "value of X"),
    ({"redirect": "/x\ny"}, "redirect contains a character"),
]


@pytest.mark.parametrize(("fault", "reported"), USELESS, ids=[str(fault) for fault, _ in USELESS])
def test_an_impossible_fault_is_refused(fault: dict[str, Any], reported: str) -> None:
    """In one line, on creation, and not when a request meets it."""
    with pytest.raises(ValueError, match=re.escape(reported)):
        Emulator(faults=[Fault(**fault)])


@pytest.mark.parametrize("number", ["9" * 5000, "\u00b2"])
def test_an_invalid_number_does_not_crash_the_emulator(number: str, sign_in: SignIn) -> None:
    """In a rule's Retry-After and in a request's size."""
    fault = Fault(place="customers", status=429, headers={"Retry-After": number}, times=1)
    with Emulator(SMALL, faults=[fault]) as emulator:
        client = sign_in(emulator)
        assert client.get(LIST).status_code == 429
        assert client.get("/v1/customers", params={"size": number}).status_code == 400


def test_a_fault_is_chosen_by_skip_every_and_times(sign_in: SignIn) -> None:
    """After the first two, every third, twice."""
    fault = Fault(place="customers", status=500, skip=2, every=3, times=2)
    with Emulator(SMALL, faults=[fault]) as emulator:
        client = sign_in(emulator)
        statuses = [client.get(LIST).status_code for _ in range(12)]
        assert [number for number, status in enumerate(statuses, 1) if status == 500] == [5, 8]


def test_the_first_rule_that_is_due_applies(sign_in: SignIn) -> None:
    """One rule at a time, in the given order."""
    faults = [Fault(place="customers", status=500, times=1), Fault(place="customers", status=503)]
    with Emulator(SMALL, faults=faults) as emulator:
        client = sign_in(emulator)
        assert [client.get(LIST).status_code for _ in range(3)] == [500, 503, 503]
        emulator.faults = []
        assert client.get(LIST).status_code == 200


def test_a_fault_may_be_limited_to_one_customer_or_reseller(sign_in: SignIn) -> None:
    """Requests for others succeed."""
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator)
        first, second, *_ = (customer["id"] for customer in emulator.customers())
        one, other = (reseller["id"] for reseller in emulator.resellers())
        emulator.faults = [
            Fault(place="relationships", customer_id=first.upper(), status=403, code=20002),
            Fault(place="partition", reseller_id=one, status=500),
        ]
        statuses = [
            client.get(f"/v1/customers/{customer}/relationships").status_code
            for customer in (first, second)
        ]
        assert statuses == [403, 200]
        for reseller, status in ((one, 500), (other, 200)):
            condition = {"Field": "IndirectReseller", "Value": reseller, "Operator": "starts_with"}
            query = {"filter": json.dumps(condition)}
            assert client.get("/v1/customers", params=query).status_code == status


@pytest.mark.slow
def test_a_share_is_always_the_same(sign_in: SignIn) -> None:
    """About a third of the customers fail, the same ones each time."""
    options = Options(customers=300, resellers=2)
    with Emulator(
        options, faults=[Fault(place="relationships", status=404, share=0.3)]
    ) as emulator:
        client = sign_in(emulator)
        paths = [f"/v1/customers/{c['id']}/relationships" for c in emulator.customers()]
        first = [client.get(path).status_code for path in paths]
        assert first == [client.get(path).status_code for path in paths]
        assert 60 < first.count(404) < 120


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("customers", LIST),
        ("customer", "/v1/customers/x"),
        ("relationships", "/v1/customers/x/relationships"),
        ("resellers", "/v1/relationships?relationship_type=IsIndirectResellerOf"),
        ("any", LIST),
    ],
)
def test_a_place_is_one_kind_of_request(place: Any, path: str, sign_in: SignIn) -> None:
    """Only requests of that kind fail."""
    paths = {LIST, "/v1/customers/x", "/v1/customers/x/relationships", "/v1/relationships"}
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator)
        emulator.faults = [Fault(place=place, status=418)]
        assert client.get(path).status_code == 418
        others = {client.get(other).status_code for other in paths if other not in path}
        assert (418 in others) is (place == "any")


def test_continuations_and_creation_are_places(sign_in: SignIn) -> None:
    """Follow-up pages of lists and partitions are separate from their first pages."""
    with Emulator(Options(customers=9, resellers=1)) as emulator:
        client = sign_in(emulator)
        emulator.faults = [
            Fault(place="continuation", status=500),
            Fault(place="partition_continuation", status=503),
            Fault(place="create", status=409),
        ]
        reseller = next(emulator.resellers())["id"]
        condition = {"Field": "IndirectReseller", "Value": reseller, "Operator": "starts_with"}
        for query, status in (({}, 500), ({"filter": json.dumps(condition)}, 503)):
            page = client.get("/v1/customers", params={"size": "2", **query}).json()
            headers = {p["key"]: p["value"] for p in page["links"]["next"]["headers"]}
            uri = "/v1" + page["links"]["next"]["uri"]
            assert client.get(uri, headers=headers).status_code == status
        assert client.post("/v1/customers").status_code == 409


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"place": "nowhere", "status": 500},
        {"status": 99},
        {"status": 500, "share": 2.0},
        {"status": 500, "every": 0},
        {"cycle": 3},
    ],
)
def test_an_invalid_rule_is_refused(fault: dict[str, Any]) -> None:
    """Wrong values and rules without an action are refused before the start."""
    with pytest.raises(ValueError, match=r"fault requires|\$\.|place|Invalid"):
        Emulator(SMALL, faults=[Fault(**fault)])
