"""State that no run of the tap wrote, or that is too old: at worst, everything is read again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault
from tests.truth import held

if TYPE_CHECKING:
    from tests.conftest import Start, Sync


def broken_off(emulator: Emulator, sync: Sync) -> dict[str, Any]:
    """The state of a run interrupted in the second stream with continuations."""
    emulator.faults = [Fault(place="partition_continuation", skip=1, status=501)]
    result = sync(emulator, page_size=2, emit_activate_version_messages=True)
    assert result.exit_code == 1
    emulator.faults = ()
    return result.state


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "http://127.0.0.1:1/v1/customers"},
        {"uri": "//127.0.0.1:1/v1/customers"},
        {"uri": None},
        {"headers": [["Authorization", "Bearer other"]]},
        {"headers": [["Host", "evil.example"]]},
        {"headers": [["MS-ContinuationToken", "a\r\nHost: evil.example"]]},
        {"headers": [["MS ContinuationToken", "a"]]},
        {"headers": [["MS-ContinuationToken", 5]]},
        {"headers": [["MS-ContinuationToken"]]},
        {"headers": "MS-ContinuationToken"},
        {"headers": None},
        {"version": "yesterday"},
        {"version": None},
        {"version": 0},
        {"version": 99999999999},
        {"version": float("inf")},
        {"version": float("nan")},
        {"skipped": None},
        {"skipped": "x"},
        {"skipped": float("inf")},
        {"skipped": {"reseller_customers": float("inf")}},
        {"largest": float("inf")},
        {"partition": None},
        {"partition": str(uuid.UUID(int=1))},
        {"partition": 5},
        {"partition": ["a"]},
        {"scope": None},
        {"scope": "0" * 16},
    ],
)
def test_a_state_edited_by_hand_means_at_most_a_restart(
    change: dict[str, Any], start: Start, sync: Sync
) -> None:
    """An unusable checkpoint is ignored: all rows are read, and no existing row is deleted."""
    emulator = start(customers=20, resellers=2)
    state = broken_off(emulator, sync)
    state["bookmarks"]["reseller_customers"]["resume"].update(change)
    result = sync(emulator, page_size=2, state=state, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.stderr
    assert (
        result.keys("reseller_customers", "reseller_id", "id")
        == (held(emulator)["reseller_customers"])
    )


def test_a_state_that_leads_to_another_collection_is_not_followed(start: Start, sync: Sync) -> None:
    """Its rows would be taken for the rest of the table."""
    emulator = start(customers=20, resellers=2)
    state = broken_off(emulator, sync)
    resume = state["bookmarks"]["reseller_customers"]["resume"]
    resume.update(uri="/v1/relationships?relationship_type=IsIndirectCloudSolutionProviderOf")
    result = sync(emulator, page_size=2, state=state, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.stderr
    found = result.keys("reseller_customers", "reseller_id", "id")
    assert found == held(emulator)["reseller_customers"]
    (warning,) = result.levels("WARNING")
    assert "reseller_customers: the state points to another collection (/v1/rela" in warning


@pytest.mark.parametrize("bookmark", [{"resume": 5}, {"resume": []}, {"resume": {}}, {"other": 1}])
def test_a_bookmark_of_another_kind_is_ignored(bookmark: object, start: Start, sync: Sync) -> None:
    """State of other taps or versions does not make the run fail."""
    emulator = start(customers=5)
    state = {"bookmarks": {"customers": bookmark}}
    result = sync(emulator, page_size=2, state=state)
    assert result.exit_code == 0, result.stderr
    assert result.keys("customers", "id") == held(emulator)["customers"]


def test_a_whole_state_message_is_as_good_as_its_value(start: Start, sync: Sync) -> None:
    """`tail -1` of the tap's own output: the interrupted table is continued."""
    emulator = start(customers=20, resellers=2)
    state = broken_off(emulator, sync)
    settings: dict[str, Any] = {"page_size": 2, "emit_activate_version_messages": True}
    value = sync(emulator, state=state, **settings)
    message = sync(emulator, state={"type": "STATE", "value": state}, **settings)
    names = "reseller_id", "id"
    assert message.keys("reseller_customers", *names) == value.keys("reseller_customers", *names)
    assert value.keys("reseller_customers", *names) != held(emulator)["reseller_customers"]
    assert message.levels("WARNING") == []


@pytest.mark.parametrize(
    "state",
    [
        {"type": "STATE", "value": None},
        {"type": "STATE", "value": {"currently_syncing": "customers"}},
        {"type": "RECORD", "value": {"bookmarks": {}}},
        {"singer_state": {"bookmarks": {}}},
        {"bookmarks": []},
    ],
)
def test_a_state_without_bookmarks_is_reported(
    state: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Everything is read, which may take hours: one line says why."""
    emulator = start(customers=5)
    result = sync(emulator, page_size=2, state=state)
    assert result.exit_code == 0, result.stderr
    assert result.keys("customers", "id") == held(emulator)["customers"]
    (warning,) = result.levels("WARNING")
    assert warning.startswith("The state has no bookmarks, so everything is read from the start.")
