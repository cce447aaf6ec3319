"""The pages of the documentation that show figures, and how these get there: between marks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .chart import chart
from .render import sections
from .results import load
from .scale import cases as scale_cases
from .scale import tables as scale_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
#: The figures that the documentation shows.
RESULTS = ROOT / "benchmarks" / "results.json"
SCALE = scale_cases.KEPT
_END = "<!-- end of figures -->"
_PART = re.compile(
    rf"(<!-- figures: (?P<name>\w+) -->\n).*?(?=^{_END})",
    re.DOTALL | re.MULTILINE,
)


def rendered() -> dict[str, str]:
    """Return the files that show the kept figures, by path below the checkout, as they should be.

    Raises:
        ValueError: If a page's marks and its figures are not the same ones.
    """
    results, scale = load(RESULTS), scale_cases.load(SCALE)
    parts = {
        "docs/performance.md": sections(results),
        "docs/scale.md": scale_tables.sections(scale, results),
        "docs/nights.md": scale_tables.nights_sections(scale),
        "docs/operating.md": scale_tables.operating_sections(scale, results),
    }
    pages = {
        path: filled((ROOT / path).read_text(encoding="utf-8"), each)
        for path, each in parts.items()
    }
    return pages | {"docs/performance.svg": chart(results)}


def write() -> None:
    """Write the kept figures into the documentation."""
    for path, text in rendered().items():
        (ROOT / path).write_text(text, encoding="utf-8")


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with every part between marks replaced.

    Raises:
        ValueError: If the marks and the parts are not the same ones.
    """
    named = [match["name"] for match in _PART.finditer(page)]
    if sorted(named) != sorted(parts) or page.count(_END) != len(named):
        message = f"the page has marks for {named}, the figures have {sorted(parts)}"
        raise ValueError(message)
    return _PART.sub(lambda match: f"{match[1]}\n{parts[match['name']]}\n\n", page)
