"""Whole syncs of a medium-sized provider, with every form of link."""

from __future__ import annotations

import copy
import uuid
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from partnercenter_emulator import Emulator, Fault, Fixture, Options
from tests.command_line import catalog_of, run_tap
from tests.truth import KEYS, REFRESHES, assert_complete, assert_no_checkpoint, held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.command_line import Result
    from tests.conftest import Start, Sync


def without_times(result: Result) -> list[dict[str, Any]]:
    """The messages without their timestamps."""
    messages = copy.deepcopy(result.messages)
    for message in messages:
        message.pop("time_extracted", None)
        message.get("record", {}).pop("refreshed_at", None)
    return [message for message in messages if message["type"] != "STATE"]


def ids(kind: int, count: int) -> list[str]:
    return [str(uuid.UUID(int=kind << 64 | number)) for number in range(count)]


@pytest.fixture(scope="module")
def provider() -> Iterator[Emulator]:
    options = Options(customers=3000, resellers=12, link_form="rotate", total_count="wrong")
    with Emulator(options) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def result(provider: Emulator) -> Result:
    return run_tap(config={**provider.tap_config(), "page_size": 100})


@pytest.mark.parametrize("stream", KEYS)
def test_every_record_is_there_once_and_in_order(
    provider: Emulator, result: Result, stream: str
) -> None:
    """Counts and keys match the API, whatever totalCount claims."""
    assert result.exit_code == 0
    keys = result.keys(stream, *KEYS[stream])
    assert len(set(keys)) == len(keys)
    assert keys == held(provider)[stream]


def test_every_record_fits_the_schema_sent_before_it(result: Result) -> None:
    """Each stream sends one SCHEMA before its records, and they are valid against it."""
    schemas: dict[str, Any] = {}
    for message in result.messages:
        if message["type"] == "SCHEMA":
            assert message["stream"] not in schemas
            assert tuple(message["key_properties"]) == {**KEYS, **REFRESHES}[message["stream"]]
            schemas[message["stream"]] = jsonschema.Draft202012Validator(message["schema"])
        elif message["type"] == "RECORD":
            schemas[message["stream"]].validate(message["record"])
    assert set(schemas) == {*KEYS, *REFRESHES}


def test_full_pages_of_the_default_size_lose_nothing(start: Start, sync: Sync) -> None:
    """Two full pages of customers and of a reseller's customers, and one of relationships."""
    customers, resellers = ids(1, 1000), ids(2, 2)
    fixture = Fixture(
        customers=[{"id": customer} for customer in customers],
        resellers=[{"id": reseller} for reseller in resellers],
        memberships=[(customer, resellers[0]) for customer in customers]
        + [(customer, resellers[1]) for customer in customers[:500]],
        relationships={customers[499]: [{"id": partner} for partner in ids(3, 500)]},
    )
    emulator = start(fixture=fixture)
    assert_complete(sync(emulator), emulator)
    pages = emulator.stats().by_place
    assert pages["customers"] == pages["continuation"] == {"200": 1}
    assert pages["partition"] == {"200": 2}
    assert pages["partition_continuation"] == {"200": 1}


@pytest.mark.slow
def test_two_runs_have_the_same_output(provider: Emulator, result: Result) -> None:
    """The output depends on the data alone: order and content repeat."""
    again = run_tap(config={**provider.tap_config(), "page_size": 100})
    assert without_times(again) == without_times(result)


def test_state_messages_stay_small(result: Result) -> None:
    """A bookmark holds the next page, not the customers before it."""
    states = [line for line in result.stdout.splitlines() if '"type":"STATE"' in line]
    assert max(map(len, states)) < 1500
    pages = 3000 / 100 + 12 + 3000 / 100 + 2
    assert len(states) < pages + 10
    assert_no_checkpoint(result.state)


def test_the_log_does_not_grow_with_the_customers(result: Result) -> None:
    """A healthy run logs little and warns of nothing."""
    assert len(result.stderr.splitlines()) < 25
    assert "children of all" not in result.stderr
    assert result.levels("WARNING") == []
    assert result.levels("ERROR") == []


def test_partitions_are_read_in_the_configured_order(start: Start, sync: Sync) -> None:
    """Configured reseller ids are read in their order, each once, ignoring case."""
    emulator = start(customers=60, resellers=4)
    ids = [reseller["id"] for reseller in emulator.resellers()]
    wanted = [ids[2], ids[0], ids[2].upper()]
    result = sync(emulator, reseller_ids=wanted)
    seen = dict.fromkeys(key for (key,) in result.keys("reseller_customers", "reseller_id"))
    assert list(seen) == [ids[2], ids[0]]
    assert {key[0]: None for key in held(emulator)["reseller_customers"]}.keys() > seen.keys()


def test_without_resellers_the_stream_is_empty(start: Start, sync: Sync) -> None:
    """A provider without resellers is not an error, and the table is still created."""
    result = sync(start(customers=5, resellers=0))
    assert result.exit_code == 0
    assert len(result.records("customers")) == 5
    assert result.records("reseller_customers") == []
    assert "reseller_customers: there are no indirect resellers to read" in result.log


def test_without_customers_all_tables_exist(start: Start, sync: Sync) -> None:
    """A child stream without any requests has a schema too."""
    result = sync(start(customers=0, resellers=1))
    assert result.exit_code == 0
    assert {m["stream"] for m in result.messages if m["type"] == "SCHEMA"} == {*KEYS, *REFRESHES}


def test_app_only_credentials_read_customers(start: Start, sync: Sync) -> None:
    """Customers alone need no user."""
    emulator = start()
    result = sync(emulator, app_only=True, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert result.keys("customers", "id") == held(emulator)["customers"]


def test_a_deselected_child_costs_nothing(start: Start, sync: Sync) -> None:
    """Relationships are not requested when the stream is deselected."""
    emulator = start()
    sync(emulator, catalog=catalog_of("customers", "indirect_resellers"))
    assert "relationships" not in emulator.stats().by_place


def test_a_child_is_read_when_its_parent_is_deselected(start: Start, sync: Sync) -> None:
    """Relationships can be synced alone."""
    emulator = start()
    result = sync(emulator, catalog=catalog_of("customer_relationships"))
    assert {m["stream"] for m in result.messages if "stream" in m} == {"customer_relationships"}
    assert (
        result.keys("customer_relationships", "customer_id", "id", "relationshipType")
        == (held(emulator)["customer_relationships"])
    )


def test_a_run_without_streams_says_so(start: Start, sync: Sync) -> None:
    """The run reads nothing, which may be intended."""
    emulator = start()
    result = sync(emulator, catalog=catalog_of(others=True))
    assert result.exit_code == 0
    (warning,) = result.levels("WARNING")
    assert warning.startswith("No stream is selected, so nothing is read. ")
    assert emulator.stats().requests == 0


def test_a_filtered_customer_on_a_page_that_is_read_ahead_has_no_children(
    start: Start, sync: Sync
) -> None:
    """The other customers of its page keep theirs."""
    emulator = start(customers=6)
    ids = [key for (key,) in held(emulator)["customers"]]
    # The second page is read before the children of the first.
    emulator.faults = [Fault(place="relationships", customer_id=ids[2], hang=0.3)]
    maps = {"customers": {"id": "id", "__filter__": f"id != '{ids[3]}'"}}
    result = sync(emulator, page_size=3, stream_maps=maps)
    assert result.exit_code == 0, result.stderr
    found = result.keys("customer_relationships", "customer_id", "id", "relationshipType")
    assert found == [key for key in held(emulator)["customer_relationships"] if key[0] != ids[3]]


@pytest.mark.parametrize(
    ("place", "stream", "field"),
    [
        ("relationships", "customer_relationships", "customer_id"),
        ("partition", "reseller_customers", "reseller_id"),
    ],
)
def test_a_record_belongs_to_the_customer_it_was_requested_for(
    place: str, stream: str, field: str, start: Start, sync: Sync
) -> None:
    """A field of the same name from the service does not change that."""
    emulator = start(Fault(place=place, add_fields={field: "another"}), customers=6)
    result = sync(emulator)
    assert result.exit_code == 0, result.stderr
    assert result.keys(stream, *KEYS[stream]) == held(emulator)[stream]


def test_a_filtered_customer_has_no_children(start: Start, sync: Sync) -> None:
    """A stream map that drops a customer saves its requests, even at the end of a page."""
    emulator = start(customers=6)
    last_of_page = held(emulator)["customers"][2][0]
    maps = {"customers": {"__filter__": f"id != '{last_of_page}'", "__else__": None}}
    maps["customers"]["id"] = "id"
    result = sync(emulator, page_size=3, stream_maps=maps)
    assert result.exit_code == 0
    assert len(result.records("customers")) == 5
    assert emulator.stats().by_place["relationships"] == {"200": 5}
