"""Writing the figures into the documentation, between marks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .chart import chart
from .results import save
from .tables import sections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .results import Results

ROOT = Path(__file__).resolve().parents[2]
#: The figures that the documentation shows.
KEPT = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
_END = "<!-- end of figures -->"
_PART = re.compile(
    rf"(<!-- figures: (?P<name>\w+) -->\n).*?(?=^{_END})",
    re.DOTALL | re.MULTILINE,
)


def write(results: Results) -> None:
    """Keep the figures, and write page and chart from them."""
    save(results, KEPT)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(page, sections(results)), encoding="utf-8")
    CHART.write_text(chart(results), encoding="utf-8")


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with every part between marks written anew.

    Raises:
        ValueError: If the marks and the parts are not the same ones.
    """
    named = [match["name"] for match in _PART.finditer(page)]
    if sorted(named) != sorted(parts) or page.count(_END) != len(named):
        message = f"the page has marks for {named}, the figures have {sorted(parts)}"
        raise ValueError(message)
    return _PART.sub(lambda match: f"{match[1]}\n{parts[match['name']]}\n\n", page)
