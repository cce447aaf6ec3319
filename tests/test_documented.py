"""The answers printed in Microsoft's documentation, served byte for byte.

`tests/emulator/printed` holds them: "Get a list of customers", "Get customers of an indirect
reseller" and "Create a customer for an indirect reseller".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from partnercenter_emulator import Fault, Fixture
from tests.command_line import catalog_of

if TYPE_CHECKING:
    from partnercenter_emulator import Emulator
    from tests.conftest import Start, Sync

PRINTED = Path(__file__).parent / "emulator" / "printed"
RESELLER = "484e548c-f5f3-4528-93a9-c16c6373cb59"


def documented(name: str) -> bytes:
    """A printed body, without the extra comma in one of them."""
    return (PRINTED / f"{name}.json").read_bytes().replace(b"},\n    ],", b"}\n    ],")


def test_the_documented_list_of_customers(start: Start, sync: Sync) -> None:
    """Two customers, although totalCount says 25."""
    emulator = start(Fault(place="customers", body=documented("customers")))
    result = sync(emulator, catalog=catalog_of("customers"))
    profile = {
        "tenantId": "<guid>",
        "domain": "domain",
        "companyName": "companyName",
        "attributes": {"objectType": "CustomerCompanyProfile"},
    }
    assert result.exit_code == 0
    assert result.records("customers") == [
        {
            "id": customer_id,
            "companyProfile": profile,
            "relationshipToPartner": "reseller",
            "attributes": {"objectType": "Customer"},
        }
        for customer_id in (
            "b44bb1fb-c595-45b0-9e09-d657365580bf",
            "45c44870-ef77-4fdd-b6fe-3dacb075cff2",
        )
    ]


def test_the_documented_customers_of_a_reseller(start: Start, sync: Sync) -> None:
    """Each record has the reseller of the request, but no links."""
    emulator = start(Fault(place="partition", body=documented("customers_of_a_reseller")))
    result = sync(emulator, catalog=catalog_of("reseller_customers"), reseller_ids=[RESELLER])
    assert result.exit_code == 0
    assert result.records("reseller_customers") == [
        {
            "reseller_id": RESELLER,
            "id": customer_id,
            "companyProfile": {
                "tenantId": customer_id,
                "domain": domain,
                "companyName": name,
                "attributes": {"objectType": "CustomerCompanyProfile"},
            },
            "relationshipToPartner": "reseller",
            "attributes": {"objectType": "Customer"},
        }
        for customer_id, domain, name in (
            (
                "53eb21cb-6b2d-4ee5-9e92-27dfc927e93c",
                "FourthCoffee137.onmicrosoft.com",
                "FourthCoffee137",
            ),
            (
                "3dfe847b-cad9-4fc1-86d3-cf16c2790087",
                "WingtipToys1254789149.onmicrosoft.com",
                "Wingtip Toys1254789149",
            ),
        )
    ]


def test_the_filter_is_encoded_as_documented(start: Start, sync: Sync) -> None:
    """Compact JSON, percent-encoded, as in the documented request."""
    emulator = start()
    sync(emulator, catalog=catalog_of("reseller_customers"), reseller_ids=[RESELLER])
    (request,) = [request for request in emulator.requests if request.place == "partition"]
    assert request.path == (
        "/v1/customers?size=500&filter=%7B%22Field%22%3A%22IndirectReseller%22%2C%22Value%22%3A%22"
        "484e548c-f5f3-4528-93a9-c16c6373cb59%22%2C%22Operator%22%3A%22starts_with%22%7D"
    )


def sign_in(emulator: Emulator) -> dict[str, str]:
    credentials = emulator.credentials
    answer = requests.post(
        f"{emulator.url}/{credentials.tenant_id}/oauth2/v2.0/token",
        data={
            "grant_type": "refresh_token",
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
            "refresh_token": credentials.refresh_token,
            "scope": "https://api.partnercenter.microsoft.com/.default",
        },
        timeout=10,
    )
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_created_customer_is_in_every_stream(start: Start, sync: Sync) -> None:
    """The new customer is listed and has its reseller; its password is hidden."""
    reseller = {"id": RESELLER, "name": "Harbor Resale AB", "mpnId": "5000123"}
    emulator = start(fixture=Fixture(resellers=[reseller]))
    answer = requests.post(
        f"{emulator.url}/v1/customers",
        data=documented("create_request"),
        headers={**sign_in(emulator), "Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code == 201
    created = answer.json()
    assert created.keys() >= json.loads(documented("create_response")).keys() - {"attributes"}
    password = created["userCredentials"]["password"]

    result = sync(emulator)
    assert result.exit_code == 0
    (customer,) = result.records("customers")
    assert customer["id"] == created["id"]
    assert customer["companyProfile"]["companyName"] == "Wingtip Toys678152504"
    assert result.keys("reseller_customers", "reseller_id", "id") == [(RESELLER, created["id"])]
    assert result.keys("customer_relationships", "customer_id", "id") == [(created["id"], RESELLER)]
    assert password not in result.stdout + result.stderr


def test_a_password_in_a_list_is_never_passed_on(start: Start, sync: Sync) -> None:
    """Lists may contain what the creation returned; the tap drops it."""
    created = json.loads(documented("create_response"))
    page = {"totalCount": 1, "items": [created], "attributes": {"objectType": "Collection"}}
    emulator = start(Fault(place="customers", json=page))
    result = sync(emulator, catalog=catalog_of("customers"))
    (customer,) = result.records("customers")
    assert customer["billingProfile"]["defaultAddress"]["city"] == "Redmond"
    assert customer["associatedPartnerId"] == RESELLER
    assert "userCredentials" not in customer
    assert created["userCredentials"]["password"] not in result.stdout + result.stderr
