"""Ratios, quotas, aims."""

from __future__ import annotations

import pytest

from partnercenter_benchmarks.aims import aims, marginal, wall
from partnercenter_benchmarks.figures import pairwise, quota_used, spread
from partnercenter_benchmarks.profiling import START_UP, summed_up
from tests.benchmarks.made_up import run, session


def test_a_spread_is_median_least_and_most() -> None:
    """In any order."""
    assert spread([3.0, 1.0, 10.0]) == (3.0, 1.0, 10.0)


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that is half as fast in the second round changes no ratio."""
    stock = [run("stock", wall=80.0), run("stock", number=2, wall=160.0)]
    tap = [run(wall=4.0), run(number=2, wall=8.0)]
    assert pairwise(stock, tap, wall) == (20.0, 20.0, 20.0)
    assert pairwise(stock, tap[::-1], wall) == (20.0, 20.0, 20.0)


def test_rounds_without_a_partner_do_not_count() -> None:
    """The slow ones take part in fewer rounds; a failed run is no partner."""
    stock = [run("stock", wall=80.0)]
    tap = [run(wall=4.0), run(number=2, wall=1.0)]
    assert pairwise(stock, tap, wall) == (20.0, 20.0, 20.0)
    assert pairwise(stock, [run(wall=1.0, outcome="failed")], wall) is None
    assert pairwise([], tap, wall) is None


@pytest.mark.parametrize(
    ("arrivals", "used"),
    [
        # Ten a window, all of them: the first window and the unfinished last one do not count.
        ([(at / 10, True) for at in range(35)], 1.0),
        # The second window half used.
        ([(at / 10, True) for at in (*range(10), *range(10, 20, 2), *range(20, 35))], 0.75),
        # Refused ones use nothing.
        ([(at / 10, at % 2 == 0) for at in range(35)], 0.5),
        # No second whole window.
        ([(at / 10, True) for at in range(15)], None),
        ([], None),
    ],
)
def test_use_of_a_quota(arrivals: list[tuple[float, bool]], used: float | None) -> None:
    """From the second window on, whole windows only."""
    assert quota_used(arrivals, quota=10, window=1.0) == used


def test_one_more_record_costs_what_starting_does_not() -> None:
    """Many records' processor time, less that of one record."""
    cost = marginal(session(), "tap")
    assert cost is not None
    assert cost.middle == pytest.approx(2.0 / 199_999 * 1e6)
    assert marginal(session(), "dlt") is None


def test_aims_are_judged() -> None:
    """By the median of the ratios."""
    met = {aim.what: (aim.text, aim.met) for aim in aims(session())}
    case = "The case children-100ms: speed at 8 at once, times that of"
    assert met[f"{case} the stock tap"] == ("18.00 (16.00 to 20.00)", True)
    assert met[f"{case} bare threads"] == ("0.93 (0.90 to 0.95)", True)
    assert met["Quota of 100 a minute, 8 at once: refused"] == ("1.00%", True)
    assert met["Peak memory with most customers, times that with fewest"] == ("1.02", True)
    assert met["Requests under way beyond the setting, in any run"] == ("0", True)


def test_samples_belong_to_the_innermost_function() -> None:
    """Except for imports, whose functions are the interpreter's."""
    found = summed_up(
        "a",
        [
            "main (tap_partnercenter/tap.py);_sync (singer_sdk/streams/core.py) 2",
            "main (tap_partnercenter/tap.py);fit (/somewhere/tap_partnercenter/records.py) 5",
            "main (a.py);f (<frozen importlib._bootstrap>);g (re/_parser.py) 2",
            "main (a.py);dumps (json/__init__.py) 1",
        ],
    )
    assert found.samples == 10
    assert found.owners == {
        "the tap": 0.5,
        "the SDK": 0.2,
        START_UP: 0.2,
        "rest of Python": 0.1,
    }
    assert next(iter(found.functions.items())) == ("fit (tap_partnercenter/records.py)", 0.5)
