"""The SDK's standard tap tests, for every stream, against records with every field."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import get_tap_test_class

from partnercenter_emulator import Emulator, Fixture
from tap_partnercenter.tap import TapPartnerCenter

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMAS = Path(__file__).parent.parent / "schemas"
VALUES = {"string": "text", "boolean": True, "integer": 3, "number": 1.5}


def whole(schema: dict[str, Any]) -> Any:
    """A value with everything that the schema declares."""
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    if kind == "object":
        return {name: whole(field) for name, field in schema.get("properties", {}).items()}
    if kind == "array":
        return [whole(schema["items"])]
    return VALUES[kind]


def record(stream: str, identifier: str) -> dict[str, Any]:
    schema = json.loads((SCHEMAS / f"{stream}.json").read_text(encoding="utf-8"))
    return {**whole(schema), "id": identifier}


CUSTOMER = "0f3a9c10-1111-4222-8333-444455556666"
RESELLER = "9b1de2aa-7777-4888-9999-aaaabbbbcccc"

NOW = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")

SKU = record("subscribed_skus", "one")
# The service lists the groups requested by the tap.
SKU["productSku"]["licenseGroupId"] = "group2"

# The SDK creates a tap while tests are collected, before any fixture runs.
_emulator = Emulator(
    fixture=Fixture(
        customers=[record("customers", CUSTOMER)],
        resellers=[record("indirect_resellers", RESELLER)],
        memberships=[(CUSTOMER, RESELLER)],
        relationships={CUSTOMER: [record("customer_relationships", RESELLER)]},
        subscriptions={CUSTOMER: [record("subscriptions", "one")]},
        orders={CUSTOMER: [record("orders", "one")]},
        agreements={CUSTOMER: [record("agreements", "one")]},
        subscribed_skus={CUSTOMER: [SKU]},
        invoices=[record("invoices", "one")],
        audit_records=[{**record("audit_records", "one"), "operationDate": NOW}],
    ),
)
_emulator.start()


@pytest.fixture(scope="module", autouse=True)
def _stop() -> Iterator[None]:
    yield
    _emulator.stop()


TestTapPartnerCenter = get_tap_test_class(
    TapPartnerCenter, config={**_emulator.tap_config(), "audit_resource_values": True}
)
