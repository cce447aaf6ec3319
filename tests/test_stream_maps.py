"""Stream maps with unknown names: since they hide data, they are errors before any request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.command_line import FINAL, catalog_of
from tests.truth import held

if TYPE_CHECKING:
    from tests.conftest import Start, Sync

MISSPELT = "there is no field companyProfil (did you mean companyProfile?)"
WHOLE = "maps come before flattening and see companyProfile as a whole"
FLAT = {"flattening_enabled": True, "flattening_max_depth": 2}


@pytest.mark.parametrize(
    ("maps", "reported"),
    [
        (
            {"custommers": {"companyProfile": None}},
            "there is no stream custommers (did you mean customers?)",
        ),
        ({"custommers": None}, "there is no stream custommers (did you mean customers?)"),
        ({"products*": None}, "there is no stream products*"),
        (
            {"renamed": {"__source__": "customer"}},
            "there is no stream customer (did you mean customers?)",
        ),
        (
            {"customers": {"companyProfil": None}},
            f"customers: {MISSPELT}",
        ),
        (
            {"c*": {"companyProfil": "__NULL__"}},
            f"c*: {MISSPELT}",
        ),
        (
            {"renamed": {"__source__": "customers", "Id": "id", "companyprofile": None}},
            "renamed: there is no field companyprofile (did you mean companyProfile?)",
        ),
        (
            {"customers": {"companyProfile__companyName": None}},
            f"customers: there is no field companyProfile__companyName: {WHOLE}",
        ),
        (
            {"customers": {"companyProfile.companyName": None}},
            f"customers: there is no field companyProfile.companyName: {WHOLE}",
        ),
        (
            {"customers": {"companyProfil": "sha256(self)"}},
            f"customers: self is undefined, because {MISSPELT}",
        ),
        (
            {"customers": {"name": "companyProfil['companyName']"}},
            f"customers: name: {MISSPELT}",
        ),
        (
            {"customers": {"__filter__": "ids != ''"}},
            "customers: __filter__: there is no field ids (did you mean id?)",
        ),
        (
            {"customers": {"__filtr__": "id != ''"}},
            "customers: there is no option __filtr__ (did you mean __filter__?)",
        ),
        ({"customers": {"__x__": "id"}}, "customers: there is no option __x__"),
        ({"customers": {"short": ""}}, "customers: short is not a valid expression"),
        ({"customers": {"short": "id["}}, "customers: short is not a valid expression"),
        ({"customers": {"short": "a = id"}}, "customers: short is not a valid expression"),
        ({"customers": {"short": "id\0"}}, "customers: short is not a valid expression"),
        (
            {"customers": {"short": "(" * 300 + ")" * 300}},
            "customers: short is not a valid expression",
        ),
        ({"customers": {"__alias__": "1"}}, "customers: __alias__ is not a name"),
        ({"customers": {"__alias__": "1 / 0"}}, "an option is not valid (ZeroDivisionError)"),
        ({"customers": {"__alias__": "a b"}}, "Failed to evaluate simpleeval expressions a b."),
        ({"__other__": None}, "Option '__other__:None' is not expected."),
    ],
)
@pytest.mark.parametrize("flattening", [{}, FLAT])
def test_a_map_with_an_unknown_name_is_refused(
    maps: dict[str, Any], reported: str, flattening: dict[str, Any], start: Start, sync: Sync
) -> None:
    """It would let through what it is meant to remove."""
    emulator = start()
    result = sync(emulator, stream_maps=maps, **flattening)
    assert result.exit_code == FINAL
    assert result.error == f"stream_maps: {reported}"
    assert result.stdout == ""
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("maps", "reported"),
    [
        (
            {"customers": {"__alias__": "indirect_resellers"}},
            "customers and indirect_resellers are both written as indirect_resellers",
        ),
        (
            {"customers": {"__alias__": "x"}, "reseller_customers": {"__alias__": "x"}},
            "customers and reseller_customers are both written as x",
        ),
        (
            {"indirect_resellers": {"__source__": "customers"}},
            "customers and indirect_resellers are both written as indirect_resellers",
        ),
        (
            {"*": {"__alias__": "x"}},
            "customer_refreshes and customer_relationships are both written as x",
        ),
    ],
)
def test_two_streams_do_not_become_one_table(
    maps: dict[str, Any], reported: str, start: Start, sync: Sync
) -> None:
    """The second stream's version would delete the rows of the first."""
    emulator = start()
    result = sync(emulator, stream_maps=maps, emit_activate_version_messages=True)
    assert result.exit_code == FINAL
    remedy = "which would become one table. Choose another name"
    assert result.error == f"stream_maps: {reported}, {remedy}"
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("maps", "selected"),
    [
        (
            {"customers": {"__alias__": "reseller_customers"}, "reseller_customers": None},
            ["customers", "reseller_customers"],
        ),
        ({"customers": {"__alias__": "reseller_customers"}}, ["customers"]),
    ],
    ids=["mapped away", "deselected"],
)
def test_a_table_may_use_the_name_of_a_deselected_one(
    maps: dict[str, Any], selected: list[str], start: Start, sync: Sync
) -> None:
    result = sync(start(), catalog=catalog_of(*selected), stream_maps=maps)
    assert result.exit_code == 0, result.stderr
    assert len(result.records("reseller_customers")) == 7


def test_all_errors_in_the_maps_are_reported_at_once(start: Start, sync: Sync) -> None:
    """One line for each."""
    result = sync(start(), stream_maps={"custommers": None, "customers": {"a": None, "b": "c"}})
    assert result.levels("ERROR") == [
        "stream_maps: there is no stream custommers (did you mean customers?)",
        "stream_maps: customers: there is no field a",
        "stream_maps: customers: b: there is no field c",
    ]


@pytest.mark.parametrize(
    "maps",
    [
        None,
        {"*": {"companyProfile": None}},
        {"customers": {"company_profile": "companyProfile", "companyProfile": None}},
        {"customers": {"ids": "[part for part in id.split('-')]"}},
        {"customers": {"companyProfile": "config['salt'] + str(_['id']) + md5(record['id'])"}},
        {"customers": {"stream": "__stream_name__", "day": "str(datetime.date.today())"}},
        {"customers": {"__else__": None, "id": "id", "__loaded_by": "'tap'"}},
        {"customers": {"__alias__": "clients"}, "ids": {"__source__": "customers", "id": "self"}},
        {"customers": "__NULL__", "__else__": None},
        {"indirect_resellers": {"state": None}, "reseller_customers": {"id": "self.upper()"}},
    ],
)
def test_maps_that_name_what_exists_pass(
    maps: dict[str, Any] | None, start: Start, sync: Sync
) -> None:
    """New fields, patterns, copies and the mapper's own names are not mistakes."""
    result = sync(start(), stream_maps=maps, stream_map_config={"salt": "x", "share": 1.5})
    assert result.exit_code == 0, result.stderr
    assert result.levels("WARNING") == []


def test_a_new_field_with_a_similar_name_causes_a_warning(start: Start, sync: Sync) -> None:
    """A constant in a misspelt field next to the real one hides nothing."""
    result = sync(start(), stream_maps={"customers": {"companyProfil": "'hidden'"}})
    assert result.exit_code == 0
    (warning,) = result.levels("WARNING")
    assert warning == (
        "stream_maps: customers: companyProfil is a new field, and companyProfile stays as it is. "
        "Did you mean companyProfile?"
    )


def test_a_map_may_remove_what_the_catalog_left_out(start: Start, sync: Sync) -> None:
    """A field left out of the catalog counts as removed; one unknown to the tap is a mistake."""
    catalog = catalog_of("customers")
    for stream in catalog["streams"]:
        stream["schema"]["properties"].pop("companyProfile", None)
        stream["schema"]["properties"]["extra"] = {"type": ["string", "null"]}
    maps = {"customers": {"companyProfile": None, "extra": None}}
    result = sync(start(), catalog=catalog, stream_maps=maps)
    assert result.exit_code == 0


def test_the_map_of_a_deselected_parent_is_read(start: Start, sync: Sync) -> None:
    """Its filter decides which customers have relationships."""
    emulator = start()
    first = next(iter(emulator.customers()))["id"]
    maps = {"customers": {"__filter__": f"id == '{first}'"}}
    result = sync(emulator, catalog=catalog_of("customer_relationships"), stream_maps=maps)
    assert result.exit_code == 0
    assert {key for (key,) in result.keys("customer_relationships", "customer_id")} == {first}


def test_a_table_that_a_map_drops_is_not_reported_as_read(start: Start, sync: Sync) -> None:
    """Its earlier rows would seem to be gone."""
    maps = {"customers": None, "customer_relationships": None}
    result = sync(start(), stream_maps=maps)
    assert result.exit_code == 0, result.stderr
    assert result.records("customer_refreshes") == []
    reported = {stream for (stream,) in result.keys("list_refreshes", "stream")}
    assert reported == {"indirect_resellers", "reseller_customers"}


def test_a_copy_of_a_stream_that_is_not_mapped_itself_gets_every_record(
    start: Start, sync: Sync
) -> None:
    """The records of the stream itself are written unchanged."""
    emulator = start()
    copy = {"__source__": "customers", "__key_properties__": ["id"], "id": "id"}
    result = sync(emulator, stream_maps={"copy": copy})
    assert result.exit_code == 0, result.stderr
    for stream in ("customers", "copy"):
        assert result.keys(stream, "id") == held(emulator)["customers"]
