"""Nothing lost, nothing twice, nothing wrongly deleted: for any data, form, fault and kill."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partnercenter_emulator import Emulator, Fault, Options
from partnercenter_emulator.options import LinkForm
from tests.command_line import QuickClock, Result, run_tap
from tests.truth import (
    KEYS,
    Warehouse,
    assert_all_records,
    assert_no_checkpoint,
    complete_lines,
    emitted,
    held,
    last_state,
)

pytestmark = pytest.mark.slow

BOUNDED = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

API_PLACES = [
    "customers",
    "continuation",
    "partition",
    "partition_continuation",
    "resellers",
    "relationships",
]
FORMS = get_args(LinkForm)
#: Not `code_2000`: after a full page it is not an end, so some of these lists would end the run.
ENDINGS = ["plain", "no_links", "empty_links", "null_next", "empty"]

options = st.builds(
    Options,
    seed=st.integers(1, 5),
    customers=st.integers(0, 25),
    resellers=st.integers(0, 3),
    page_limit=st.sampled_from([1, 3, 7, 500]),
    link_form=st.sampled_from(FORMS),
    ending=st.sampled_from(ENDINGS),
    extra_link_headers=st.booleans(),
    empty_page_every=st.sampled_from([0, 0, 2, 3]),
    total_count=st.sampled_from(["page", "all", "wrong"]),
    bom=st.sampled_from(["none", "all"]),
    gzip=st.booleans(),
)
forms = st.fixed_dictionaries(
    {
        "page_size": st.integers(1, 10),
        "max_concurrent_requests": st.sampled_from([1, 2, 8]),
    },
)
actions: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"reset": True},
        {"truncate": True},
        {"not_json": True},
        {"empty_body": True},
        {"status": 503, "shape": "html"},
        {"status": 429, "headers": {"Retry-After": "20"}},
        {"status": 429},
    ],
)
passing = st.lists(
    st.builds(
        lambda action, place, every: Fault(place=place, every=every, **action),
        actions,
        st.sampled_from(["token", *API_PLACES]),
        st.integers(2, 6),
        # For a customer, an empty response is an answer: there are no relationships.
    ).filter(lambda fault: not (fault.place == "relationships" and fault.empty_body)),
    max_size=2,
)
#: An error that ends the run, at any place.
fatal = st.builds(
    lambda place, skip: Fault(place=place, skip=skip, status=403, code=900150),
    st.sampled_from(["token", *API_PLACES]),
    st.integers(0, 8),
)
cuts = st.floats(0, 1, allow_nan=False)


def run(
    emulator: Emulator,
    form: dict[str, Any],
    *,
    state: dict[str, Any] | None = None,
    later: float = 0,
    **more: Any,
) -> Result:
    """Run the tap some seconds later."""

    class LaterClock(QuickClock):
        def now(self) -> float:
            return super().now() + later

    config = {**emulator.tap_config(), **form, **more}
    return run_tap(config=config, state=state, clock=LaterClock)


def cut_off(result: Result, where: float) -> list[str]:
    """The lines that a target has if its tap is killed at some byte of the output."""
    text = result.stdout.encode()
    return complete_lines(text[: round(where * len(text))].decode(errors="ignore"))


@BOUNDED
@given(options, forms, passing)
def test_whatever_the_form_everything_is_emitted_once(
    options: Options, form: dict[str, Any], faults: list[Fault]
) -> None:
    """All keys, each once and in order, in whole lines of JSON."""
    with Emulator(options, faults=faults) as emulator:
        result = run(emulator, form)
        assert result.exit_code == 0, result.stderr
        assert all(isinstance(json.loads(line), dict) for line in result.stdout.splitlines())
        assert result.stdout.endswith("\n")
        for stream, keys in held(emulator).items():
            assert result.keys(stream, *KEYS[stream]) == keys


@BOUNDED
@given(options, forms, passing, fatal, cuts)
def test_an_interrupted_run_and_the_next_one_emit_everything(
    options: Options, form: dict[str, Any], faults: list[Fault], end: Fault, where: float
) -> None:
    """Ended by an error or killed at any byte: the next run continues from its last STATE."""
    with Emulator(options, faults=[*faults, end]) as emulator:
        first = cut_off(run(emulator, form), where)
        emulator.faults = faults
        second = run(emulator, form, state=last_state(first))
        assert second.exit_code == 0, second.stderr
        lines = [*first, *second.stdout.splitlines()]
        assert_all_records(lines, emulator)
        assert_no_checkpoint(second.state)


@BOUNDED
@given(options, forms, st.data())
def test_no_state_is_ahead_of_the_records(
    options: Options, form: dict[str, Any], data: st.DataObject
) -> None:
    """For any STATE: what a run that starts there leaves out was emitted before it."""
    with Emulator(options) as emulator:
        lines = run(emulator, form).stdout.splitlines()
        states = [number for number, line in enumerate(lines) if '"type":"STATE"' in line]
        assert states
        before = lines[: data.draw(st.sampled_from(states)) + 1]
        after = run(emulator, form, state=last_state(before))
        missing = {
            stream: set(keys) - emitted(after.stdout.splitlines())[stream]
            for stream, keys in held(emulator).items()
        }
        assert all(missing[stream] <= emitted(before)[stream] for stream in KEYS)


@BOUNDED
@given(options, forms, st.lists(st.tuples(cuts, fatal), max_size=3), st.data())
def test_a_warehouse_with_deletes_matches_the_api(
    options: Options,
    form: dict[str, Any],
    interruptions: list[tuple[float, Fault]],
    data: st.DataObject,
) -> None:
    """A full pass, changes at the source, a pass interrupted often: equal, and no row is lost."""
    deletes: dict[str, Any] = {"emit_activate_version_messages": True, "max_vanished_percent": 100}
    warehouse = Warehouse()
    with Emulator(options) as emulator:
        warehouse.load(run(emulator, form, **deletes).stdout.splitlines())
        warehouse.assert_equals(emulator)
        ids = [customer["id"] for customer in emulator.customers()]
        for vanished in data.draw(st.sets(st.sampled_from(ids), max_size=5)) if ids else ():
            emulator.remove_customer(vanished)
        emulator.create_customer("New, Ltd.")
        state = None
        for number, (where, end) in enumerate(interruptions):
            emulator.faults = [end]
            result = run(emulator, form, state=state, later=100 + number, **deletes)
            lines = cut_off(result, where)
            warehouse.load(lines)
            state = last_state(lines) or state
        emulator.faults = []
        # The first may be a resumed pass, which deletes nothing; the second is a pass in one go.
        for later in (200, 300):
            result = run(emulator, form, state=state, later=later, **deletes)
            assert result.exit_code == 0, result.stderr
            warehouse.load(result.stdout.splitlines())
            state = result.state
        warehouse.assert_equals(emulator)
