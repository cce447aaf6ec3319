"""Records that no server should send: unknown fields, credentials, odd values."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of
from tests.failures import assert_refused
from tests.responses import customer, page

if TYPE_CHECKING:
    from tests.conftest import Start, Sync

SECRET = "Initial-Passw0rd"  # noqa: S105 - planted


def test_an_integer_for_an_enumeration_becomes_text(start: Start, sync: Sync) -> None:
    """The vendor's own specification has numbers where the service sends names."""
    emulator = start(
        Fault(place="customers", add_fields={"relationshipToPartner": 1}),
        Fault(place="relationships", add_fields={"relationshipType": 2}),
        customers=3,
    )
    result = sync(emulator)
    assert result.exit_code == 0
    assert {r["relationshipToPartner"] for r in result.records("customers")} == {"1"}
    assert {r["relationshipType"] for r in result.records("customer_relationships")} == {"2"}


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (10**30, f"{10**30}"),
        (1.5, "1.5"),
        (True, "true"),
        ([1, "ä"], '[1,"ä"]'),
        ({"b": None, "a": {"userCredentials": "hush"}}, '{"a":{},"b":null}'),
        (None, None),
    ],
)
def test_a_text_field_holds_text_whatever_is_sent(
    sent: object, text: str | None, start: Start, sync: Sync
) -> None:
    """A target may refuse anything else, and with it the whole load."""
    emulator = start(Fault(place="customers", add_fields={"relationshipToPartner": sent}))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert {r["relationshipToPartner"] for r in result.records("customers")} == {text}


@pytest.mark.parametrize("separator", ["__", "_of_"])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"customers": {"short": "id[:4]"}}}])
def test_a_flattened_record_has_no_column_that_the_schema_lacks(
    maps: dict[str, Any], depth: int, separator: str, start: Start, sync: Sync
) -> None:
    """A null object is null in each of its columns, like one whose fields are null."""
    fields = {"companyProfile": None, "billingProfile": {"id": "b", "defaultAddress": None}}
    emulator = start(Fault(place="customers", add_fields=fields), customers=1)
    result = sync(
        emulator,
        catalog=catalog_of("customers"),
        flattening_enabled=True,
        flattening_max_depth=depth,
        flattening_separator=separator,
        **maps,
    )
    assert result.exit_code == 0, result.stderr
    (schema,) = (m["schema"]["properties"] for m in result.messages if m["type"] == "SCHEMA")
    (record,) = result.records("customers")
    assert record.keys() <= schema.keys()
    assert record[f"billingProfile{separator}id"] == "b"
    for name in ("companyProfile", f"billingProfile{separator}defaultAddress"):
        columns = [column for column in schema if column.startswith(name)]
        assert columns
        assert {record[column] for column in columns} == {None}


@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"customers": {"short": "id[:4]"}}}])
def test_a_null_object_does_not_clear_a_column_with_a_similar_name(
    maps: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Only its own fields become null, and not every column that starts with its name."""
    catalog = catalog_of("customers")
    (stream,) = (s for s in catalog["streams"] if s["tap_stream_id"] == "customers")
    stream["schema"]["properties"] |= {
        "extraText": {"type": ["string", "null"]},
        "extra": {"type": ["object", "null"], "properties": {"a": {"type": ["string", "null"]}}},
    }
    fields = {"extraText": "kept", "extra": None}
    emulator = start(Fault(place="customers", add_fields=fields), customers=1)
    settings = {"flattening_enabled": True, "flattening_max_depth": 1, **maps}
    result = sync(emulator, catalog=catalog, **settings)
    assert result.exit_code == 0, result.stderr
    (record,) = result.records("customers")
    assert (record["extraText"], record["extra__a"]) == ("kept", None)


@pytest.mark.parametrize(
    ("sent", "emitted"),
    [
        ((False, 0, 0.0, "false", "False", "FALSE", " false ", "0"), False),
        ((True, 1, 1.0, "true", "True", " TRUE", "1"), True),
        (("no", "", "falsch", 2, -1, 0.5, [], [True], {"a": True}), None),
        ((None,), None),
    ],
)
def test_texts_for_false_never_become_true(
    sent: tuple[object, ...], emitted: object, start: Start, sync: Sync
) -> None:
    """A boolean may be written as text or number; any other value becomes null and is reported."""
    records = [customer(f"c{n}", allowDelegatedAccess=value) for n, value in enumerate(sent)]
    emulator = start(Fault(place="customers", json=page(*records)))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    values = [record["allowDelegatedAccess"] for record in result.records("customers")]
    assert len(values) == len(sent)
    assert all(value is emitted for value in values)
    reported = (
        "The service sent values that are neither true nor false; they became null: "
        f"customers.allowDelegatedAccess ({len(sent)})"
    )
    odd = emitted is None and sent != (None,)
    assert result.levels("WARNING") == [reported] * odd


@pytest.mark.parametrize(
    ("field", "sent", "emitted"),
    [
        ("totalPrice", ("12.50", " 12.50 ", "+12.50"), Decimal("12.50")),
        ("totalPrice", ("-1e3", -1000, -1000.0), -1000),
        ("totalPrice", ("1234567890123.0123456789",), Decimal("1234567890123.0123456789")),
        ("totalPrice", ("", "12,50", "NaN", "1_000", "٣", True, [], [1], {"a": 1}), None),
        ("quantity", ("12", 12, 12.0, "12.0"), 12),
        ("quantity", ("12.5", 12.5, "twelve", False), None),
        ("quantity", (None,), None),
    ],
)
def test_numbers_sent_as_text_become_numbers(
    field: str, sent: tuple[object, ...], emitted: object, start: Start, sync: Sync
) -> None:
    """Otherwise, the target rejects the record. What is no number becomes null and is reported."""
    orders: list[dict[str, object]] = [
        {"id": f"o{n}", "totalPrice": value}
        if field == "totalPrice"
        else {"id": f"o{n}", "lineItems": [{"quantity": value}]}
        for n, value in enumerate(sent)
    ]
    emulator = start(Fault(place="orders", json=page(*orders)), customers=1)
    result = sync(emulator, catalog=catalog_of("orders"))
    assert result.exit_code == 0
    messages = [json.loads(line, parse_float=Decimal) for line in result.stdout.splitlines()]
    records = [m["record"] for m in messages if m["type"] == "RECORD"]
    values = [r[field] if field in r else r["lineItems"][0][field] for r in records]
    assert values == [emitted] * len(sent)
    assert not any(isinstance(value, bool | str) for value in values)
    odd = emitted is None and sent != (None,)
    path = {"totalPrice": "orders.totalPrice", "quantity": "orders.lineItems.quantity"}[field]
    reported = "The service sent values that are not numbers, or not whole ones; they became null: "
    assert result.levels("WARNING") == [f"{reported}{path} ({len(sent)})"] * odd


def test_unknown_fields_are_counted_and_named_once(start: Start, sync: Sync) -> None:
    """A field missing from the schema is dropped; the summary says so, but hides odd names."""
    fields = {"loyaltyTier": "gold", "x" * 70: 1, "with blank": 2, "ünïcode": 3, "a\nb": 4}
    emulator = start(Fault(place="customers", add_fields=fields), customers=5)
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert all(not fields.keys() & record.keys() for record in result.records("customers"))
    (line,) = result.levels("WARNING")
    assert "customers.loyaltyTier (5)" in line
    assert "customers.(invalid name) (20)" in line
    assert "gold" not in result.stderr


def test_a_flood_of_unknown_fields_stays_one_short_line(start: Start, sync: Sync) -> None:
    """A thousand new names do not make the line longer."""
    fields = {f"field{number}": number for number in range(1000)}
    emulator = start(Fault(place="customers", add_fields=fields), customers=3)
    result = sync(emulator, catalog=catalog_of("customers"))
    (line,) = result.levels("WARNING")
    assert "others (2970)" in line
    assert len(line) < 500


CREDENTIALS = {"userName": "admin", "password": SECRET}


@pytest.mark.parametrize(
    "fields",
    [
        {"userCredentials": CREDENTIALS},
        {"UserCredentials": CREDENTIALS},
        {"USERCREDENTIALS": SECRET},
        {"companyProfile": {"userCredentials": CREDENTIALS}},
        {"companyProfile": {"address": {"usercredentials": CREDENTIALS}}},
        {"companyProfile": [{"userCredentials": CREDENTIALS}]},
        {"billingProfile": {"defaultAddress": {"UserCredentials": [CREDENTIALS]}}},
        {"customDomains": [{"userCredentials": CREDENTIALS}]},
        {"customDomains": [[{"deep": {"userCredentials": CREDENTIALS}}]]},
        {"tags": {"userCredentials": CREDENTIALS}},
        {"commerceId": {"a": {"UserCredentials": CREDENTIALS}}},
        {"allowDelegatedAccess": {"userCredentials": CREDENTIALS}},
        {"attributes": {"etag": {"userCredentials": CREDENTIALS}}},
        {"links": {"self": {"userCredentials": CREDENTIALS}}},
        {"somethingNew": {"userCredentials": CREDENTIALS}},
    ],
)
def test_user_credentials_are_never_emitted(
    fields: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Creating a user returns a password in clear text; if a list ever does, it is removed."""
    emulator = start(Fault(place="customers", add_fields=fields), customers=3)
    result = sync(emulator, catalog=catalog_of("customers"))
    assert SECRET not in result.stdout + result.stderr
    assert "usercredentials" not in (result.stdout + result.stderr).lower()
    assert result.exit_code == 0
    assert len(result.records("customers")) == 3


def test_a_catalog_cannot_expose_credentials(start: Start, sync: Sync) -> None:
    """Even fields that an operator's catalog declares without restrictions contain none."""
    catalog = catalog_of("customers")
    (stream,) = (s for s in catalog["streams"] if s["tap_stream_id"] == "customers")
    stream["schema"]["properties"] |= {
        "userCredentials": {"type": ["object", "null"]},
        "extra": {"type": ["object", "null"]},
        "list": {"type": ["array", "null"], "items": {"type": ["object", "null"]}},
    }
    inside = {"kept": 1, "userCredentials": CREDENTIALS}
    fields = {"userCredentials": CREDENTIALS, "extra": inside, "list": [inside]}
    emulator = start(Fault(place="customers", add_fields=fields), customers=2)
    result = sync(emulator, catalog=catalog)
    assert result.exit_code == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    assert [record["extra"] for record in result.records("customers")] == [{"kept": 1}] * 2
    assert [record["list"] for record in result.records("customers")] == [[{"kept": 1}]] * 2


def test_credentials_in_an_open_object_are_removed(start: Start, sync: Sync) -> None:
    """Orders have an object whose fields are not known in advance."""
    context = {"kept": {"deep": "1", "userCredentials": CREDENTIALS}}
    fields = {"lineItems": [{"provisioningContext": context}]}
    fault = Fault(place="orders", add_fields=fields)
    result = sync(start(fault, customers=2), catalog=catalog_of("orders"))
    assert result.exit_code == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    lines = [line for record in result.records("orders") for line in record["lineItems"]]
    assert [line["provisioningContext"] for line in lines] == [{"kept": {"deep": "1"}}] * 2


def test_one_object_instead_of_a_list_is_a_list_of_one(start: Start, sync: Sync) -> None:
    """Sources disagree about some fields, and a target refuses what does not match the schema."""
    fault = Fault(place="orders", add_fields={"lineItems": {"offerId": "one"}})
    result = sync(start(fault, customers=2), catalog=catalog_of("orders"))
    assert result.exit_code == 0, result.stderr
    assert result.records("orders")
    for record in result.records("orders"):
        (line,) = record["lineItems"]
        assert line["offerId"] == "one"


@pytest.mark.parametrize("depth", [900, 1500, 5000])
def test_a_deeply_nested_record_is_emitted_or_ends_the_run(
    depth: int, start: Start, sync: Sync
) -> None:
    """How deep is too deep depends on the version of Python: for decoding, and for the rest."""
    nested = b"[" * depth + b"]" * depth
    body = b'{"items": [{"id": "a", "consumptionType": %b}]}' % nested
    fault = Fault(place="subscriptions", body=body)
    catalog = catalog_of("subscriptions")
    result = sync(start(fault, customers=1), catalog=catalog, max_retry_seconds=0)
    if result.exit_code == 0:
        assert [row["consumptionType"] for row in result.records("subscriptions")] == [
            nested.decode()
        ]
    else:
        assert_refused(result, "", "subscriptions")
