"""The documentation's figures are the stored ones, and its prose has none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from partnercenter_benchmarks import documents
from partnercenter_benchmarks.chart import chart
from partnercenter_benchmarks.cli import main
from partnercenter_benchmarks.results import Results, load, save
from partnercenter_benchmarks.tables import sections
from tests.benchmarks.made_up import facts, run, session

if TYPE_CHECKING:
    from pathlib import Path

PARTS = re.compile(r"<!-- figures: \w+ -->.*?<!-- end of figures -->", re.DOTALL)


def test_the_page_shows_the_stored_figures() -> None:
    """Nobody has changed the one without the other."""
    stored = load(documents.KEPT)
    page = documents.PAGE.read_text(encoding="utf-8")
    assert documents.filled(page, sections(stored)) == page
    assert documents.CHART.read_text(encoding="utf-8") == chart(stored)


def test_prose_has_no_figures() -> None:
    """They would go stale: only a status of HTTP may stand there."""
    prose = PARTS.sub("", documents.PAGE.read_text(encoding="utf-8"))
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)
    assert re.findall(r"\b\d+\b", prose) == ["429"]


def test_the_command_writes_page_chart_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file, without measuring anything."""
    page = tmp_path / "page.md"
    page.write_text(documents.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(documents, "PAGE", page)
    monkeypatch.setattr(documents, "KEPT", tmp_path / "kept.json")
    monkeypatch.setattr(documents, "CHART", tmp_path / "chart.svg")
    monkeypatch.chdir(tmp_path)
    save(session(), tmp_path / "given.json")
    assert main(["--from", "given.json", "--write-docs"]) == 0
    written = page.read_text(encoding="utf-8")
    for name, text in sections(session()).items():
        assert f"<!-- figures: {name} -->\n\n{text}\n\n<!-- end of figures -->" in written
    printed = capsys.readouterr().out
    assert all(text in printed for text in sections(session()).values())
    assert load(tmp_path / "kept.json") == session()
    assert (tmp_path / "chart.svg").read_text(encoding="utf-8") == chart(session())


def test_tables_show_medians_and_ratios() -> None:
    """One line for each contestant and concurrency."""
    parts = sections(session())
    tap = "| tap-partnercenter, 8 at once | 2 | 7.00 (4.00 to 10.00) | 18.00 (16.00 to 20.00) |"
    assert tap in parts["children"]
    assert "| dlt, extracting only, 8 at once | 0 | failed after 1.0 |" in parts["quota"]
    assert "97.0%" in parts["quota"]
    assert "| tap-partnercenter | 50.0 | 51.0 | 1.02 |" in parts["memory"]
    assert "| the tap | 75% |" in parts["profile"]


def test_a_session_that_measured_nothing_has_tables_too() -> None:
    """Each part says so."""
    empty = Results(python="", platform="", processors=1, versions={}, quick=True)
    parts = sections(empty)
    assert "small sizes" in parts.pop("session")
    assert set(parts.values()) == {"Not measured in this session."}


def test_marks_and_parts_must_agree() -> None:
    """A part without a place would be lost silently."""
    with pytest.raises(ValueError, match="session"):
        documents.filled("no marks", sections(session()))


def test_measuring_again_replaces_a_case() -> None:
    """The others stay, in their order."""
    results = session()
    before = [case.name for case in results.cases]
    results.replace(facts("partitions", "partitions", 5), [run(case="partitions", wall=3.0)])
    assert [case.name for case in results.cases] == before
    assert [each.wall for each in results.runs if each.case == "partitions"] == [3.0]
    assert results.of("children-100ms", "tap", 8) == session().of("children-100ms", "tap", 8)


def test_the_chart_is_a_picture_with_a_bar_for_each_contestant() -> None:
    """Well-formed, for light and dark pages, nothing outside of it."""
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


def test_sizes_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick case among full ones would be taken for one of them."""
    monkeypatch.chdir(tmp_path)
    save(session(), tmp_path / "given.json")
    with pytest.raises(SystemExit):
        main(["--from", "given.json", "--quick", "--only", "records"])


def test_small_sizes_are_not_judged() -> None:
    """The aims are for the full ones."""
    results = session()
    assert "| yes |" in sections(results)["aims"]
    results.quick = True
    assert "| yes |" not in sections(results)["aims"]
