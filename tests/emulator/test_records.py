"""Customers by id, relationships, resellers, and creating a customer."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault, Fixture, Options

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.emulator.conftest import SignIn

SMALL = Options(customers=20, resellers=3)
PROVIDER = "/v1/relationships?relationship_type=IsIndirectCloudSolutionProviderOf"
RESELLER = "484e548c-f5f3-4528-93a9-c16c6373cb59"
NOBODY = "00000000-0000-4000-8000-000000000000"


def _refusal(response: requests.Response) -> tuple[int, object]:
    return response.status_code, response.json()["code"]


def _printed_partner() -> Fixture:
    return Fixture(resellers=[{"id": RESELLER, "name": "Printed Reseller", "mpnId": "4847383"}])


def test_a_listed_customer_has_the_documented_members(sign_in: SignIn) -> None:
    """Lists have company profile and relationship, but no field that only the single record has."""
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
    """It includes billing profile, address and reseller, but no credentials."""
    with Emulator(SMALL) as emulator:
        pair = next(emulator.memberships())
        customer = sign_in(emulator, app_only=True).get(f"/v1/customers/{pair['customer_id']}")
        record = customer.json()
        assert record["associatedPartnerId"] == pair["reseller_id"]
        assert record["billingProfile"]["defaultAddress"]["country"]
        assert record["commerceId"] == record["id"] == pair["customer_id"]
        assert "userCredentials" not in record


def test_a_relationship_names_the_reseller_and_not_the_customer(sign_in: SignIn) -> None:
    """Each reseller of a customer is one record, without state and location."""
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
    """Ground truth for relationships and for memberships is the same."""
    with Emulator(Options(customers=2000, resellers=7)) as emulator:
        by_relationship = {(r["customer_id"], r["id"]) for r in emulator.relationships()}
        by_partition = {(m["customer_id"], m["reseller_id"]) for m in emulator.memberships()}
        assert by_relationship == by_partition
        client = sign_in(emulator)
        for record in list(emulator.relationships())[:50]:
            page = client.get(f"/v1/customers/{record.pop('customer_id')}/relationships").json()
            assert record in page["items"]


def test_some_relationships_vary_as_the_documentation_does() -> None:
    """A few have state and location, partnerId with or instead of mpnId, or no type."""
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
    """Each has id, name, type, mpnId, state and location; the converse type returns none."""
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
        response = sign_in(emulator).get(f"/v1/customers/{customer_id}{suffix}")
        assert _refusal(response) == (404, 1000)


def test_a_removed_customer_is_not_found(sign_in: SignIn) -> None:
    """It is gone from the lists, the partition and its own address."""
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
    """The printed request returns the printed response, except for generated values."""
    with Emulator(fixture=_printed_partner()) as emulator:
        client = sign_in(emulator)
        headers = {"Content-Type": "application/json", "Expect": "100-continue"}
        response = client.post("/v1/customers", data=printed("create_request"), headers=headers)
        assert response.status_code == 201
        expected, created = json.loads(printed("create_response")), response.json()
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
    """List, partition, id and relationships have the customer, but never its password."""
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
        for response in answers:
            assert created["id"] in response.text
            assert created["companyProfile"]["domain"] in response.text
            assert "userCredentials" not in response.text
        assert client.get(f"{address}/relationships").json()["items"][0]["id"] == RESELLER


def test_without_a_reseller_the_new_customer_is_direct(
    sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """Without an associated partner there is no relationship."""
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
    """Each missing field is an invalid property, named in the description."""
    body: dict[str, Any] = json.loads(printed("create_request"))
    *parents, last = path
    target = body
    for parent in parents:
        target = target[parent]
    del target[last]
    with Emulator(fixture=_printed_partner()) as emulator:
        response = sign_in(emulator).post("/v1/customers", json=body)
        assert _refusal(response) == (400, 3000)
        assert last.lower() in response.json()["description"].lower()


def test_some_countries_need_a_registration_number(
    sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """A Polish customer is refused without it and created with it."""
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
    """A domain in use, an unknown reseller, invalid JSON, and an app-only token."""
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
    """A generated customer's domain is taken too."""
    body = json.loads(printed("create_request")) | {"AssociatedPartnerId": None}
    with Emulator(SMALL) as emulator:
        domain = list(emulator.customers())[7]["companyProfile"]["domain"]
        body["CompanyProfile"]["Domain"] = domain.upper()
        assert sign_in(emulator).post("/v1/customers", json=body).status_code == 409
        body["CompanyProfile"]["Domain"] = f"free{'0' * 20}7.onmicrosoft.com"
        assert sign_in(emulator).post("/v1/customers", json=body).status_code == 201


def test_responses_have_the_vendors_headers(sign_in: SignIn) -> None:
    """Ids are echoed or generated; there are vector, server, date and content type."""
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator)
        ids = {"MS-RequestId": "a1", "MS-CorrelationId": "b2"}
        response = client.get("/v1/customers?size=1", headers=ids)
        assert ids.items() <= {name: response.headers[name] for name in ids}.items()
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        assert response.headers["Date"].endswith("GMT")
        assert response.headers["MS-ServerId"]
        other = client.get("/v1/customers?size=501")
        assert len(other.headers["MS-RequestId"]) == len(other.headers["MS-CorrelationId"]) == 36
        assert other.headers["MS-CV"] != response.headers["MS-CV"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/orders", "/v1//v1/customers", "/v2/x"])
def test_an_unknown_path_is_not_found(path: str, sign_in: SignIn) -> None:
    """The gateway's own error shape."""
    with Emulator(SMALL) as emulator:
        response = sign_in(emulator).get(path)
        assert response.status_code == 404
        assert response.json() == {"statusCode": 404, "message": "Resource not found"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_refused(method: str, sign_in: SignIn) -> None:
    """The framework's own error shape."""
    with Emulator(SMALL) as emulator:
        response = sign_in(emulator).request(method, "/v1/customers")
        assert (response.status_code, set(response.json())) == (405, {"message"})


def _value(record: dict[str, Any]) -> str:
    return str(record.get("resourceNewValue", ""))


def _day(text: object) -> str:
    return str(text)[:4]


VARIETIES: list[tuple[str, str, Callable[[dict[str, Any]], object]]] = [
    ("subscriptions", "unknown status", lambda one: one["status"] == "under_review"),
    ("subscriptions", "no renewal", lambda one: one.get("renewalTermDuration") == ""),
    ("subscriptions", "etag", lambda one: "etag" in one["attributes"]),
    ("subscriptions", "no etag", lambda one: "etag" not in one["attributes"]),
    ("subscriptions", "text", lambda one: isinstance(one.get("consumptionType"), str)),
    ("subscriptions", "list", lambda one: isinstance(one.get("consumptionType"), list)),
    ("subscriptions", "at", lambda one: "expiresAt" in one.get("refundOptions", [{}])[0]),
    ("subscriptions", "after", lambda one: "expiresAfter" in one.get("refundOptions", [{}])[0]),
    ("subscriptions", "upper-case id", lambda one: one["id"] != one["id"].lower()),
    ("subscriptions", "lower-case id", lambda one: one["id"] == one["id"].lower()),
    ("subscriptions", "year 1", lambda one: "0001" in map(_day, one.values())),
    ("subscriptions", "year 9999", lambda one: "9999" in map(_day, one.values())),
    ("subscriptions", "parent", lambda one: "parentSubscriptionId" in one),
    ("subscriptions", "no reseller", lambda one: one["partnerId"] == ""),
    *(
        ("subscriptions", f"{digits} digits", lambda one, digits=digits: digits
         == len(one["creationDate"][19:-1].lstrip(".")))
        for digits in (0, 1, 3, 6, 7)
    ),
    ("orders", "offset", lambda one: one["creationDate"].endswith("-08:00")),
    ("orders", "33 characters", lambda one: len(one["id"]) == 33),
    ("orders", "status with blanks", lambda one: " " in one["status"]),
    ("orders", "line without subscription",
     lambda one: any("subscriptionId" not in line for line in one["lineItems"])),
    ("orders", "22 digits", lambda one: len(str(one.get("totalPrice"))) > 20),
    ("agreements", "no zone", lambda one: not one["dateAgreed"].endswith("Z")),
    ("agreements", "zone", lambda one: one["dateAgreed"].endswith("Z")),
    ("agreements", "unknown type", lambda one: "Unheard" in one["type"]),
    ("subscribed_skus", "below zero", lambda one: one["availableUnits"] < 0),
    ("subscribed_skus", "group 2", lambda one: one["productSku"]["licenseGroupId"] == "group2"),
    ("subscribed_skus", "no plans", lambda one: one["servicePlans"] == []),
    ("audit_records", "no id", lambda one: "id" not in one),
    ("audit_records", "no customer", lambda one: "customerId" not in one),
    ("audit_records", "no name", lambda one: "customerName" not in one),
    ("audit_records", "unknown", lambda one: "unheard" in one["operationType"]),
    ("audit_records", "progress", lambda one: one["operationStatus"] == "progress"),
    ("audit_records", "failed", lambda one: one["operationStatus"] == "failed"),
    ("audit_records", "password", lambda one: "Password" in _value(one)),
    ("audit_records", "mixed case", lambda one: "PASSWORD" in _value(one)),
    ("audit_records", "credentials", lambda one: "UserCredentials" in _value(one)),
    ("audit_records", "no JSON", lambda one: _value(one).startswith("Password")),
    ("audit_records", "null inside", lambda one: "null" in _value(one)),
    ("audit_records", "old value", lambda one: "resourceOldValue" in one),
    ("invoices", "prefix", lambda one: one["id"] not in one["links"]["self"]["uri"].split("/")),
    ("invoices", "nested", lambda one: one.get("amendments", [{}])[0].get("amendments")),
    ("invoices", "22 digits", lambda one: len(str(one["totalCharges"])) > 20),
    ("invoices", "below zero", lambda one: one["totalCharges"] < 0),
    ("invoices", "no period", lambda one: "billingPeriodStartDate" not in one),
    ("invoices", "year 1", lambda one: _day(one.get("billingPeriodStartDate")) == "0001"),
]  # fmt: skip


@pytest.fixture(scope="module")
def samples() -> dict[str, list[dict[str, Any]]]:
    """All records of a medium-sized partner, by place."""
    options = Options(customers=700, invoices=90, audit_per_day=20)
    emulator = Emulator(options, clock=lambda: 1_790_000_000.0)
    return {place: list(emulator.held(place)) for place in sorted({row[0] for row in VARIETIES})}


@pytest.mark.parametrize(
    ("place", "variety", "shows"), VARIETIES, ids=[f"{row[0]}-{row[1]}" for row in VARIETIES]
)
def test_records_vary_as_the_vendors_do(
    place: str,
    variety: str,
    shows: Callable[[dict[str, Any]], object],
    samples: dict[str, list[dict[str, Any]]],
) -> None:
    """Some records have what the documentation, the SDKs or recordings show, but not all do."""
    shown = [bool(shows(record)) for record in samples[place]]
    assert set(shown) == ({True} if variety == "prefix" else {True, False})


def test_customers_have_collections_of_all_sizes(samples: dict[str, list[dict[str, Any]]]) -> None:
    """Some have no subscription; two agreements of one customer may differ only in the date."""
    having = {record["customer_id"] for record in samples["subscriptions"]}
    assert 500 < len(having) < 650
    orders = {(order["customer_id"], order["id"]) for order in samples["orders"]}
    bought = {(one["customer_id"], one["orderId"]) for one in samples["subscriptions"]}
    assert bought == orders
    undated = [json.dumps(one | {"dateAgreed": ""}) for one in samples["agreements"]]
    dated = [json.dumps(one) for one in samples["agreements"]]
    assert len(set(undated)) < len(set(dated)) == len(dated)


def test_amounts_keep_their_digits(sign_in: SignIn) -> None:
    """As JSON numbers, even if a fault changes the answer."""
    amount = Decimal("120.5682999999995904716")
    given = Fixture(invoices=[{"id": "D1", "totalCharges": amount}])
    fault = Fault(place="invoices", add_fields={"new": 1}, skip=1)
    with Emulator(fixture=given, faults=[fault]) as emulator:
        client = sign_in(emulator)
        for _ in range(2):
            assert f'"totalCharges":{amount}' in client.get("/v1/invoices").text
        assert list(emulator.held("invoices")) == [{"id": "D1", "totalCharges": amount}]
