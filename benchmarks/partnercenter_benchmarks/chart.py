"""The chart of the README: two rows of bars, for light and dark pages."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from .aims import MANY
from .cases import TITLES, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .results import Results, Row

WIDTH = 760
_LEFT, _RIGHT = 250, 90
_ROW, _BAR = 24, 15
_STYLE = """\
text { font-family: system-ui, sans-serif; font-size: 13px; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.own { font-weight: 600 }
.bar { fill: #8c959f }
.bar.own { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .bar { fill: #6e7681 }
  .bar.own { fill: #4493f8 }
}"""


def chart(results: Results) -> str:
    """Return the chart as SVG: the time for many requests, and the throughput of records."""
    parts: list[str] = []
    top = 0
    for name, what, figure, form in (
        ("children-100ms", "seconds, less is better", lambda row: row.wall, "{:.1f} s"),
        (MANY, "records a second, more is better", _records_a_second, "{:,.0f}"),
    ):
        for facts in results.cases:
            if facts.name == name:
                parts.append(f'<text class="title" x="0" y="{top + 18}">')
                parts[-1] += f"{escape(facts.title)}: {what}</text>"
                rows = [row for row in results.rows if row.case == name and row.runs]
                parts += _bars(rows, figure, form, top + 30)
                top += 30 + len(rows) * _ROW + 12
    described = "tap-partnercenter compared with stock SDK taps, dlt and bare threads"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">',
            f"<title>{described}</title>",
            f"<style>\n{_STYLE}\n</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _records_a_second(row: Row) -> float:
    return row.records / row.wall


def _bars(
    rows: Sequence[Row], figure: Callable[[Row], float], form: str, top: int
) -> Iterator[str]:
    order = list(TITLES)
    scale = (WIDTH - _LEFT - _RIGHT) / max((figure(row) for row in rows), default=1)
    # By concurrency, and within it always in the same order.
    ordered = sorted(rows, key=lambda row: (row.concurrency, order.index(row.contestant)))
    for y, row in zip(count(top, _ROW), ordered, strict=False):
        own = " own" if row.contestant == "tap" else ""
        width = max(1.0, figure(row) * scale)
        text = form.format(figure(row))
        label = f'<text class="label{own}" x="{_LEFT - 10}" y="{y + 12}" text-anchor="end">'
        yield f"{label}{escape(title(row.contestant, row.concurrency))}</text>"
        yield f'<rect class="bar{own}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}"/>'
        yield f'<text class="value{own}" x="{_LEFT + width + 6:.1f}" y="{y + 12}">{text}</text>'
