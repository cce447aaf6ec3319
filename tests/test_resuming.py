"""A run that resumes where an earlier one was interrupted, or starts again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from partnercenter_emulator import Fault
from partnercenter_emulator.options import LinkForm
from tests.command_line import QuickClock, catalog_of, run_tap
from tests.truth import assert_complete, held

if TYPE_CHECKING:
    from partnercenter_emulator import Emulator
    from partnercenter_emulator.faults import Place
    from tests.conftest import Start, Sync

CUSTOMERS = catalog_of("customers")
LISTS = ("customers", "indirect_resellers")


def interrupted(start: Start, sync: Sync, **options: Any) -> tuple[Emulator, dict[str, Any]]:
    """An emulator, and the state of a run that ended behind its second page of three customers."""
    fault = Fault(place="continuation", skip=1, times=1, status=501)
    emulator = start(fault, **options)
    result = sync(emulator, catalog=CUSTOMERS, page_size=3)
    assert result.exit_code == 1
    return emulator, result.state


@pytest.mark.parametrize("link_form", ["relative", "token_only"])
def test_a_checkpoint_that_has_expired_means_from_the_start(
    link_form: str, start: Start, sync: Sync
) -> None:
    """400 for a stored continuation: the stream is read from the start, and the log says so."""
    emulator = start(
        Fault(place="continuation", skip=1, status=503),
        customers=8,
        link_form=link_form,
    )
    broken_off = sync(emulator, page_size=3)
    assert broken_off.exit_code == 1
    emulator.faults = [Fault(place="continuation", times=1, status=400, code=2000)]
    result = sync(emulator, page_size=3, state=broken_off.state)
    assert_complete(result, emulator)
    resumed = "customers: resumed where an earlier run was interrupted. "
    assert any(line.startswith(resumed) for line in result.log)
    (line,) = [line for line in result.log if "the stream is read from the start" in line]
    assert line.startswith("customers: HTTP 400, code 2000: the stored continuation has expired; ")


@pytest.mark.parametrize("number", [1, 2])
def test_an_expired_checkpoint_of_a_partition_means_from_the_first_one(
    number: int, start: Start, sync: Sync
) -> None:
    """Earlier partitions belong to the same pass, so they are read again too; later ones once."""
    emulator = start(customers=40, resellers=3)
    expired = list(emulator.resellers())[number]["id"]
    where: dict[str, Any] = {"place": "partition_continuation", "reseller_id": expired}
    emulator.faults = [Fault(**where, status=503)]
    broken_off = sync(emulator, page_size=2)
    assert broken_off.exit_code == 1
    emulator.faults = [Fault(**where, times=1, status=400, code=2000)]
    result = sync(emulator, page_size=2, state=broken_off.state)
    assert result.exit_code == 0
    assert (
        result.keys("reseller_customers", "reseller_id", "id")
        == (held(emulator)["reseller_customers"])
    )


@pytest.mark.parametrize("fault", [{"reset": True}, {"status": 429}, {"status": 401}], ids=str)
def test_an_outage_at_the_checkpoint_does_not_mean_from_the_start(
    fault: dict[str, Any], start: Start, sync: Sync
) -> None:
    """It says nothing about the stored continuation, which the next run follows."""
    emulator, state = interrupted(start, sync, customers=8)
    settings: dict[str, Any] = {"catalog": CUSTOMERS, "page_size": 3, "state": state}
    emulator.faults = [Fault(place="continuation", **fault)]
    failed = sync(emulator, **settings, max_retry_seconds=5)
    assert failed.exit_code == 1
    assert failed.records("customers") == []
    emulator.faults = ()
    result = sync(emulator, **settings)
    assert result.keys("customers", "id") == held(emulator)["customers"][6:]


def test_a_pass_is_resumed_at_the_start_of_a_partition(start: Start, sync: Sync) -> None:
    """Between two partitions the checkpoint names the next; earlier ones are not read again."""
    emulator = start(customers=40, resellers=3)
    second = list(emulator.resellers())[1]["id"]
    emulator.faults = [Fault(place="partition", reseller_id=second, status=503)]
    broken_off = sync(emulator, page_size=500, max_retry_seconds=0)
    assert broken_off.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, page_size=500, state=broken_off.state)
    assert result.exit_code == 0
    first = {key[0] for key in broken_off.keys("reseller_customers", "reseller_id")}
    assert len(first) == 1
    assert result.keys("reseller_customers", "reseller_id", "id") == [
        key for key in held(emulator)["reseller_customers"] if key[0] not in first
    ]


def test_partitions_after_the_checkpoint_are_read_from_their_first_page(
    start: Start, sync: Sync
) -> None:
    """The stored continuation belongs to one reseller and is not used for another."""
    emulator = start(customers=40, resellers=3)
    first = next(emulator.resellers())["id"]
    emulator.faults = [Fault(place="partition_continuation", reseller_id=first, status=501)]
    catalog = catalog_of("reseller_customers")
    broken_off = sync(emulator, page_size=2, catalog=catalog)
    assert broken_off.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, page_size=2, catalog=catalog, state=broken_off.state)
    assert result.exit_code == 0, result.stderr
    runs = [broken_off, result]
    keys = [key for run in runs for key in run.keys("reseller_customers", "reseller_id", "id")]
    assert keys == held(emulator)["reseller_customers"]


@pytest.mark.parametrize(
    "options",
    [
        *({"link_form": form, "extra_link_headers": True} for form in get_args(LinkForm)),
        # The last page is short compared with those that the interrupted run read.
        {"link_form": "token_only", "ending": "code_2000"},
    ],
    ids=[*get_args(LinkForm), "code_2000"],
)
def test_an_interrupted_run_is_resumed_after_every_form_of_link(
    options: dict[str, Any], start: Start, sync: Sync
) -> None:
    """The state contains all that the next request needs: address, headers, token, page size."""
    emulator, state = interrupted(start, sync, customers=8, **options)
    result = sync(emulator, catalog=CUSTOMERS, page_size=3, state=state)
    assert result.exit_code == 0, result.stderr
    assert result.keys("customers", "id") == held(emulator)["customers"][6:]


def test_a_position_is_followed_whatever_the_spelling_of_its_path(start: Start, sync: Sync) -> None:
    """A link may spell it differently, and still lead to the same collection."""
    emulator, state = interrupted(start, sync, customers=8)
    resume = state["bookmarks"]["customers"]["resume"]
    resume["uri"] = resume["uri"].replace("/v1/customers", "/V1/Customers/")
    emulator.reset_stats()
    result = sync(emulator, catalog=CUSTOMERS, page_size=3, state=state)
    assert result.exit_code == 0
    assert any(request.path.startswith("/V1/Customers/?") for request in emulator.requests)
    assert result.levels("WARNING") == []


def test_a_loop_back_to_where_a_run_was_resumed_is_an_error(start: Start, sync: Sync) -> None:
    """The page of the stored continuation is known as well."""
    emulator, state = interrupted(start, sync, customers=30)
    emulator.faults = [Fault(place="continuation", cycle=1)]
    emulator.reset_stats()
    result = sync(emulator, catalog=CUSTOMERS, page_size=3, state=state)
    assert result.exit_code == 1
    assert "its pages form a loop" in result.error
    assert emulator.stats().by_place["continuation"] == {"200": 1}


@pytest.mark.parametrize(
    ("ages", "resumes"),
    [
        ([0], True),
        ([24 * 3600], True),
        ([24 * 3600 + 1], False),
        ([-1], False),
        ([23 * 3600, 24 * 3600], True),
        ([23 * 3600, 25 * 3600], False),
    ],
)
def test_an_interrupted_pass_can_be_resumed_for_a_day(
    ages: list[int], *, resumes: bool, start: Start
) -> None:
    """After that its first pages are too old; a pass dated in the future is not resumed either.

    Resuming it does not make it younger.
    """
    emulator = start(customers=12)
    begun = moment = 1_800_000_000

    class StoppedClock(QuickClock):
        def now(self) -> float:
            return moment

    settings: dict[str, Any] = {
        "config": {**emulator.tap_config(), "page_size": 3},
        "clock": StoppedClock,
        "catalog": CUSTOMERS,
    }
    state: dict[str, Any] = {}
    for age in [0, *ages[:-1]]:
        moment = begun + age
        emulator.faults = [Fault(place="continuation", skip=1, times=1, status=501)]
        broken_off = run_tap(**settings, state=state)
        assert broken_off.exit_code == 1
        state = broken_off.state
    moment = begun + ages[-1]
    again = run_tap(**settings, state=state)
    assert again.exit_code == 0, again.stderr
    customers = held(emulator)["customers"]
    assert again.keys("customers", "id") == customers[3 + 3 * len(ages) if resumes else 0 :]


@pytest.mark.parametrize(
    ("place", "before", "after"),
    [
        ("continuation", [], ["indirect_resellers", "1", "2", "3"]),
        ("partition", [*LISTS, "1"], [*LISTS, "2", "3"]),
        ("partition_continuation", [*LISTS, "1"], [*LISTS, "3"]),
    ],
)
def test_only_what_was_read_in_one_go_is_reported_as_read(
    place: Place, before: list[str], after: list[str], start: Start, sync: Sync
) -> None:
    """Earlier rows would seem to be gone; what an interrupted run has read is reported by it."""
    emulator = start(customers=40, resellers=3)
    resellers = [str(reseller["id"]) for reseller in emulator.resellers()]
    where = None if place == "continuation" else resellers[1]
    emulator.faults = [Fault(place=place, reseller_id=where, status=501)]
    broken_off = sync(emulator, page_size=2)
    emulator.faults = ()
    resumed = sync(emulator, page_size=2, state=broken_off.state)
    assert (broken_off.exit_code, resumed.exit_code) == (1, 0)
    numbers = {reseller: str(number) for number, reseller in enumerate(resellers, 1)}
    for run, expected in ((broken_off, before), (resumed, after)):
        ids = [id_.rpartition(" ")[2] for (id_,) in run.keys("list_refreshes", "id")]
        assert [numbers.get(id_, id_) for id_ in ids] == expected
