"""The chart of the README: two rows of bars, for light and dark pages."""

from __future__ import annotations

from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from .aims import MANY_RECORDS
from .cases import TITLES, title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    titles = {facts.name: facts.title for facts in results.cases}
    for case, what, form, figure in (
        ("children-100ms", "seconds, less is better", "{:.1f} s", attrgetter("wall")),
        (MANY_RECORDS, "records a second, more is better", "{:,.0f}", attrgetter("throughput")),
    ):
        if case in titles:
            heading = escape(f"{titles[case]}: {what}")
            parts.append(f'<text class="title" x="0" y="{top + 18}">{heading}</text>')
            rows = [row for row in results.rows if row.case == case and row.runs]
            parts += _bars([(row, figure(row)) for row in rows], form, top + 30)
            top += 30 + len(rows) * _ROW + 12
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">',
            "<title>tap-partnercenter compared with stock SDK taps, dlt and bare threads</title>",
            f"<style>\n{_STYLE}\n</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _bars(figures: Sequence[tuple[Row, float]], form: str, top: int) -> Iterator[str]:
    scale = (WIDTH - _LEFT - _RIGHT) / max((figure for _, figure in figures), default=1)
    # By concurrency, and within it always in the same order.
    order = list(TITLES)
    ordered = sorted(figures, key=lambda bar: (bar[0].concurrency, order.index(bar[0].contestant)))
    for y, (row, figure) in zip(count(top, _ROW), ordered, strict=False):
        own = " own" if row.contestant == "tap" else ""
        width = max(1.0, figure * scale)
        label = f'<text class="label{own}" x="{_LEFT - 10}" y="{y + 12}" text-anchor="end">'
        yield f"{label}{escape(title(row.contestant, row.concurrency))}</text>"
        yield f'<rect class="bar{own}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}"/>'
        text = form.format(figure)
        yield f'<text class="value{own}" x="{_LEFT + width + 6:.1f}" y="{y + 12}">{text}</text>'
