"""Every stream against the emulator: a new one adds a row to `PLACES`, not a test."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from partnercenter_emulator import Emulator, Fault, Options
from tap_partnercenter import streams
from tap_partnercenter.children import ChildStream
from tests.command_line import catalog_of, run_tap
from tests.test_golden import lines
from tests.truth import complete_lines, last_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.command_line import Result
    from tests.conftest import Start, Sync

# The SDK declares `name` for instances only.
STREAMS: dict[str, Any] = {vars(stream)["name"]: stream for stream in streams.STREAMS}
#: The emulator's name for a stream's records, where it differs.
PLACES = {
    "customer_details": "customer",
    "customer_relationships": "relationships",
    "indirect_resellers": "resellers",
    "reseller_customers": "partition",
}
CHILDREN = [name for name, stream in STREAMS.items() if issubclass(stream, ChildStream)]
#: Streams written by the tap itself: no requests, no version.
REFRESHES = ["customer_refreshes", "list_refreshes"]
FULL = [name for name in STREAMS if name not in {"audit_records", *REFRESHES}]
#: Variants of the service's behaviour; each is one whole run.
FORMS: list[dict[str, Any]] = [
    {"link_form": "relative", "collection_page_limit": 1},
    {"link_form": "token_only", "collection_page_limit": 2, "bom": "all"},
    {"link_form": "rotate", "page_limit": 3, "gzip": True},
    {"link_form": "double_question", "empty_page_every": 2, "audit_order": "ascending"},
    {"link_form": "absolute", "invoice_paging": "offset_ignored"},
    {"link_form": "versioned", "invoice_paging": "ignored"},
    {"invoice_paging": "ignored_with_next", "invoices": 250},
    {"invoices": 400},
]


def held(emulator: Emulator, name: str) -> list[dict[str, Any]]:
    """The records of a stream, in the order of the API."""
    return list(emulator.held(PLACES.get(name, name)))


def rows(result: Result, name: str) -> list[dict[str, Any]]:
    return result.records(name)


def keys(result: Result, name: str) -> list[tuple[Any, ...]]:
    return result.keys(name, *STREAMS[name].primary_keys)


def assert_exact(result: Result, emulator: Emulator, names: list[str]) -> None:
    """Check that each record came once, in the order of the API."""
    assert result.exit_code == 0, result.stderr
    for name in names:
        expected = held(emulator, name)
        emitted = rows(result, name)
        assert len(emitted) == len(set(keys(result, name))) == len(expected), name
        if "customer_id" in STREAMS[name].primary_keys:
            assert [r["customer_id"] for r in emitted] == [r["customer_id"] for r in expected]
        if all("id" in record for record in expected):
            assert [r.get("id", "") for r in emitted if "id" in r] == [
                r["id"] for r in expected if "id" in emitted[0]
            ]


@pytest.fixture
def everything(sync: Sync) -> Callable[..., Result]:
    """Run all streams."""
    return lambda emulator, **settings: sync(
        emulator, catalog=catalog_of(*STREAMS), **{"page_size": 7, **settings}
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_stream_is_exact_in_every_form(
    form: dict[str, Any], start: Start, everything: Callable[..., Result]
) -> None:
    """All records, once, in order and valid, with no field that a schema lacks."""
    emulator = start(**{"customers": 20, **form})
    result = everything(emulator)
    assert_exact(result, emulator, FULL)
    assert result.levels("WARNING") == []
    schemas = {m["stream"]: m for m in result.messages if m["type"] == "SCHEMA"}
    assert set(schemas) == set(STREAMS)
    for name, message in schemas.items():
        assert tuple(message["key_properties"]) == tuple(STREAMS[name].primary_keys)
        validator = jsonschema.Draft202012Validator(message["schema"])
        for record in rows(result, name):
            validator.validate(record)


@pytest.mark.slow
def test_the_bytes_are_the_same_at_any_concurrency(
    start: Start, everything: Callable[..., Result]
) -> None:
    """With 1, 8 and 32 concurrent requests, all messages are equal except for their times."""
    emulator = start(customers=30, collection_page_limit=2, latency=0.002)
    found = set()
    for requests in (1, 8, 32):
        result = everything(emulator, max_concurrent_requests=requests)
        assert result.exit_code == 0
        found.add(lines(result))
    assert len(found) == 1


def test_numbers_lose_nothing(start: Start, sync: Sync) -> None:
    """Amounts of money have up to 22 digits."""
    emulator = start(customers=3)
    ids = [customer["id"] for customer in emulator.customers()]
    price = "120.5682999999995904716"
    emulator.add("orders", {"totalPrice": Decimal(price)}, ids[0])
    result = sync(emulator, catalog=catalog_of("orders"))
    assert f'"totalPrice":{price}' in result.stdout


@pytest.mark.parametrize("name", CHILDREN)
def test_a_refused_customer_is_left_out_and_named(name: str, start: Start, sync: Sync) -> None:
    """Only for that stream, which then deletes nothing; the others still have the customer."""
    emulator = start(customers=5)
    lost = [customer["id"] for customer in emulator.customers()][1]
    place: Any = PLACES.get(name, name)
    emulator.faults = [Fault(place=place, customer_id=lost, status=403, code=20002)]
    result = sync(
        emulator,
        catalog=catalog_of("customers", *CHILDREN),
        emit_activate_version_messages=True,
    )
    assert result.exit_code == 0, result.stderr
    (warning,) = result.levels("WARNING")
    assert warning.startswith(f"{name}: 1 customer skipped; their records are missing: {lost}")
    for child in CHILDREN:
        owner = "id" if child == "customer_details" else "customer_id"
        owners = {record[owner] for record in held(emulator, child)}
        assert {record[owner] for record in rows(result, child)} == (
            owners - {lost} if child == name else owners
        )
    versions = {m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"}
    assert versions == {"customers", *CHILDREN} - {name}


@pytest.mark.parametrize("code", [900308, 900309])
def test_customers_that_grant_no_rights_are_skipped(code: int, start: Start, sync: Sync) -> None:
    """The run continues without a role in the directories of the first twelve customers."""
    emulator = start(customers=14)
    ids = [customer["id"] for customer in emulator.customers()]
    emulator.faults = [
        Fault(place="subscribed_skus", customer_id=one, status=403, code=code) for one in ids[:12]
    ]
    result = sync(emulator, catalog=catalog_of("subscribed_skus"))
    assert result.exit_code == 0, result.stderr
    assert "GDAP" not in result.stdout
    assert "subscribed_skus: 12 customers skipped" in result.levels("WARNING")[0]


@pytest.mark.parametrize(
    "place", ["continuation", "subscriptions", "orders", "invoices_continuation"]
)
def test_an_interrupted_run_and_the_next_one_emit_everything(
    place: Any, start: Start, everything: Callable[..., Result]
) -> None:
    """Wherever the first run ended, the next one continues from its last STATE."""
    emulator = start(Fault(place=place, skip=1, status=501), customers=20)
    first = everything(emulator)
    assert first.exit_code == 1
    emulator.faults = ()
    state = last_state(complete_lines(first.stdout)) or {}
    config = {**emulator.tap_config(), "page_size": 7}
    second = run_tap(config=config, catalog=catalog_of(*STREAMS), state=state)
    assert second.exit_code == 0, second.stderr
    for name in FULL:
        assert len({*keys(first, name), *keys(second, name)}) == len(held(emulator, name))


@pytest.mark.slow
def test_shards_divide_all_streams(start: Start, everything: Callable[..., Result]) -> None:
    """Each record belongs to one shard."""
    emulator = start(customers=25, resellers=4)
    whole = everything(emulator)
    parts = [everything(emulator, shard_count=3, shard_index=index) for index in range(3)]
    for name in sorted({*STREAMS} - {"list_refreshes"}):
        divided = [key for part in parts for key in keys(part, name)]
        assert sorted(divided) == sorted(keys(whole, name)), name


def test_a_version_ends_each_full_table_and_no_other(
    start: Start, everything: Callable[..., Result]
) -> None:
    """Rows of a stream read by date are kept even if this run did not read them."""
    result = everything(start(customers=8), emit_activate_version_messages=True)
    versions = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert sorted(versions) == sorted(FULL)
    assert {type(m["version"]) for m in result.messages if "version" in m} == {int}
    assert not any("version" in m for m in result.messages if m.get("stream") == "audit_records")


def test_one_object_of_another_customer_ends_the_run(start: Start, sync: Sync) -> None:
    """Answers are matched to their customers by identity."""
    emulator = start(customers=2)
    other = json.dumps({"id": "00000000-0000-4000-8000-000000000000"}).encode()
    emulator.faults = [Fault(place="customer", body=other)]
    result = sync(emulator, catalog=catalog_of("customer_details"))
    assert result.exit_code == 1
    assert result.error == "customer_details: the service sent another customer. Try again later."


@pytest.mark.parametrize("name", ["customer_details", "subscriptions"])
def test_an_item_that_is_not_a_record_is_requested_again(
    name: str, start: Start, sync: Sync
) -> None:
    """One 200 of another shape."""
    place: Any = PLACES.get(name, name)
    emulator = start(Fault(place=place, times=1, body=b'{"value": []}'), customers=3)
    result = sync(emulator, catalog=catalog_of("customers", name))
    assert_exact(result, emulator, ["customers", name])
    assert "1 retry, " in result.log[-1]


@pytest.fixture
def provider() -> Iterator[Emulator]:
    with Emulator(Options(customers=4, resellers=1, audit_per_day=20)) as emulator:
        yield emulator


@pytest.mark.parametrize("values", [False, True])
def test_no_credential_of_an_audit_record_is_emitted(
    values: bool,  # noqa: FBT001 - a case
    provider: Emulator,
    sync: Sync,
) -> None:
    """Resource data are emitted only on request, and then without secrets."""
    secret = "Pa55-in-clear"  # noqa: S105 - it is none
    hidden = {"Deep": [{"UserCredentials": {"userName": "admin", "PASSWORD": secret}, "Kept": 1}]}
    plain = '{"Plain":["text","",5]}'
    entries: list[dict[str, Any]] = [
        {"resourceNewValue": plain},
        {"resourceNewValue": json.dumps(hidden)},
        {"resourceOldValue": f"no JSON, but {secret}"},
        {"resourceOldValue": "[" * 100_000},
        {"resourceNewValue": json.dumps({"Inner": json.dumps({"client_secret": secret})})},
        {"resourceNewValue": json.dumps({"Inner": json.dumps([{"password": secret}])})},
        {"resourceNewValue": json.dumps({"Inner": f"  {json.dumps({'password': secret})}"})},
        {"resourceNewValue": json.dumps({"Key": "password", "Value": secret})},
        {"resourceNewValue": json.dumps({"Name": "password", "Value": secret})},
        *(
            {"resourceNewValue": json.dumps({name: secret})}
            for name in (
                "access_token",
                "Refresh-Token",
                "product key",
                "License.Key",
                "activation_key",
                "softwareKey",
            )
        ),
        {"customizedData": {"key": "PasswordProfile", "value": secret}},
        {
            "customizedData": [
                {"key": "PasswordProfile", "value": secret},
                {"key": "a", "value": "b"},
                {"key": 5, "value": "password changed"},
            ]
        },
    ]
    for entry in entries:
        provider.add("audit_records", entry)
    catalog = catalog_of("audit_records")
    result = sync(provider, catalog=catalog, audit_resource_values=values)
    assert result.exit_code == 0, result.stderr
    records = rows(result, "audit_records")
    assert secret not in result.stdout + result.stderr
    assert any("resourceNewValue" in record for record in records) is values
    for kept_value in (plain, '{"Deep":[{"Kept":1}]}'):
        assert (kept_value in [r.get("resourceNewValue") for r in records]) is values
    kept = [{"key": "a", "value": "b"}, {"key": "5", "value": "password changed"}]
    assert kept in [r.get("customizedData") for r in records]


def test_a_record_without_an_id_has_the_same_one_in_each_run(
    provider: Emulator, sync: Sync
) -> None:
    """Whatever the settings, and whether the id is missing, null or empty."""
    for identity in (None, ""):
        provider.add("audit_records", {"id": identity, "operationType": "odd"})
    catalog = catalog_of("audit_records")
    first = sync(provider, catalog=catalog)
    second = sync(provider, catalog=catalog, audit_resource_values=True)
    assert first.exit_code == second.exit_code == 0
    assert keys(first, "audit_records") == keys(second, "audit_records")
    assert any(key[0].startswith("tap-") for key in keys(first, "audit_records"))
