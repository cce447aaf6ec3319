"""Ratios, quotas, goals, and the tables that show them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from partnercenter_benchmarks.aims import AIMS, marginal, reached
from partnercenter_benchmarks.cases import cases
from partnercenter_benchmarks.chart import chart
from partnercenter_benchmarks.measuring import quota_used, too_early
from partnercenter_benchmarks.render import sections
from partnercenter_benchmarks.results import Results, summarize, times_as_fast
from tests.benchmarks.made_up import run, session


def test_ratios_are_taken_within_a_round() -> None:
    """If the machine is half as fast in the second round, no ratio changes."""
    stock = [run("stock", wall=80.0), run("stock", number=1, wall=160.0)]
    tap = [run(wall=4.0), run(number=1, wall=8.0)]
    assert times_as_fast(tap, stock) == (20.0, 20.0, 20.0)
    assert times_as_fast(tap[::-1], stock) == (20.0, 20.0, 20.0)


def test_rounds_without_a_partner_do_not_count() -> None:
    """Slow contestants take part in fewer rounds; a failed run is not a partner."""
    stock = [run("stock", wall=80.0)]
    tap = [run(wall=4.0), run(number=1, wall=1.0)]
    assert times_as_fast(tap, stock) == (20.0, 20.0, 20.0)
    assert times_as_fast(tap, [run("stock", outcome="failed")]) is None
    assert times_as_fast(tap, []) is None
    assert times_as_fast(tap, stock, "reading") is None


def test_a_row_is_the_median_of_the_runs_that_ended_well() -> None:
    """For errors that no run may have, it is the maximum."""
    runs = [run(number=number, wall=wall, too_early=wall) for number, wall in enumerate((3, 1, 10))]
    (row,) = summarize([*runs, run(number=3, wall=99.0, outcome="failed")])
    assert (row.runs, row.wall, row.seconds, row.too_early) == (3, 3.0, (3.0, 1.0, 10.0), 10)


@pytest.mark.parametrize(
    ("arrivals", "used"),
    [
        # Ten a minute, all accepted: the first minute and the unfinished last one do not count.
        ([(6.0 * at, True) for at in range(35)], 1.0),
        # Half of the second minute's quota used.
        ([(6.0 * at, True) for at in (*range(10), *range(10, 20, 2), *range(20, 35))], 0.75),
        # Refused requests use nothing.
        ([(6.0 * at, at % 2 == 0) for at in range(35)], 0.5),
        # There is no complete second minute.
        ([(6.0 * at, True) for at in range(15)], 0.0),
        ([], 0.0),
    ],
)
def test_use_of_a_quota(arrivals: list[tuple[float, bool]], used: float) -> None:
    """From the second minute on, complete minutes only."""
    assert quota_used(arrivals, quota=10) == used


@pytest.mark.parametrize(
    ("times", "early"),
    [
        # Refused at 10.5 seconds for 50: requests already in flight, and one that comes back late.
        ([10.5, 10.6, 10.7, 60.8], 0),
        ([10.5, 10.8, 59.9], 2),
        # The minute is over, but not the stated number of whole seconds.
        ([10.5, 60.3], 1),
        # Another minute, and another refusal.
        ([10.5, 61.0, 70.0, 70.1, 71.0], 1),
    ],
)
def test_requests_after_a_refusal_are_too_early(times: list[float], early: int) -> None:
    """Until the time it stated, except for those sent before it was read."""
    refused = {10.5, 10.6, 10.7, 10.8, 59.9, 70.0, 70.1, 71.0}
    assert too_early([(0.0, True), *((at, at not in refused) for at in times)]) == early


def test_the_marginal_cost_of_a_record_excludes_startup() -> None:
    """The processor time of many records minus that of one record."""
    assert marginal(session(), "tap") == pytest.approx(10.0)
    assert marginal(session(), "dlt") is None


@pytest.mark.parametrize(
    ("case", "what", "figure", "is_met"),
    [
        ("children-100ms", "speed, times the stock tap's at its best", 18.0, True),
        ("children-100ms", "speed, times bare threads'", 0.925, True),
        ("children-100ms", "the same, first request to last", 0.95, True),
        ("records-1", "speed, times the stock tap's at its best", 0.9, True),
        ("records-200000", "processor µs of one more record", 10.0, True),
        ("records-1000000", "peak memory, times that with a fifth of the customers", 1.02, True),
        ("quota-500", "quota used", 0.97, True),
        ("quota-500", "refused", 0.02, False),
        ("quota-500", "too early after a refusal", 2, False),
    ],
)
def test_aims_are_judged(case: str, what: str, figure: float, is_met: bool) -> None:  # noqa: FBT001
    """By the median of the ratios."""
    again = run(case="quota-500", number=1, refused=3, too_early=2, quota_used=0.97)
    found = {(aim.case, aim.figure.what): (each, aim) for aim, each in reached(session(again))}
    value, aim = found[case, what]
    assert value.middle == pytest.approx(figure, abs=0.002)
    assert aim.is_met(value) is is_met


def test_each_case_of_the_tap_has_an_aim() -> None:
    """At every concurrency that the page shows."""
    measured = {
        (case.name, entry.concurrency)
        for case in cases()
        for entry in case.entries
        if entry.name == "tap"
    }
    assert {(aim.case, aim.concurrency) for aim in AIMS} == measured


def test_tables_show_medians_and_ratios() -> None:
    """One line for each contestant and concurrency; no empty columns."""
    parts = sections(session())
    tap = "| tap-partnercenter, 8 at once | 2 | 7.00 (4.00 to 10.00) | 18.00 (16.00 to 20.00) |"
    assert tap in parts["children"]
    assert "µs" not in parts["children"]
    assert "µs for one more record" in parts["records"]
    assert "| dlt, extracting only, 8 at once | 0 | failed after 1.0 | – |" in parts["quota"]  # noqa: RUF001
    assert "97.0%" in parts["quota"]
    assert "1.0" in parts["session"]


def test_a_session_without_measurements_has_tables_too() -> None:
    """Each part says so."""
    empty = Results(python="", platform="", processors=1, versions={}, quick=True)
    parts = sections(empty)
    assert "small sizes" in parts.pop("session")
    assert set(parts.values()) == {"Not measured in this session."}


def test_small_sizes_are_not_judged() -> None:
    """The goals are for the full sizes."""
    results = session()
    assert "| yes |" in sections(results)["aims"]
    results.quick = True
    assert "| yes |" not in sections(results)["aims"]


def test_measuring_again_replaces_a_case() -> None:
    """The others are kept, and the order of the page."""
    newer = session()
    newer.cases = [facts for facts in newer.cases if facts.name == "records-1"]
    newer.rows = summarize([run(case="records-1", wall=7.0)])
    whole = session().updated(newer)
    assert [facts.name for facts in whole.cases] == [facts.name for facts in session().cases]
    assert [row.wall for row in whole.rows if row.case == "records-1"] == [7.0]
    assert whole.row("children-100ms", "tap", 8) == session().row("children-100ms", "tap", 8)


def test_the_chart_is_a_picture_with_a_bar_for_each_contestant() -> None:
    """Well-formed, for light and dark pages, with nothing outside of it."""
    picture = ET.fromstring(chart(session()))  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    width = float(picture.attrib["viewBox"].split()[2])
    bars = picture.findall(f"{space}rect")
    # Three contestants with children, two with records.
    assert len(bars) == 5
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) < width for bar in bars)
    assert sum("own" in bar.attrib["class"] for bar in bars) == 2
    style = picture.find(f"{space}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in str(style.text)
