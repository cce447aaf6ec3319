"""Reading ahead: which request is sent when, and that a failure surfaces at its place."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tap_partnercenter.lookahead import LookAhead, Pool
from tests.command_line import catalog_of
from tests.truth import KEYS, assert_all_records, held

if TYPE_CHECKING:
    from collections.abc import Callable

    from partnercenter_emulator import Emulator
    from tests.conftest import Start, Sync


def places(emulator: Emulator) -> list[str]:
    """The kinds of requests, in the order in which they were answered."""
    return [request.place for request in emulator.requests]


def test_a_long_partition_is_not_read_alone_at_the_end(start: Start, sync: Sync) -> None:
    """Its next page is requested before the first pages of the short partitions after it."""
    emulator = start(customers=60, resellers=12, latency=0.05)
    sizes = Counter(reseller_id for reseller_id, _ in held(emulator)["reseller_customers"])
    (longest, _), (_, page_size), *_ = sizes.most_common()
    others = [reseller_id for reseller_id in sizes if reseller_id != longest]
    assert sizes[longest] > page_size
    result = sync(
        emulator,
        reseller_ids=[longest, *others],
        page_size=page_size,
        max_concurrent_requests=2,
    )
    assert result.exit_code == 0
    asked = [place for place in places(emulator) if place.startswith("partition")]
    assert asked.count("partition_continuation") >= 1
    assert asked[-1] == "partition"


def test_the_next_stream_starts_while_the_last_child_is_read(start: Start, sync: Sync) -> None:
    """Its records are still emitted in their turn."""
    emulator = start(customers=6, resellers=2)
    last = str([*emulator.customers()][-1]["id"])
    emulator.faults = (Fault(place="relationships", customer_id=last, hang=0.5),)
    result = sync(emulator)
    assert result.exit_code == 0
    asked = places(emulator)
    assert asked.index("resellers") < len(asked) - 1 - asked[::-1].index("relationships")
    streams = [m["stream"] for m in result.messages if m["type"] == "RECORD"]
    assert streams.index("indirect_resellers") > max(
        place for place, stream in enumerate(streams) if stream == "customer_relationships"
    )


def test_a_deselected_stream_is_not_read_ahead(start: Start, sync: Sync) -> None:
    """Not even while the last child of the stream before it is read."""
    emulator = start(customers=6, resellers=2)
    last = str([*emulator.customers()][-1]["id"])
    emulator.faults = (Fault(place="relationships", customer_id=last, hang=0.3),)
    result = sync(emulator, catalog=catalog_of("customers", "customer_relationships"))
    assert result.exit_code == 0
    assert {*places(emulator)} == {"token", "customers", "relationships"}


@pytest.mark.parametrize("last", ["indirect_resellers", "reseller_customers"])
def test_what_was_read_ahead_fails_in_its_turn(last: str, start: Start, sync: Sync) -> None:
    """The stream before it is complete, also where its own list of partitions fails."""
    emulator = start(Fault(place="resellers", status=403), customers=8, resellers=1)
    catalog = catalog_of("customers", "customer_relationships", last)
    result = sync(emulator, page_size=3, catalog=catalog)
    assert result.exit_code == 1
    assert result.error.startswith("indirect_resellers: ")
    for stream in ("customers", "customer_relationships"):
        assert sorted(result.keys(stream, *KEYS[stream])) == sorted(held(emulator)[stream])
    assert "resume" not in result.state["bookmarks"]["customers"]


def test_a_failure_does_not_affect_the_stream_in_progress(start: Start, sync: Sync) -> None:
    """The position of an earlier run in it is kept, and two more runs complete everything."""
    emulator = start(customers=8, resellers=1)
    settings: dict[str, Any] = {
        "page_size": 3,
        "reseller_ids": [str(r["id"]) for r in emulator.resellers()],
    }
    emulator.faults = (Fault(place="partition_continuation", skip=1, status=501),)
    first = sync(emulator, **settings)
    resume = first.state["bookmarks"]["reseller_customers"]["resume"]
    last = str([*emulator.customers()][-1]["id"])
    emulator.faults = (Fault(place="relationships", customer_id=last, status=409, hang=0.2),)
    second = sync(emulator, state=first.state, **settings)
    assert (first.exit_code, second.exit_code) == (1, 1)
    assert second.error.startswith("customer_relationships: ")
    assert second.state["bookmarks"]["reseller_customers"]["resume"] == resume
    assert "resume" in second.state["bookmarks"]["customers"]
    emulator.faults = ()
    third = sync(emulator, state=second.state, **settings)
    assert third.exit_code == 0
    runs = (first, second, third)
    assert_all_records([line for run in runs for line in run.stdout.splitlines()], emulator)


def test_one_request_at_once_keeps_the_plain_order(start: Start, sync: Sync) -> None:
    """No stream is read ahead."""
    emulator = start(customers=6, resellers=2)
    resellers = [str(reseller["id"]) for reseller in emulator.resellers()]
    result = sync(emulator, reseller_ids=resellers, max_concurrent_requests=1)
    assert result.exit_code == 0
    expected = ["token", "customers", *["relationships"] * 6, "resellers", *["partition"] * 2]
    assert places(emulator) == expected


def test_a_connection_test_reads_nothing_ahead(start: Start, sync: Sync) -> None:
    """One request for each stream."""
    emulator = start(customers=6, resellers=2)
    resellers = [str(reseller["id"]) for reseller in emulator.resellers()]
    result = sync(emulator, "--test", reseller_ids=resellers)
    assert result.exit_code == 0
    expected = ["token", "customers", "relationships", "resellers", "partition"]
    assert places(emulator) == expected


@dataclass
class Pieces:
    """A source whose pieces are its number."""

    number: int
    left: int
    before_read: Callable[[int], None]

    @property
    def finished(self) -> bool:
        return not self.left

    def read(self) -> int:
        self.before_read(self.number)
        self.left -= 1
        return self.number


def test_a_source_that_is_waited_for_continues_when_the_buffer_is_overfull() -> None:
    """Two threads took the last place: waiting for the later sources would never end."""
    checked, filled, overfull = (threading.Event() for _ in range(3))
    read: Counter[int] = Counter()

    def before_read(source: int) -> None:
        if source == 0:
            assert overfull.wait(10)
        read[source] += 1
        if read[1] == 2:
            overfull.set()

    class Interrupted(Pool):
        """Other threads run between the second source's check for room and its use."""

        def has_earlier(self, place: int) -> bool:
            if place == 1 and not checked.is_set():
                checked.set()
                assert filled.wait(10)
            return super().has_earlier(place)

    counts = [3, 9, 9, 2]
    sources = [Pieces(number, count, before_read) for number, count in enumerate(counts)]
    idle = itertools.count()

    def following() -> Pieces | None:
        ready = len(sources) > 2 or checked.is_set()
        return sources.pop(0) if sources and ready else None

    def on_idle() -> None:
        assert next(idle) < 50, "nothing comes any more"
        ahead.begin()
        if read[2] == 4:
            filled.set()

    pool = Interrupted(3)
    ahead = LookAhead(pool, following, capacity=3, on_idle=on_idle)
    try:
        taken = [list(ahead.take()) for _ in counts]
    finally:
        pool.close()
    assert taken == [[number] * count for number, count in enumerate(counts)]
