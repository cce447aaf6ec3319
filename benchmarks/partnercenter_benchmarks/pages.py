"""The parts of the documentation made from the stored figures; `tools/pages.py` inserts them."""

from __future__ import annotations

from pathlib import Path

from .chart import chart
from .render import sections
from .results import load
from .scale import tables as scale_tables

ROOT = Path(__file__).resolve().parents[2]
#: The figures that the documentation shows.
RESULTS = ROOT / "benchmarks" / "results.json"


def parts() -> dict[str, str]:
    """Return the tables by name."""
    results, scale = load(RESULTS), scale_tables.load(scale_tables.SCALE_JSON)
    return sections(results) | scale_tables.sections(scale, results)


def files() -> dict[str, str]:
    """Return the chart by its path relative to the checkout."""
    return {"docs/performance.svg": chart(load(RESULTS))}
