"""Empty responses: valid for one customer, an error instead of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault, Fixture
from tests.command_line import catalog_of
from tests.failures import API, assert_refused, sampled
from tests.responses import RESELLER, customer, linked, page
from tests.truth import held

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Start, Sync

#: Forms of "no relationships" in the first answer for a customer.
NOTHING: dict[str, dict[str, Any]] = {
    "null": {"body": b"null"},
    "null after a byte order mark": {"body": b"\xef\xbb\xbfnull"},
    "null in blanks": {"body": b" null\r\n"},
    "an object": {"body": b"{}"},
    "an object after a byte order mark": {"body": b"\xef\xbb\xbf{ }"},
    "no body": {"empty_body": True},
    "a mark alone": {"body": b"\xef\xbb\xbf"},
    "204": {"status": 204},
}

#: Whatever else an empty list may contain.
WITHOUT_ITEMS = {
    "attributes": {"objectType": "Collection"},
    "links": {"self": {"uri": "/customers", "method": "GET", "headers": []}},
    "continuationToken": None,
}


@pytest.mark.parametrize("answer", NOTHING)
def test_a_customer_with_an_empty_response_has_no_relationships(
    answer: str, start: Start, sync: Sync
) -> None:
    """One request, no retry and no skip, and the table is complete without the customer."""
    emulator = start(resellers=1)
    alone = held(emulator)["customer_relationships"][2][0]
    emulator.faults = [Fault(place="relationships", customer_id=alone, **NOTHING[answer])]
    result = sync(emulator, page_size=3, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.stderr
    keys = result.keys("customer_relationships", "customer_id", "id", "relationshipType")
    assert keys == [key for key in held(emulator)["customer_relationships"] if key[0] != alone]
    assert sum(emulator.stats().by_place["relationships"].values()) == 7
    assert result.levels("WARNING") == []
    assert result.counts["ACTIVATE_VERSION"] == 4


@pytest.mark.parametrize("answer", NOTHING)
def test_a_proxy_that_empties_every_response_is_reported_and_deletes_nothing(
    answer: str, start: Start, sync: Sync
) -> None:
    """An empty response for one customer is valid; for every customer it may be an outage."""
    emulator = start(customers=10, resellers=1)
    settings: dict[str, Any] = {
        "emit_activate_version_messages": True,
        "max_vanished_percent": 100,
    }
    before = sync(emulator, page_size=4, **settings)
    emulator.faults = [Fault(place="relationships", **NOTHING[answer])]
    result = sync(emulator, page_size=4, state=before.state, **settings)
    assert result.exit_code == 0, result.stderr
    (warning,) = result.levels("WARNING")
    assert warning.startswith("customer_relationships: the service sent an empty response")
    reason = "customer_relationships: the service sent an empty response for every customer"
    assert f"{reason}, so deletes are disabled for this run" in result.log
    activated = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert activated == ["customers", "indirect_resellers", "reseller_customers"]
    # The next run is compared with the last trusted count.
    bookmarks = (run.state["bookmarks"]["customer_relationships"] for run in (before, result))
    assert next(bookmarks) == next(bookmarks)


@pytest.mark.parametrize(
    ("customers", "faults"),
    [
        (9, [Fault(place="relationships", status=204)]),
        (10, [Fault(place="relationships", json={"totalCount": 0, "items": []})]),
        (10, [Fault(place="relationships", json={"totalCount": 0})]),
        (10, [Fault(place="relationships", json={"totalCount": 0, **WITHOUT_ITEMS})]),
        (10, [Fault(place="relationships", json={"totalCount": "00", "items": []})]),
        (11, [Fault(place="relationships", times=10, status=204)]),
        (11, [Fault(place="relationships", skip=1, status=204)]),
    ],
    ids=[
        *("few", "empty collections", "without items", "with anything else", "zero as text"),
        *("a single collection", "a single collection first"),
    ],
)
def test_customers_without_relationships_are_not_an_outage(
    customers: int, faults: list[Fault], start: Start, sync: Sync
) -> None:
    """A partner may have few customers, and a customer no reseller."""
    result = sync(
        start(*faults, customers=customers, resellers=1),
        emit_activate_version_messages=True,
    )
    assert result.exit_code == 0, result.stderr
    assert result.levels("WARNING") == []
    assert result.counts["ACTIVATE_VERSION"] == 4


@pytest.mark.parametrize("answer", NOTHING)
@pytest.mark.parametrize("form", ["link", "token"])
def test_an_empty_continuation_of_a_customer_is_an_error(
    form: str, answer: str, start: Start, sync: Sync
) -> None:
    """The service announced more: what it then leaves out would be lost silently."""
    partner = {"id": RESELLER, "relationshipType": "is_indirect_reseller_of"}
    next_page = linked("/customers/a/relationships?seekOperation=Next")
    first = {**next_page, "items": [partner]}
    if form == "token":
        first = page(partner, continuationToken="more")
    emulator = start(
        Fault(place="relationships", times=1, json=first),
        Fault(place="relationships", **NOTHING[answer]),
        Fault(place="continuation", **NOTHING[answer]),
        fixture=Fixture(customers=[customer("a")]),
    )
    result = sync(emulator, max_retry_seconds=60)
    assert_refused(result, "HTTP 20", "customer_relationships")
    assert "Gave up after retrying for up to 60 s (max_retry_seconds)." in result.error


@pytest.mark.parametrize(
    ("answer", "place"),
    sampled(NOTHING, ["customers", "continuation", "partition", "resellers"], each=2),
)
def test_an_empty_response_instead_of_a_list_is_an_error(
    answer: str, place: Place, start: Start, sync: Sync
) -> None:
    """An empty list is a collection without items."""
    result = sync(start(Fault(place=place, **NOTHING[answer])), page_size=3, max_retry_seconds=60)
    assert result.exit_code == 1
    assert "HTTP 20" in result.error
    assert "Gave up after retrying for up to 60 s (max_retry_seconds)." in result.error


@pytest.mark.parametrize(
    ("place", "count"),
    [
        ("customers", 5),
        ("relationships", 5),
        ("resellers", 5),
        ("customers", "5"),
        ("resellers", "04"),
    ],
)
def test_an_empty_list_that_counts_records_is_an_error(
    place: Place, count: int | str, start: Start, sync: Sync
) -> None:
    """The tap has nothing to emit, and does not claim that this is everything."""
    emulator = start(Fault(place=place, json={"totalCount": count, "items": []}), customers=1)
    result = sync(emulator)
    assert result.exit_code == 0, result.stderr
    (warning,) = result.levels("WARNING")
    assert "without records whose totalCount says there are some" in warning
    assert f"{API[place]}.totalCount (1)" in warning


def test_an_empty_page_among_others_may_count_the_whole_list(start: Start, sync: Sync) -> None:
    """At the end, where an interrupted run continues there, and before others."""
    emulator = start(
        Fault(place="continuation", skip=1, times=1, status=501),
        customers=6,
        ending="empty",
        total_count="all",
    )
    settings: dict[str, Any] = {"catalog": catalog_of("customers"), "page_size": 3}
    interrupted = sync(emulator, **settings)
    assert interrupted.exit_code == 1
    resumed = sync(emulator, state=interrupted.state, **settings)
    whole = sync(emulator, **settings)
    links = {"next": {"uri": "/customers?size=3"}}
    emulator.faults = [
        Fault(place="customers", times=1, json={"totalCount": 6, "items": [], "links": links})
    ]
    before = sync(emulator, **settings)
    assert [len(run.records("customers")) for run in (resumed, whole, before)] == [0, 6, 6]
    for run in (resumed, whole, before):
        assert run.exit_code == 0, run.stderr
        assert run.levels("WARNING") == []
