"""Customers by id, relationships, resellers, and creating a customer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import requests

from partnercenter_emulator import Emulator, Fixture, Options

SignIn: TypeAlias = Callable[..., requests.Session]

SMALL = Options(customers=20, resellers=3)
PROVIDER = "/v1/relationships?relationship_type=IsIndirectCloudSolutionProviderOf"
RESELLER = "484e548c-f5f3-4528-93a9-c16c6373cb59"
NOBODY = "00000000-0000-4000-8000-000000000000"


def _refusal(answer: requests.Response) -> tuple[int, object]:
    return answer.status_code, answer.json()["code"]


def _printed_partner() -> Fixture:
    return Fixture(resellers=[{"id": RESELLER, "name": "Printed Reseller", "mpnId": "4847383"}])


def test_a_listed_customer_has_the_documented_members(sign_in: SignIn) -> None:
    """Lists show company profile and relationship, and nothing that only the id gives."""
    with Emulator(SMALL) as emulator:
        item = sign_in(emulator).get("/v1/customers?size=1").json()["items"][0]
        assert list(item) == [
            "id", "companyProfile", "relationshipToPartner", "links", "attributes",
        ]  # fmt: skip
        profile = item["companyProfile"]
        assert list(profile) == ["tenantId", "domain", "companyName", "links", "attributes"]
        assert profile["tenantId"] == item["id"]
        assert profile["links"]["self"]["uri"] == f"/customers/{item['id']}/profiles/company"
        assert item["attributes"] == {"objectType": "Customer"}


def test_a_customer_by_id_has_more_members_and_no_secret(sign_in: SignIn) -> None:
    """Billing profile, address and reseller are there; credentials are not."""
    with Emulator(SMALL) as emulator:
        pair = next(emulator.memberships())
        customer = sign_in(emulator, app_only=True).get(f"/v1/customers/{pair['customer_id']}")
        record = customer.json()
        assert record["associatedPartnerId"] == pair["reseller_id"]
        assert record["billingProfile"]["defaultAddress"]["country"]
        assert record["commerceId"] == record["id"] == pair["customer_id"]
        assert "userCredentials" not in record


def test_a_relationship_names_the_reseller_and_not_the_customer(sign_in: SignIn) -> None:
    """Each of a customer's resellers is one record, without state and location."""
    with Emulator(SMALL) as emulator:
        reseller = next(emulator.resellers())
        customer = emulator.create_customer("Nordlicht KG", reseller_id=reseller["id"])
        page = sign_in(emulator).get(f"/v1/customers/{customer['id'].upper()}/relationships")
        assert page.json() == {
            "totalCount": 1,
            "items": [
                {
                    "id": reseller["id"],
                    "name": reseller["name"],
                    "relationshipType": "is_indirect_cloud_solution_provider_of",
                    "mpnId": reseller["mpnId"],
                    "attributes": {"objectType": "PartnerRelationship"},
                }
            ],
            "attributes": {"objectType": "Collection"},
        }


def test_a_direct_customer_has_no_relationship(sign_in: SignIn) -> None:
    """The list is empty, not missing."""
    with Emulator(SMALL) as emulator:
        customer = emulator.create_customer("Direkt AB")
        page = sign_in(emulator).get(f"/v1/customers/{customer['id']}/relationships").json()
        assert (page["totalCount"], page["items"]) == (0, [])


def test_relationships_and_partitions_agree(sign_in: SignIn) -> None:
    """What the ground truth says of relationships is what it says of memberships."""
    with Emulator(Options(customers=2000, resellers=7)) as emulator:
        by_relationship = {(r["customer_id"], r["id"]) for r in emulator.relationships()}
        by_partition = {(m["customer_id"], m["reseller_id"]) for m in emulator.memberships()}
        assert by_relationship == by_partition
        client = sign_in(emulator)
        for record in list(emulator.relationships())[:50]:
            page = client.get(f"/v1/customers/{record.pop('customer_id')}/relationships").json()
            assert record in page["items"]


def test_some_relationships_vary_as_the_documentation_does() -> None:
    """A few have state and location, partnerId beside or instead of mpnId, or no type."""
    with Emulator(Options(customers=5000, resellers=5)) as emulator:
        kinds = {tuple(sorted(record)) for record in emulator.relationships()}
        plain = {"attributes", "customer_id", "id", "mpnId", "name", "relationshipType"}
        assert kinds == {
            tuple(sorted(kind))
            for kind in (
                plain,
                plain | {"state", "location"},
                plain | {"partnerId"},
                (plain | {"partnerId"}) - {"mpnId"},
                plain - {"relationshipType"},
            )
        }


def test_the_resellers_are_one_page(sign_in: SignIn) -> None:
    """Each has id, name, type, mpnId, state and location; the converse type is empty."""
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator)
        page = client.get(PROVIDER).json()
        assert page["items"] == list(emulator.resellers())
        assert page["totalCount"] == 3
        assert {item["state"] for item in page["items"]} == {"Active"}
        converse = client.get("/v1/relationships?relationship_type=IsIndirectResellerOf")
        assert converse.json()["items"] == []


@pytest.mark.parametrize("query", ["", "?relationship_type=is_indirect_reseller_of"])
def test_the_relationship_type_is_required_in_pascal_case(query: str, sign_in: SignIn) -> None:
    """Anything else is bad input."""
    with Emulator(SMALL) as emulator:
        assert _refusal(sign_in(emulator).get(f"/v1/relationships{query}")) == (400, 2000)


@pytest.mark.parametrize("path", [f"/v1/customers/{NOBODY}/relationships", PROVIDER])
def test_relationships_need_a_user(path: str, sign_in: SignIn) -> None:
    """An app-only token is refused with code 900329."""
    with Emulator(SMALL) as emulator:
        assert _refusal(sign_in(emulator, app_only=True).get(path)) == (403, 900329)


@pytest.mark.parametrize("customer_id", [NOBODY, "x", f"{NOBODY[:-1]}é"])
@pytest.mark.parametrize("suffix", ["", "/relationships"])
def test_an_unknown_customer_is_not_found(customer_id: str, suffix: str, sign_in: SignIn) -> None:
    """The answer is 404 with code 1000."""
    with Emulator(SMALL) as emulator:
        answer = sign_in(emulator).get(f"/v1/customers/{customer_id}{suffix}")
        assert _refusal(answer) == (404, 1000)


def test_a_removed_customer_is_not_found(sign_in: SignIn) -> None:
    """It leaves the lists, the partition and its own address."""
    with Emulator(SMALL) as emulator:
        gone = next(emulator.memberships())["customer_id"]
        emulator.remove_customer(gone)
        assert _refusal(sign_in(emulator).get(f"/v1/customers/{gone}")) == (404, 1000)
        assert gone not in {customer["id"] for customer in emulator.customers()}
        assert gone not in {pair["customer_id"] for pair in emulator.memberships()}
        assert emulator.counts()["customers"] == 19
        with pytest.raises(KeyError, match=gone):
            emulator.rename_customer(gone, "x")


def test_a_customer_is_created_as_printed(sign_in: SignIn, printed: Callable[[str], bytes]) -> None:
    """The printed request is answered with the printed response, but for what is new each time."""
    with Emulator(fixture=_printed_partner()) as emulator:
        client = sign_in(emulator)
        headers = {"Content-Type": "application/json", "Expect": "100-continue"}
        answer = client.post("/v1/customers", data=printed("create_request"), headers=headers)
        assert answer.status_code == 201
        expected, created = json.loads(printed("create_response")), answer.json()
        text = json.dumps(expected).replace(expected["id"], created["id"])
        expected = json.loads(text)
        for place, name in (
            ("billingProfile", "id"), ("userCredentials", "password"),
        ):  # fmt: skip
            assert created[place][name] != expected[place].pop(name)
            del created[place][name]
        del expected["billingProfile"]["attributes"]["etag"]
        assert created["billingProfile"]["attributes"].pop("etag")
        assert created == expected
        assert list(created) == list(expected)


def test_what_is_created_is_found_everywhere(
    sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """List, partition, id and relationships know the customer; none knows its password."""
    with Emulator(fixture=_printed_partner()) as emulator:
        client = sign_in(emulator)
        created = client.post("/v1/customers", data=printed("create_request")).json()
        condition = {"Field": "IndirectReseller", "Value": RESELLER, "Operator": "starts_with"}
        address = f"/v1/customers/{created['id']}"
        answers = [
            client.get("/v1/customers"),
            client.get("/v1/customers", params={"filter": json.dumps(condition)}),
            client.get(address),
        ]
        for answer in answers:
            assert created["id"] in answer.text
            assert created["companyProfile"]["domain"] in answer.text
            assert "userCredentials" not in answer.text
        assert client.get(f"{address}/relationships").json()["items"][0]["id"] == RESELLER


def test_without_a_reseller_the_new_customer_is_direct(
    sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """No associated partner: no relationship."""
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator)
        body = json.loads(printed("create_request")) | {"AssociatedPartnerId": None}
        created = client.post("/v1/customers", json=body).json()
        assert "associatedPartnerId" not in created
        path = f"/v1/customers/{created['id']}/relationships"
        assert client.get(path).json()["items"] == []


@pytest.mark.parametrize(
    "path",
    [
        ("CompanyProfile",),
        ("CompanyProfile", "Domain"),
        ("BillingProfile", "Email"),
        ("BillingProfile", "Culture"),
        ("BillingProfile", "CompanyName"),
        ("BillingProfile", "DefaultAddress"),
    ],
)
def test_a_new_customer_needs_the_required_members(
    path: tuple[str, ...], sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """Each missing one is an invalid property, named in the description."""
    body: dict[str, Any] = json.loads(printed("create_request"))
    *parents, last = path
    target = body
    for parent in parents:
        target = target[parent]
    del target[last]
    with Emulator(fixture=_printed_partner()) as emulator:
        answer = sign_in(emulator).post("/v1/customers", json=body)
        assert _refusal(answer) == (400, 3000)
        assert last.lower() in answer.json()["description"].lower()


def test_some_countries_need_a_registration_number(
    sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """A Polish customer is refused without and created with one."""
    body: dict[str, Any] = json.loads(printed("create_request"))
    body["BillingProfile"]["DefaultAddress"]["Country"] = "PL"
    with Emulator(fixture=_printed_partner()) as emulator:
        client = sign_in(emulator)
        assert _refusal(client.post("/v1/customers", json=body)) == (400, 3000)
        body["CompanyProfile"]["organizationRegistrationNumber"] = "1234567890"
        created = client.post("/v1/customers", json=body)
        assert created.status_code == 201
        assert created.json()["companyProfile"]["organizationRegistrationNumber"] == "1234567890"


def test_an_unusable_new_customer_is_refused(
    sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """A domain in use, a reseller of nobody, no JSON, and an app-only token."""
    body = json.loads(printed("create_request"))
    with Emulator(fixture=_printed_partner()) as emulator:
        client = sign_in(emulator)
        assert client.post("/v1/customers", json=body).status_code == 201
        assert client.post("/v1/customers", json=body).status_code == 409
        stranger = body | {"AssociatedPartnerId": NOBODY}
        assert _refusal(client.post("/v1/customers", json=stranger)) == (400, 3000)
        broken = client.post("/v1/customers", data=b"{")
        assert (broken.status_code, set(broken.json())) == (400, {"message"})
        assert client.post("/v1/customers", data=b"[1]").status_code == 400
        app_only = sign_in(emulator, app_only=True)
        assert _refusal(app_only.post("/v1/customers", json=body)) == (403, 900329)


def test_generated_domains_are_in_use(sign_in: SignIn, printed: Callable[[str], bytes]) -> None:
    """A generated customer's domain cannot be taken either."""
    body = json.loads(printed("create_request")) | {"AssociatedPartnerId": None}
    with Emulator(SMALL) as emulator:
        domain = list(emulator.customers())[7]["companyProfile"]["domain"]
        body["CompanyProfile"]["Domain"] = domain.upper()
        assert sign_in(emulator).post("/v1/customers", json=body).status_code == 409
        body["CompanyProfile"]["Domain"] = f"free{'0' * 20}7.onmicrosoft.com"
        assert sign_in(emulator).post("/v1/customers", json=body).status_code == 201


def test_answers_bear_the_vendors_headers(sign_in: SignIn) -> None:
    """Ids are echoed or made; vector, server, date and content type are there."""
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator)
        ids = {"MS-RequestId": "a1", "MS-CorrelationId": "b2"}
        answer = client.get("/v1/customers?size=1", headers=ids)
        assert ids.items() <= {name: answer.headers[name] for name in ids}.items()
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["Date"].endswith("GMT")
        assert answer.headers["MS-ServerId"]
        other = client.get("/v1/customers?size=501")
        assert len(other.headers["MS-RequestId"]) == len(other.headers["MS-CorrelationId"]) == 36
        assert other.headers["MS-CV"] != answer.headers["MS-CV"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/orders", "/v1//v1/customers", "/v2/x"])
def test_an_unknown_path_is_not_found(path: str, sign_in: SignIn) -> None:
    """The gateway answers in its own shape."""
    with Emulator(SMALL) as emulator:
        answer = sign_in(emulator).get(path)
        assert answer.status_code == 404
        assert answer.json() == {"statusCode": 404, "message": "Resource not found"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_refused(method: str, sign_in: SignIn) -> None:
    """The framework answers in its own shape."""
    with Emulator(SMALL) as emulator:
        answer = sign_in(emulator).request(method, "/v1/customers")
        assert (answer.status_code, set(answer.json())) == (405, {"message"})
