"""Keys that no server should send: odd, missing or repeated ids, and ids in several spellings."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from partnercenter_emulator import Fault, Fixture
from tests.command_line import catalog_of
from tests.failures import API, assert_refused
from tests.responses import customer, page
from tests.truth import held

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Start, Sync


@pytest.mark.parametrize(
    "identifier",
    [
        "../admin",
        "a/b",
        "..",
        ".",
        "%2e%2e",
        "a%2fb",
        "a?b=c",
        "a#b",
        "a b",
        "a\\b",
        "ä",
        "a\r\nb",
        "x" * 129,
    ],
)
def test_an_odd_customer_id_makes_no_request(identifier: str, start: Start, sync: Sync) -> None:
    """The record is emitted unchanged; its id is not used in an address or quoted in logs."""
    emulator = start(fixture=Fixture(customers=[customer("good"), customer(identifier)]))
    result = sync(emulator)
    assert result.exit_code == 0
    assert result.keys("customers", "id") == [("good",), (identifier,)]
    paths = [r.path for r in emulator.requests if r.place not in {"token", "resellers"}]
    assert len(paths) == 2
    assert paths[1] == "/v1/customers/good/relationships"
    (line,) = result.levels("WARNING")
    assert line == (
        "customer_relationships: 1 customer skipped; their records are missing: "
        "(invalid id) (its id cannot be used in a URL)"
    )


@pytest.mark.parametrize("identifier", ["", None, True, 1.5, ["a"], {"a": 1}])
@pytest.mark.parametrize("place", ["customers", "relationships", "resellers", "invoices"])
def test_a_record_without_a_usable_id_ends_the_run(
    identifier: object, place: Place, start: Start, sync: Sync
) -> None:
    """A record without a key cannot be loaded; leaving it out would lose it silently."""
    emulator = start(Fault(place=place, json=page(customer(identifier))))
    result = sync(emulator, catalog=catalog_of(API.get(place, place)))
    assert result.exit_code == 1
    assert "a record without id, which is part of the key" in result.error
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", ["customers", "relationships", "resellers", "partition"])
def test_a_record_that_lost_its_id_ends_the_run(place: Place, start: Start, sync: Sync) -> None:
    """The same applies if the field is missing."""
    emulator = start(Fault(place=place, drop_field="items.id"))
    result = sync(emulator, reseller_ids=[str(r["id"]) for r in emulator.resellers()])
    assert result.exit_code == 1
    assert "a record without id" in result.error


@pytest.mark.parametrize("sku", [None, "sku", 5, ["sku"], {"id": None}])
def test_a_record_without_a_usable_nested_id_ends_the_run(
    sku: object, start: Start, sync: Sync
) -> None:
    """The key is a field of an object, which may be something else."""
    emulator = start(Fault(place="subscribed_skus", json=page({"productSku": sku})))
    result = sync(emulator, catalog=catalog_of("subscribed_skus"))
    assert_refused(result, "a record without sku_id", "subscribed_skus")


def test_a_reseller_that_is_listed_twice_is_read_once(start: Start, sync: Sync) -> None:
    """Reading a partition twice would emit each of its customers twice."""
    fault = Fault(place="resellers", duplicate_first_item=True)
    emulator = start(fault, customers=9, resellers=2)
    result = sync(emulator, catalog=catalog_of("reseller_customers"))
    assert result.exit_code == 0, result.stderr
    keys = result.keys("reseller_customers", "reseller_id", "id")
    assert sorted(keys) == sorted(set(held(emulator)["reseller_customers"]))


def test_a_reseller_that_is_listed_in_two_spellings_is_read_once(start: Start, sync: Sync) -> None:
    """The API compares ids case-insensitively, and sends some in upper case."""
    emulator = start(resellers=1)
    (reseller,) = emulator.resellers()
    twice = page(reseller, {**reseller, "id": str(reseller["id"]).upper()})
    emulator.faults = [Fault(place="resellers", json=twice)]
    result = sync(emulator, catalog=catalog_of("reseller_customers"))
    keys = result.keys("reseller_customers", "reseller_id", "id")
    assert keys == held(emulator)["reseller_customers"]


@pytest.mark.parametrize(("listed", "sent"), [("a-1", "A-1"), ("A-1", "a-1"), (5, "5")])
def test_a_customer_has_one_spelling_in_all_tables(
    listed: object, sent: str, start: Start, sync: Sync
) -> None:
    """Otherwise its details could not be joined with its list, nor found to be gone."""
    fault = Fault(place="customer", json={"id": sent})
    emulator = start(fault, fixture=Fixture(customers=[customer(listed)]))
    result = sync(emulator, catalog=catalog_of("customers", "customer_details"))
    assert result.exit_code == 0, result.stderr
    assert result.keys("customers", "id") == [(str(listed),)]
    assert result.keys("customer_details", "id") == [(str(listed),)]


def test_audit_records_without_an_id_differ_by_all_that_they_hold(start: Start, sync: Sync) -> None:
    """Values that are not emitted count too: otherwise one of two changes in a second is lost."""
    same = {"operationDate": "2026-01-01T00:00:00Z", "operationType": "update_customer"}
    rows = [{**same, "resourceNewValue": value} for value in ("1", "2")]
    emulator = start(Fault(place="audit_records", json=page(*rows), times=1), customers=1)
    result = sync(emulator, catalog=catalog_of("audit_records"))
    assert result.exit_code == 0, result.stderr
    made = [key for (key,) in result.keys("audit_records", "id") if key.startswith("tap-")]
    assert len(set(made)) == len(made) >= 2


@pytest.mark.parametrize(
    "identifier", ["", "9b1de2aa", "not-a-guid", "a%", f"{uuid.UUID(int=1)}0", None]
)
def test_a_reseller_id_of_the_api_must_be_a_guid(
    identifier: object, start: Start, sync: Sync
) -> None:
    """The filter matches prefixes: a short id would read other resellers' customers."""
    emulator = start(Fault(place="resellers", json=page({"id": identifier, "name": "Contoso"})))
    result = sync(emulator, catalog=catalog_of("reseller_customers"))
    assert_refused(result, "a reseller whose id is not a GUID", "reseller_customers")
    assert "reseller_ids" in result.error
    assert "Contoso" not in result.stderr
    assert "partition" not in emulator.stats().by_place


def test_duplicates_are_passed_on(start: Start, sync: Sync) -> None:
    """The same customer twice in a page: the target's key merges them, as the log says."""
    emulator = start(Fault(place="customers", times=1, duplicate_first_item=True), customers=5)
    result = sync(emulator)
    assert result.exit_code == 0
    truth = held(emulator)
    assert set(result.keys("customers", "id")) == set(truth["customers"])
    related = len(result.records("customer_relationships"))
    repeated = related - len(truth["customer_relationships"])
    assert repeated
    assert "customers: 6 records, 1 of them repeated" in result.log
    assert f"customer_relationships: {related} records, {repeated} of them repeated" in result.log
    assert "customer_refreshes: 6 records, 1 of them repeated" in result.log


def test_a_customer_that_moves_to_the_next_page_is_repeated(start: Start, sync: Sync) -> None:
    """If the service counts pages by position, they shift when customers are added."""
    emulator = start(customers=5)
    first = [customer["id"] for customer in emulator.customers()][1]
    shifted = {"id": first, "companyProfile": {"tenantId": first}}
    emulator.faults = [Fault(place="continuation", times=1, json=page(shifted))]
    result = sync(emulator, catalog=catalog_of("customers"), page_size=2)
    assert result.exit_code == 0, result.stderr
    assert "customers: 3 records, 1 of them repeated" in result.log


def test_a_relationship_without_a_type_gets_the_vendors_default(start: Start, sync: Sync) -> None:
    """The type is part of the key: null and missing become `none`."""
    emulator = start(Fault(place="relationships", add_fields={"relationshipType": None}))
    result = sync(emulator)
    assert result.exit_code == 0
    kinds = {record["relationshipType"] for record in result.records("customer_relationships")}
    assert kinds == {"none"}


def test_relationships_stay_with_their_customer(start: Start, sync: Sync) -> None:
    """Numeric ids become text; children that are read ahead are not mixed up."""
    ids: list[object] = ["a", "b", 5, "c", 6, 7, "d", "e", 8]
    emulator = start(
        *(
            Fault(place="relationships", customer_id=str(i), json=page({"id": f"partner of {i}"}))
            for i in ids
        ),
        fixture=Fixture(customers=[customer(identifier) for identifier in ids]),
    )
    result = sync(emulator, page_size=3, catalog=catalog_of("customers", "customer_relationships"))
    assert result.exit_code == 0, result.stderr
    assert result.keys("customer_relationships", "customer_id", "id") == [
        (str(identifier), f"partner of {identifier}") for identifier in ids
    ]
