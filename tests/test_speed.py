"""The tap's speed has no side effects: same bytes, bounded requests, bounded memory."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel

from partnercenter_emulator import Emulator, Fault, Fixture
from tap_partnercenter.partitions import PerReseller
from tap_partnercenter.records import Shape
from tap_partnercenter.sdk import PlainStream
from tests.command_line import catalog_of, run_tap

if TYPE_CHECKING:
    from tap_partnercenter.report import FieldIssue
    from tests.command_line import Result
    from tests.conftest import Start, Sync

#: Faults that hit the same requests in whatever order they are sent.
PASSING = [
    Fault(place="relationships", share=0.2, every=1, times=5, status=503),
    Fault(place="partition", times=3, status=500, code=900192),
    Fault(place="continuation", times=1, truncate=True),
    Fault(place="customers", times=1, expire_token=True),
]


def without_times(result: Result) -> str:
    """All of stdout except the times of records and the tokens of the run."""
    text = re.sub(r'"time_extracted":"[^"]+"', "", result.stdout)
    text = re.sub(r'"refreshed_at":"[^"]+"', "", text)
    text = re.sub(r'"version":\d+', "", text)
    return re.sub(r'"MS-ContinuationToken","[^"]+"', "", text)


@pytest.mark.parametrize("faults", [[], PASSING], ids=["clean", "faults"])
def test_the_same_bytes_at_any_concurrency(faults: list[Fault], start: Start, sync: Sync) -> None:
    """With 1 or 32 concurrent requests, the target sees the same output."""
    outputs = set()
    for requests_at_once in (1, 8, 32):
        emulator = start(*faults, customers=90, resellers=5)
        result = sync(emulator, page_size=20, max_concurrent_requests=requests_at_once)
        assert result.exit_code == 0
        outputs.add(without_times(result))
        assert emulator.stats().most_in_flight <= requests_at_once
    assert len(outputs) == 1


def test_requests_run_concurrently_up_to_the_limit(start: Start, sync: Sync) -> None:
    """As many as the setting allows, counted by the server."""
    emulator = start(customers=60, latency=0.02)
    sync(emulator, page_size=20, max_concurrent_requests=7)
    assert emulator.stats().most_in_flight == 7


def test_a_slow_partition_does_not_let_the_others_accumulate(start: Start, sync: Sync) -> None:
    """What is read ahead of a partition is bounded, however large the later ones are."""
    emulator = start(customers=400, resellers=3, page_limit=2)
    first, *_ = emulator.resellers()
    slow = Fault(place="partition", reseller_id=first["id"], hang=1.0)
    emulator.faults = [slow]
    result = sync(emulator, catalog=catalog_of("reseller_customers"))
    assert result.exit_code == 0
    requests = emulator.requests
    (arrived,) = (r.at for r in requests if r.place == "partition" and first["id"] in r.path)
    # With pages of 500 there is room for 20, twice that for partitions already started.
    meanwhile = [r for r in requests if "customers" in r.path and r.at < arrived + 0.9]
    assert 20 <= len(meanwhile) <= 41


@pytest.mark.parametrize("customers", [100, 400])
def test_messages_and_lines_are_bounded_by_pages(customers: int, start: Start, sync: Sync) -> None:
    """With four times the customers, no more log lines, SCHEMAs or bytes of STATE."""
    result = sync(start(customers=customers), page_size=50)
    states = [line for line in result.stdout.splitlines() if '"type":"STATE"' in line]
    assert result.counts["SCHEMA"] == 6
    assert max(map(len, states)) < 1200
    assert len(result.stderr.splitlines()) <= 21


@pytest.mark.parametrize("resellers", [20, 200])
def test_a_page_costs_the_same_with_ten_times_the_resellers(
    resellers: int, start: Start, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page does not search for its partition among all others."""
    compared = 0

    class Counting(dict[str, str]):
        """A partition that counts how often it is compared."""

        __hash__ = None

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return super().__eq__(other)

    named = vars(PerReseller)["partitions"].fget
    partitions = property(lambda stream: [Counting(context) for context in named(stream)])
    monkeypatch.setattr(PerReseller, "partitions", partitions)
    catalog = catalog_of("reseller_customers")
    result = sync(start(customers=20, resellers=resellers), catalog=catalog)
    assert result.exit_code == 0
    assert 0 < compared < 10 * resellers


# The stock path: what the SDK would write without the tap's own shortcuts.

FIELDS = ["id", "relationshipToPartner", "companyProfile", "tags", "allowDelegatedAccess", "new"]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.decimals(-9, 9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
profiles = st.dictionaries(
    st.sampled_from(["tenantId", "companyName", "address", "attributes", "new"]),
    values,
    max_size=4,
)
records = st.fixed_dictionaries(
    {"id": st.uuids().map(str)},
    optional={
        "relationshipToPartner": st.none() | st.text(max_size=5),
        "companyProfile": st.none() | profiles,
        "tags": st.none() | st.lists(st.text(max_size=3), max_size=2),
        "allowDelegatedAccess": st.none() | st.booleans() | st.integers(0, 1),
        "new": values,
    },
)
switches = st.sampled_from(
    [
        {},
        {"flattening_enabled": True, "flattening_max_depth": 1},
        {"flattening_enabled": True, "flattening_max_depth": 2},
        {"stream_maps": {"customers": {"tags": None, "short": "id[:4]"}}},
        {"stream_maps": {"customers": {"__filter__": "id[0] in '01234567'", "id": "id"}}},
        {"stream_maps": {"customers": {"__alias__": "clients"}}},
        {"emit_activate_version_messages": True},
    ],
)


def schema_of_customers() -> dict[str, Any]:
    (entry,) = (s for s in catalog_of("customers")["streams"] if s["stream"] == "customers")
    schema: dict[str, Any] = entry["schema"]
    return schema


CATALOG = catalog_of("customers")
SCHEMA = schema_of_customers()


def deselecting(catalog: dict[str, Any], field: str | None) -> dict[str, Any]:
    """The catalog without one field of the customers."""
    catalog = json.loads(json.dumps(catalog))
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if field and entry["breadcrumb"][-1:] == [field]:
                entry["metadata"]["selected"] = False
    return catalog


@pytest.mark.slow
@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    listed=st.lists(records, max_size=4, unique_by=lambda record: str(record["id"])),
    switched=switches,
    deselected=st.sampled_from([None, "companyProfile", "companyName", "tags"]),
)
def test_the_output_is_that_of_the_stock_path(
    listed: list[dict[str, Any]],
    switched: dict[str, Any],
    deselected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is enabled: fields, maps, flattening, versions."""
    page = json.loads(json.dumps({"items": listed, "totalCount": 0}, default=float))
    emulator = Emulator(fixture=Fixture(), faults=[Fault(place="customers", json=page)])
    catalog = deselecting(CATALOG, deselected)
    with emulator, monkeypatch.context() as stock:
        config = {**emulator.tap_config(), **switched}
        ours = run_tap(config=config, catalog=catalog)
        stock.setattr(PlainStream, "_write_record_message", Stream._write_record_message)  # noqa: SLF001
        stock.setattr(PlainStream, "TYPE_CONFORMANCE_LEVEL", TypeConformanceLevel.RECURSIVE)
        theirs = run_tap(config=config, catalog=catalog)
    assert ours.exit_code == theirs.exit_code == 0
    assert without_times(ours) == without_times(theirs).replace("+00:00", "Z")


def test_a_catalog_may_open_a_schema() -> None:
    """A field that only the given catalog allows is kept, except for secrets."""
    shape = Shape({"properties": {"id": {"type": "string"}}, "additionalProperties": True})
    odd: list[tuple[FieldIssue, str]] = []
    record = {"id": "1", "more": {"a": 1}, "UserCredentials": {"password": "hush"}}
    assert shape.fit(record, lambda *field: odd.append(field)) == {"id": "1", "more": {"a": 1}}
    assert odd == []
