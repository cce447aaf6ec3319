"""Several processes share the work: together everything, nothing twice, each its own part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partnercenter_emulator import Emulator, Fault, Options
from tap_partnercenter.shard import Shard
from tests.command_line import catalog_of, run_tap
from tests.truth import KEYS, held

if TYPE_CHECKING:
    from tests.conftest import Start, Sync

FOUR = range(4)
IDS = st.uuids().map(str) | st.text(min_size=1, max_size=40)


@given(identity=IDS, count=st.integers(1, 64))
def test_each_id_belongs_to_one_shard(identity: str, count: int) -> None:
    """However many shards there are, and whatever the case of the id."""
    takers = [index for index in range(count) if Shard(count, index).owns(identity)]
    assert len(takers) == 1
    if identity.isascii():
        assert Shard(count, takers[0]).owns(identity.upper())


def test_an_id_always_belongs_to_the_same_shard() -> None:
    """On any machine, in any release: its MD5 begins with 459c7999, which is 1,167,882,649."""
    customer = "00000000-0000-4000-8000-000000000001"
    assert [index for index in FOUR if Shard(4, index).owns(customer)] == [1]


@pytest.mark.slow
@settings(deadline=None)
@given(
    count=st.integers(1, 9),
    customers=st.integers(0, 30),
    resellers=st.integers(0, 5),
    page_size=st.integers(1, 12),
    chosen=st.booleans(),
)
def test_the_shards_together_read_everything_once(
    count: int,
    customers: int,
    resellers: int,
    page_size: int,
    chosen: bool,  # noqa: FBT001
) -> None:
    """Complete and disjoint in every stream, each in the order of an undivided run."""
    options = Options(customers=customers, resellers=resellers)
    with Emulator(options) as emulator:
        config: dict[str, Any] = {**emulator.tap_config(), "page_size": page_size}
        if chosen:
            config["reseller_ids"] = [reseller["id"] for reseller in emulator.resellers()]
        whole = run_tap(config=config)
        parts = [
            run_tap(config={**config, "shard_count": count, "shard_index": index})
            for index in range(count)
        ]
        everything = held(emulator)
    assert {part.exit_code for part in parts} == {0}
    for stream, names in KEYS.items():
        read = [part.keys(stream, *names) for part in parts]
        assert sorted(key for keys in read for key in keys) == sorted(everything[stream])
        order = {key: place for place, key in enumerate(whole.keys(stream, *names))}
        assert all(keys == sorted(keys, key=order.__getitem__) for keys in read)


def test_a_shard_asks_for_its_own_children_only(start: Start, sync: Sync) -> None:
    """All shards read the list, which is cheap; only one requests each customer's children."""
    emulator = start(customers=40, resellers=3)
    lists = 0
    for index in FOUR:
        before = emulator.stats().by_place
        result = sync(emulator, page_size=10, shard_count=4, shard_index=index)
        after = emulator.stats().by_place
        asked = after["relationships"]["200"] - before.get("relationships", {}).get("200", 0)
        assert asked == len(result.records("customers"))
        assert any(f"shard_index {index} of 4" in line for line in result.log)
        lists += len(result.records("customers"))
    assert lists == 40


def test_a_shard_reports_its_part_of_each_list(start: Start, sync: Sync) -> None:
    """But a reseller's customers as a whole: a warehouse hides other rows of what was read."""
    emulator = start(customers=20, resellers=4)
    reported = []
    for index in range(2):
        result = sync(emulator, shard_count=2, shard_index=index)
        reported += result.keys("list_refreshes", "id", "shard_count", "shard_index")
    resellers = [str(reseller["id"]) for reseller in emulator.resellers()]
    assert sorted(reported) == sorted(
        [
            *((f"customers {index} of 2", 2, index) for index in range(2)),
            *((f"indirect_resellers {index} of 2", 2, index) for index in range(2)),
            *((f"reseller_customers {reseller}", 1, 0) for reseller in resellers),
        ]
    )


def test_a_shard_without_resellers_reads_none(start: Start, sync: Sync) -> None:
    """Not the customers of all, as the API returns without a filter."""
    emulator = start(customers=10, resellers=1)
    parts = [sync(emulator, shard_count=2, shard_index=index) for index in range(2)]
    counts = sorted(len(part.records("reseller_customers")) for part in parts)
    assert counts == [0, len(held(emulator)["reseller_customers"])]
    (idle,) = [part for part in parts if not part.records("reseller_customers")]
    assert "reseller_customers: there are no indirect resellers to read" in idle.log


@pytest.mark.parametrize("before", [(), ("customers",)])
def test_a_shard_to_which_no_configured_reseller_belongs_reads_none(
    before: tuple[str, ...], start: Start, sync: Sync
) -> None:
    """It does not fall back to those in the service's list, which were not requested."""
    emulator = start(customers=40, resellers=4)
    first, *others = (str(reseller["id"]) for reseller in emulator.resellers())
    (idle,) = (index for index in range(2) if not Shard(2, index).owns(first))
    assert any(Shard(2, idle).owns(other) for other in others)
    catalog = catalog_of(*before, "reseller_customers")
    shard: dict[str, Any] = {"shard_count": 2, "shard_index": idle}
    result = sync(emulator, catalog=catalog, reseller_ids=[first], **shard)
    assert result.exit_code == 0, result.stderr
    assert result.records("reseller_customers") == []
    assert emulator.stats().by_place.keys() <= {"token", *before}


@pytest.mark.parametrize("other", [{"shard_index": 1}, {"shard_count": 3}, {"shard_count": 1}])
def test_a_shard_does_not_resume_where_another_stopped(
    other: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Mixing up states costs a full read, but no rows."""
    emulator = start(Fault(place="continuation", status=500, skip=1), customers=12, resellers=1)
    shard: dict[str, Any] = {"page_size": 3, "shard_count": 2, "max_retry_seconds": 0}
    interrupted = sync(emulator, **shard)
    assert interrupted.exit_code == 1
    emulator.faults = ()
    other_shard = sync(emulator, state=interrupted.state, **{**shard, **other})
    alone = sync(emulator, **{**shard, **other})
    assert other_shard.keys("customers", "id") == alone.keys("customers", "id")
    resumed = sync(emulator, state=interrupted.state, **shard)
    assert len(resumed.records("customers")) < len(sync(emulator, **shard).records("customers"))
