"""The chart of the README: two rows of bars, for light and dark pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from .aims import MANY
from .cases import TITLES, title

if TYPE_CHECKING:
    from collections.abc import Callable

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


class Bar(NamedTuple):
    """One bar."""

    label: str
    value: float
    text: str
    own: bool


def chart(results: Results) -> str:
    """Return the picture as SVG: what the slowest requests take, and how many records pass."""
    top = 0
    parts: list[str] = []
    for name, what, figure, form in (
        ("children-100ms", "seconds, less is better", lambda row: row.wall, "{:.1f} s"),
        (MANY, "records a second, more is better", _records_a_second, "{:,.0f}"),
    ):
        for facts in results.cases:
            if facts.name == name:
                rows = [row for row in results.rows if row.case == name and row.runs]
                bars = _bars(rows, figure, form)
                panel, height = _panel(f"{facts.title}: {what}", bars, top)
                parts += panel
                top += height
    described = "tap-partnercenter beside stock SDK taps, dlt and bare threads"
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


def _bars(rows: list[Row], figure: Callable[[Row], float], form: str) -> list[Bar]:
    order = list(TITLES)
    # By concurrency, and always in the same order.
    ordered = sorted(rows, key=lambda row: (row.concurrency, order.index(row.contestant)))
    return [
        Bar(
            title(row.contestant, row.concurrency),
            figure(row),
            form.format(figure(row)),
            row.contestant == "tap",
        )
        for row in ordered
    ]


def _panel(heading: str, bars: list[Bar], top: int) -> tuple[list[str], int]:
    scale = (WIDTH - _LEFT - _RIGHT) / max((bar.value for bar in bars), default=1)
    parts = [f'<text class="title" x="0" y="{top + 18}">{escape(heading)}</text>']
    for number, bar in enumerate(bars):
        y = top + 30 + number * _ROW
        own = " own" if bar.own else ""
        width = max(1.0, bar.value * scale)
        label = f'<text class="label{own}" x="{_LEFT - 10}" y="{y + 12}" text-anchor="end">'
        parts += [
            f"{label}{escape(bar.label)}</text>",
            f'<rect class="bar{own}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}"/>',
            f'<text class="value{own}" x="{_LEFT + width + 6:.1f}" y="{y + 12}">{bar.text}</text>',
        ]
    return parts, 30 + len(bars) * _ROW + 12
