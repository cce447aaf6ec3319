"""A stream defined outside the package: a schema and a declaration are all it needs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tap_partnercenter.children import ChildStream
from tap_partnercenter.full_table import FullTable
from tap_partnercenter.streams import Customers
from tap_partnercenter.tap import TapPartnerCenter
from tests.command_line import catalog_of, run_tap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from partnercenter_emulator import Emulator
    from tap_partnercenter.stream import PartnerCenterStream
    from tests.conftest import Start

SCHEMA = {
    "type": "object",
    "properties": {
        "customer_id": {"type": "string"},
        "id": {"type": "string"},
        "name": {"type": ["string", "null"]},
    },
}


class Partners(ChildStream):
    """A second child of customers, with the same requests as the first."""

    name = "partners"
    path = "/customers/{customer_id}/relationships"
    primary_keys = ("customer_id", "id")
    parent_stream_type = Customers
    schema = SCHEMA


TENANT = {"tenant": ("companyProfile", "tenantId")}
TENANTS = {"type": "object", "properties": {"tenant": {"type": "string"}}}


class Tenants(FullTable):
    """A list whose key is not `id`."""

    name = "tenants"
    path = "/customers"
    primary_keys = ("tenant",)
    copies = TENANT
    schema = TENANTS


class LargerTap(TapPartnerCenter):
    """The tap with two more streams."""

    def discover_streams(self) -> Sequence[PartnerCenterStream]:
        return [*super().discover_streams(), Partners(self), Tenants(self)]


def sync(emulator: Emulator, *wanted: str, **more: Any) -> Any:
    config = {**emulator.tap_config(), "page_size": 4, **more.pop("settings", {})}
    catalog = catalog_of(*wanted, tap=LargerTap)
    return run_tap(config=config, catalog=catalog, tap=LargerTap, **more)


def test_the_declaration_is_short() -> None:
    """It contains only what is specific to the stream."""
    assert len(inspect.getsource(Partners).splitlines()) <= 15


@pytest.mark.parametrize("requests_at_once", [1, 8, 32])
def test_children_come_after_their_page_one_stream_after_the_other(
    start: Start, requests_at_once: int
) -> None:
    """Page, child stream, customer: the same order at any concurrency."""
    emulator = start(customers=10, resellers=3, latency=0.005)
    result = sync(
        emulator,
        "customers",
        "customer_relationships",
        "partners",
        settings={"max_concurrent_requests": requests_at_once},
    )
    assert result.exit_code == 0, result.stderr
    ids = [customer["id"] for customer in emulator.customers()]
    expected = []
    for first in range(0, 10, 4):
        page = ids[first : first + 4]
        expected += [("customers", one) for one in page]
        for child in ("customer_relationships", "partners"):
            related = [
                r["customer_id"] for r in emulator.relationships() if r["customer_id"] in page
            ]
            expected += [(child, one) for one in sorted(related, key=page.index)]
    emitted = [
        (m["stream"], m["record"].get("customer_id", m["record"]["id"]))
        for m in result.messages
        if m["type"] == "RECORD"
    ]
    assert emitted == expected
    assert set(result.keys("partners", "customer_id", "id")) == {
        (r["customer_id"], r["id"]) for r in emulator.relationships()
    }


def test_refusals_are_counted_for_each_stream(start: Start) -> None:
    """Two customers refused in each child, interrupted and resumed: two for each, not four."""
    emulator = start(customers=12, resellers=3)
    ids = [customer["id"] for customer in emulator.customers()]
    refused = [
        Fault(place="relationships", customer_id=one, status=403, code=20002) for one in ids[1:3]
    ]
    emulator.faults = [*refused, Fault(place="continuation", skip=1, status=501)]
    streams = ("customers", "customer_relationships", "partners")
    settings = {"max_skipped_customers": 2}
    first = sync(emulator, *streams, settings=settings)
    assert first.exit_code == 1
    skipped = first.state["bookmarks"]["customers"]["resume"]["skipped"]
    assert skipped == {"customer_relationships": 2, "partners": 2}
    emulator.faults = refused
    again = sync(emulator, *streams, settings=settings, state=first.state)
    assert again.exit_code == 0, again.stderr
    for child in ("customer_relationships", "partners"):
        line = f"{child}: the interrupted run skipped 2 customers, whose rows are missing too"
        assert line in again.levels("WARNING")


def test_a_state_from_before_the_second_child_stream_is_read(start: Start) -> None:
    """It had a single count."""
    emulator = start(Fault(place="continuation", skip=1, status=501), customers=12, resellers=3)
    state = sync(emulator, "customers", "customer_relationships").state
    state["bookmarks"]["customers"]["resume"]["skipped"] = 3
    emulator.faults = ()
    result = sync(emulator, "customers", "customer_relationships", state=state)
    assert result.exit_code == 0, result.stderr
    (line,) = (line for line in result.levels("WARNING") if "interrupted run skipped" in line)
    assert line.startswith("customer_relationships: the interrupted run skipped 3 customers")


def test_a_deselected_child_costs_no_request(start: Start) -> None:
    """With one of two children selected: one request for each customer."""
    emulator = start(customers=10, resellers=3)
    sync(emulator, "customers", "partners")
    assert sum(emulator.stats().by_place["relationships"].values()) == 10


def test_a_list_may_have_another_key(start: Start) -> None:
    """Only the parent of other streams needs an `id`."""
    emulator = start(customers=10)
    result = sync(emulator, "tenants")
    assert result.exit_code == 0, result.stderr
    expected = [(c["companyProfile"]["tenantId"],) for c in emulator.customers()]
    assert result.keys("tenants", "tenant") == expected


def test_a_full_table_refuses_a_replication_key() -> None:
    """Its version would delete all rows that had not changed."""
    with pytest.raises(TypeError, match="make it a ChangeStream"):
        type("Recent", (FullTable,), {"name": "recent", "replication_key": "changed"})


def test_a_child_has_no_children() -> None:
    """A request for each record of a child would mean millions of requests."""
    with pytest.raises(TypeError, match="child of a child"):
        type("Lines", (ChildStream,), {"name": "lines", "parent_stream_type": Partners})
