"""Catalogs and states written by others: one line before the first request, or no harm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partnercenter_emulator import Emulator, Options
from tests.command_line import FINAL, catalog_of, deselect, run_tap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Start, Sync

STREAMS = ("customers", "customer_relationships", "indirect_resellers", "reseller_customers")


def entry(catalog: dict[str, Any], name: str = "customers") -> dict[str, Any]:
    """The entry of a stream."""
    (found,) = [stream for stream in catalog["streams"] if stream["tap_stream_id"] == name]
    return dict(found)


def changed(name: str = "customers", **members: Any) -> dict[str, Any]:
    """A catalog with all streams, with members of one entry replaced or removed."""
    catalog = catalog_of(*STREAMS, others=True)
    for stream in catalog["streams"]:
        if stream["tap_stream_id"] == name:
            stream.update(members)
            for member in [m for m, value in members.items() if value is ...]:
                del stream[member]
    return catalog


#: Where a catalog holds the customers.
AT = "streams[{}]".format(
    [stream["tap_stream_id"] for stream in catalog_of(others=True)["streams"]].index("customers")
)


def without_field(name: str) -> dict[str, Any]:
    schema = entry(catalog_of(others=True))["schema"]
    del schema["properties"][name]
    return changed(schema=schema)


@pytest.mark.parametrize(
    ("catalog", "reported"),
    [
        ({}, "it has no streams"),
        ({"streams": {}}, "streams must be a list"),
        ({"streams": ["customers"]}, "streams[0] must be an object"),
        ({"streams": [{"stream": "customers"}]}, "streams[0] has no tap_stream_id"),
        (changed(metadata={}), f"{AT}.metadata must be a list"),
        (changed(schema=None), f"{AT}.schema must be an object"),
        (
            changed(metadata=[{"breadcrumb": [], "metadata": {"selected": "false"}}]),
            f"{AT}.metadata[0].metadata.selected must be true or false",
        ),
        (
            changed(schema={"properties": {"id": True}}),
            f"{AT}.schema.properties.id must be an object",
        ),
        (
            changed(schema={"properties": {"id": {"type": 7}}}),
            f"{AT}.schema.properties.id.type must be text or a list",
        ),
        (changed(key_properties=["id", 7]), f"{AT}.key_properties[1] must be text"),
        (
            changed(tap_stream_id="custommers"),
            "there is no stream custommers (did you mean customers?)",
        ),
        (
            changed(stream="clients"),
            "customers: stream is clients. To rename a table, set __alias__ in stream_maps",
        ),
        (
            without_field("id"),
            "customers: its schema has no id, which is part of the key. Run discovery again",
        ),
        (
            changed(key_properties=["id", "domain"]),
            "customers: its schema has no domain, which its key_properties name",
        ),
    ],
)
def test_an_invalid_catalog_is_refused(
    catalog: dict[str, Any], reported: str, start: Start, sync: Sync
) -> None:
    """One line says where and what, and no request is sent."""
    emulator = start()
    result = sync(emulator, catalog=catalog)
    assert result.exit_code == FINAL
    assert result.error == f"catalog: {reported}"
    assert result.stdout == ""
    assert emulator.requests == []


@pytest.mark.parametrize(
    "members",
    [
        {"schema": ...},
        {"schema": {}},
        {"schema": {"type": "object"}},
        {"schema": {"properties": {}}},
        {"metadata": ...},
        {"metadata": []},
        {"stream": ...},
        {"stream": None},
        {"key_properties": ...},
        {"key_properties": None, "metadata": []},
        {"replication_method": ...},
        {"replication_key": None, "unknown": 7},
        {"metadata": [{"breadcrumb": ["properties", "id"], "metadata": {"selected": False}}]},
    ],
)
def test_what_a_catalog_omits_comes_from_the_tap(
    members: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Schema, key and key fields are complete."""
    emulator = start()
    result = sync(emulator, catalog=changed(**members))
    assert result.exit_code == 0, result.stderr
    assert result.levels("WARNING") == []
    schemas = {m["stream"]: m for m in result.messages if m["type"] == "SCHEMA"}
    assert schemas["customers"]["key_properties"] == ["id"]
    assert "companyProfile" in schemas["customers"]["schema"]["properties"]
    assert {key for (key,) in result.keys("customers", "id")} == {
        c["id"] for c in emulator.customers()
    }


def test_a_catalog_may_name_another_key(start: Start, sync: Sync) -> None:
    """Any fields of its schema."""
    result = sync(start(), catalog=changed(key_properties=["id", "relationshipToPartner"]))
    assert result.exit_code == 0, result.stderr
    schemas = {m["stream"]: m for m in result.messages if m["type"] == "SCHEMA"}
    assert schemas["customers"]["key_properties"] == ["id", "relationshipToPartner"]


def test_a_catalog_with_only_the_child(start: Start, sync: Sync) -> None:
    """Its parent is read, but not emitted."""
    catalog = {"streams": [entry(catalog_of("customer_relationships"), "customer_relationships")]}
    result = sync(start(customers=7), catalog=catalog)
    assert result.exit_code == 0
    assert {m["stream"] for m in result.messages if m["type"] == "SCHEMA"} == {
        "customer_relationships"
    }
    assert len({*result.keys("customer_relationships", "customer_id")}) == 7


def test_a_deselected_stream_may_be_anything(start: Start, sync: Sync) -> None:
    """Nothing in its entry is used, although its child is read."""
    catalog = catalog_of("customer_relationships", others=True)
    for stream in catalog["streams"]:
        if stream["tap_stream_id"] == "customers":
            stream.update(schema={"properties": {"x": {}}}, stream="clients", key_properties=["y"])
    catalog["streams"].append(
        {"tap_stream_id": "gone", "metadata": [{"breadcrumb": [], "metadata": {"selected": False}}]}
    )
    result = sync(start(customers=7), catalog=catalog)
    assert result.exit_code == 0
    assert len({*result.keys("customer_relationships", "customer_id")}) == 7


@pytest.mark.parametrize(
    "members",
    [
        {"replication_method": "INCREMENTAL"},
        {"replication_method": "INCREMENTAL", "replication_key": "id"},
        {
            "replication_method": ...,
            "metadata": [
                {
                    "breadcrumb": [],
                    "metadata": {
                        "selected": True,
                        "replication-key": "id",
                        "forced-replication-method": "INCREMENTAL",
                    },
                },
            ],
        },
    ],
)
def test_a_full_table_is_not_made_incremental_by_a_catalog(
    members: dict[str, Any], start: Start, sync: Sync
) -> None:
    """The API does not report changes: every run reads all, and a line says so."""
    emulator = start(customers=7)
    catalog = changed(**members)
    first = sync(emulator, catalog=catalog)
    assert first.exit_code == 0
    (warning,) = first.levels("WARNING")
    assert warning == (
        "catalog: customers: replication method INCREMENTAL has no effect, the stream is always "
        "FULL_TABLE"
    )
    assert "bookmark_properties" not in first.stdout
    again = sync(emulator, catalog=catalog, state=first.state)
    assert len(again.keys("customers", "id")) == 7


@pytest.mark.parametrize(
    "partitions",
    [
        [{"context": {"region": "EU"}}, {"context": {"region": "US"}}],
        [{"context": {"reseller_id": "x"}, "progress_markers": 7}],
        [{"context": {}}, {"context": {}}],
        [7, None],
        {"a": 1},
        7,
    ],
)
def test_partitions_in_a_foreign_state_are_ignored(
    partitions: Any, start: Start, sync: Sync
) -> None:
    """The SDK would read a stream once for each, and emit its rows as often."""
    emulator = start(customers=7, resellers=2)
    bookmark = {"partitions": partitions, "progress_markers": partitions}
    state = {"bookmarks": dict.fromkeys((*STREAMS, "of_another_tap"), bookmark)}
    result = sync(emulator, state=state)
    assert result.exit_code == 0
    assert len(result.records("customers")) == 7
    assert len(result.records("indirect_resellers")) == 2
    assert "partitions" not in json.dumps(result.state)


#: Wrong values that programs write.
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, 0, -1, 10**400, 1.5, "", " ", "x", "a\0b", "\ud83d", "id", "x" * 5000),
        *([], [1], [None], [[]], {}, {"a": 1}, {"x": {"y": None}}),
    ],
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a document."""
    members = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for name, member in members:
        yield (*at, name)
        yield from places(member, (*at, name))


def corrupt(document: dict[str, Any], data: st.DataObject) -> None:
    """Replace or remove one value of a document."""
    *parents, last = data.draw(st.sampled_from([*places(document)]))
    holder: Any = document
    for name in parents:
        holder = holder[name]
    if data.draw(st.booleans()):
        holder[last] = data.draw(ODD)
    else:
        del holder[last]


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Emulator, dict[str, dict[str, Any]]]]:
    """An emulator, and valid documents."""
    with Emulator(Options(customers=2, resellers=1)) as emulator:
        settings = {**emulator.tap_config(), "page_size": 1, "max_retry_seconds": 0}
        catalog = catalog_of(*STREAMS, others=True)
        for stream in catalog["streams"]:
            keep = {*stream["key_properties"], "state", "relationshipType"}
            fields = stream["schema"]["properties"]
            stream["schema"]["properties"] = {k: v for k, v in fields.items() if k in keep}
            stream["metadata"] = [m for m in stream["metadata"] if {*m["breadcrumb"][1:]} <= keep]
        run = run_tap(config=settings)
        states = [m["value"] for m in run.messages if m["type"] == "STATE"]
        config = {
            **settings,
            "reseller_ids": ["9b1de2aa-7777-4888-9999-aaaabbbbcccc"],
            "shard_count": 1,
            "flattening_enabled": True,
            "flattening_max_depth": 1,
            "flattening_separator": "__",
            "stream_map_config": {"salt": "x"},
            "faker_config": {"seed": 1, "locale": "en"},
            "stream_maps": {
                "customers": {"companyProfile": None, "__filter__": "id", "__alias__": "clients"},
                "copy": {"__source__": "customers", "__key_properties__": ["id"], "id": "id"},
                "__else__": None,
            },
        }
        yield emulator, {"config": config, "state": states[1], "catalog": catalog}


@pytest.mark.parametrize("kind", ["config", "state", "catalog"])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_catalog_works_or_is_refused_with_a_reason(
    kind: str, world: tuple[Emulator, dict[str, dict[str, Any]]], data: st.DataObject
) -> None:
    """One line, no traceback, no request to an unknown place."""
    _, documents = world
    given = json.loads(json.dumps(documents))
    corrupt(given[kind], data)
    config = given["config"] if kind == "config" else documents["config"]
    options = {kind: given[kind]} if kind != "config" else {}
    if kind == "catalog":
        config = {k: v for k, v in config.items() if not k.startswith(("stream_map", "flatten"))}
    result = run_tap(config=config, **options)
    assert result.exit_code in {0, 1, 2, FINAL}
    assert "Unexpected" not in result.stderr
    assert "Traceback" not in result.stderr
    assert (result.exit_code in {1, FINAL}) == bool(result.levels("ERROR"))
    assert all(len(line) < 12_000 for line in result.stderr.splitlines())
    assert result.messages or result.exit_code


@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"customers": {"short": "id[:4]"}}}])
def test_a_deselected_field_is_neither_sent_nor_declared(
    maps: dict[str, Any], start: Start, sync: Sync
) -> None:
    """A target would make an empty column for it."""
    catalog = catalog_of("customers")
    deselect(catalog, "customers", "companyProfile")
    result = sync(start(), catalog=catalog, **maps)
    assert result.exit_code == 0, result.stderr
    (schema,) = (m["schema"]["properties"] for m in result.messages if m["type"] == "SCHEMA")
    assert "companyProfile" not in schema
    assert all("companyProfile" not in record for record in result.records("customers"))
