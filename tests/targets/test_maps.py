"""Stream maps for personal data: the examples in docs/warehouse.md, and each of its pitfalls."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.command_line import FINAL, catalog_of
from tests.targets.page import yaml_block
from tests.targets.rows import column_types, held_rows, in_order, loaded_rows, tables
from tests.truth import KEYS, REFRESHES

if TYPE_CHECKING:
    from partnercenter_emulator import Emulator
    from tests.conftest import Start, Sync
    from tests.warehouse import Pipe, Project

SALT = "sea"
CUSTOMERS = ("customers", "reseller_customers")


def hashed(text: str) -> str:
    return hashlib.sha256((SALT + text).encode()).hexdigest()


def names(emulator: Emulator) -> set[str]:
    return {str(customer["companyProfile"]["companyName"]) for customer in emulator.customers()}


def everything(pipe: Pipe, schema: str) -> str:
    """All content of the customers' tables, as text."""
    found = [loaded_rows(pipe.server, schema, table) for table in CUSTOMERS]
    return json.dumps(found, ensure_ascii=False)


def without(*path: str) -> dict[str, Any]:
    """The catalog without one field of the customers."""
    catalog = catalog_of(*KEYS)
    breadcrumb = [part for name in path for part in ("properties", name)]
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if stream["stream"] in CUSTOMERS and entry["breadcrumb"] == breadcrumb:
                entry["metadata"]["selected"] = False
    return catalog


@pytest.mark.e2e
def test_the_documented_map_hashes_and_drops(start: Start, pipe: Pipe) -> None:
    """Hashes instead of names and domains, in both tables; everything else is unchanged."""
    emulator = start(customers=40, resellers=3)
    pipe.load(emulator, "hashed", stream_map_config={"salt": SALT}, **yaml_block("stream_maps"))
    for table in CUSTOMERS:
        wanted = held_rows(emulator)[table]
        for row in wanted:
            for member in ("companyName", "domain"):
                row["companyProfile"][member] = hashed(row["companyProfile"][member])
            del row["billingProfile"]
        assert loaded_rows(pipe.server, "hashed", table) == in_order(wanted)
        assert "billingProfile" not in column_types(pipe.server, "hashed", table)
    assert not any(name in everything(pipe, "hashed") for name in names(emulator))


@pytest.mark.e2e
def test_the_documented_map_works_with_flattening(start: Start, pipe: Pipe) -> None:
    """The rebuilt object is flattened like any other."""
    emulator = start(customers=10, resellers=2)
    flat: dict[str, Any] = {"flattening_enabled": True, "flattening_max_depth": 1}
    maps = yaml_block("stream_maps")
    pipe.load(emulator, "hashed_flat", stream_map_config={"salt": SALT}, **maps, **flat)
    rows = loaded_rows(pipe.server, "hashed_flat", "customers")
    assert {row["companyProfile__companyName"] for row in rows} == set(map(hashed, names(emulator)))


@pytest.mark.e2e
def test_the_documented_selection_removes_fields(start: Start, project: Project) -> None:
    """Through Meltano: a column and a member of an object are missing in both tables."""
    emulator = start(customers=40, resellers=3)
    project.run(emulator, "target-postgres", "selected", **yaml_block("select"))
    for table in CUSTOMERS:
        wanted = held_rows(emulator)[table]
        for row in wanted:
            del row["companyProfile"]["companyName"], row["billingProfile"]
        assert loaded_rows(project.server, "selected", table) == in_order(wanted)
        assert "billingProfile" not in column_types(project.server, "selected", table)


@pytest.mark.e2e
def test_a_column_stays_when_its_field_is_removed(start: Start, pipe: Pipe) -> None:
    """A field deselected later keeps its old values: no column is dropped."""
    emulator = start(customers=10, resellers=2)
    before = held_rows(emulator)["customers"]
    pipe.load(emulator, "outlived", catalog=catalog_of("customers"))
    pipe.load(emulator, "outlived", catalog=without("relationshipToPartner"))
    assert loaded_rows(pipe.server, "outlived", "customers") == before


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("companyProfile__companyName", {"flattening_enabled": True, "flattening_max_depth": 1}),
        ("companyProfile.companyName", {}),
    ],
)
def test_a_map_of_a_member_is_refused(
    name: str, settings: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Only whole fields can be mapped, and nothing that was to be removed leaves the tap."""
    emulator = start(customers=10, resellers=2)
    result = sync(emulator, stream_maps={"*customers": {name: None}}, **settings)
    assert (result.exit_code, result.stdout) == (FINAL, "")
    (error,) = result.levels("ERROR")
    assert name in error
    assert not emulator.requests


def test_a_map_of_one_table_leaves_the_other(start: Start, sync: Sync) -> None:
    """The customers' names are in the resellers' lists too."""
    emulator = start(customers=10, resellers=2)
    result = sync(emulator, stream_maps={"customers": {"companyProfile": None}})
    assert not any("companyProfile" in row for row in result.records("customers"))
    assert all("companyProfile" in row for row in result.records("reseller_customers"))


def test_a_deselected_field_cannot_be_hashed(start: Start, sync: Sync) -> None:
    """It is removed before the map."""
    emulator = start(customers=10, resellers=2)
    maps = {"customers": {"name_hash": "sha256(companyProfile['companyName'])"}}
    catalog = without("companyProfile", "companyName")
    result = sync(emulator, catalog=catalog, stream_maps=maps)
    assert result.exit_code == 1


def test_a_missing_member_ends_the_run(start: Start, sync: Sync) -> None:
    """`get` accepts that."""
    emulator = start(customers=10, resellers=2)
    maps = {"customers": {"mail": "md5(companyProfile['email'])"}}
    assert sync(emulator, stream_maps=maps).exit_code == 1
    maps = {"customers": {"mail": "md5(companyProfile.get('email') or '')"}}
    assert sync(emulator, stream_maps=maps).exit_code == 0


@pytest.mark.e2e
def test_a_dropped_table_of_customers(start: Start, pipe: Pipe) -> None:
    """`customers: null`: no table of customers, but one of relationships."""
    emulator = start(customers=20, resellers=2)
    pipe.load(emulator, "dropped", stream_maps={"customers": None})
    assert tables(pipe.server, "dropped") == {*KEYS, *REFRESHES} - {"customers"}
    relationships = held_rows(emulator)["customer_relationships"]
    assert loaded_rows(pipe.server, "dropped", "customer_relationships") == relationships


def test_a_filter_of_customers(start: Start, sync: Sync) -> None:
    """A customer that is filtered out has no relationships, but is in a reseller's list."""
    emulator = start(customers=40, resellers=2)
    filtered = {"__filter__": "companyProfile['domain'] < 'm'"}
    result = sync(emulator, stream_maps={"customers": filtered})
    kept = {row["id"] for row in result.records("customers")}
    assert 0 < len(kept) < 40
    assert {row["customer_id"] for row in result.records("customer_relationships")} <= kept
    assert not {row["id"] for row in result.records("reseller_customers")} <= kept
    both = sync(emulator, stream_maps={"*customers": filtered})
    assert {row["id"] for row in both.records("reseller_customers")} <= kept
