"""The documentation's figures are the stored ones, and its prose has none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from partnercenter_benchmarks import pages
from partnercenter_benchmarks.__main__ import main
from partnercenter_benchmarks.results import load, save
from tests.benchmarks.made_up import session

if TYPE_CHECKING:
    from pathlib import Path

PARTS = re.compile(r"<!-- (\w+): written by .*?<!-- end of \1 -->", re.DOTALL)


@pytest.mark.parametrize("page", ["docs/performance.md", "docs/scale.md"])
def test_prose_has_no_figures(page: str) -> None:
    """Figures would go stale: only HTTP statuses are allowed."""
    prose = PARTS.sub("", (pages.ROOT / page).read_text(encoding="utf-8"))
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)
    assert set(re.findall(r"\b\d+\b", prose)) <= {"429"}


def test_the_tables_show_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does the chart."""
    monkeypatch.setattr(pages, "RESULTS", tmp_path / "results.json")
    save(session(), tmp_path / "results.json")
    assert load(tmp_path / "results.json") == session()
    assert "The case children-100ms" in pages.parts()["children"]
    assert "The case children-100ms" in pages.files()["docs/performance.svg"]


def test_saved_figures_are_compared_line_by_line(tmp_path: Path) -> None:
    """A figure that changed is one line of the difference."""
    results, path = session(), tmp_path / "results.json"
    save(results, path)
    before = path.read_text(encoding="utf-8").splitlines()
    results.rows[0].wall += 1
    save(results, path)
    after = path.read_text(encoding="utf-8").splitlines()
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1


def test_a_quick_run_is_not_saved(capsys: pytest.CaptureFixture[str]) -> None:
    """A small case among full ones could be mistaken for one of them."""
    with pytest.raises(SystemExit):
        main(["--quick", "--keep"])
    assert "not allowed with" in capsys.readouterr().err
