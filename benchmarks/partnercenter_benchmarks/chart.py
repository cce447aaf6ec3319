"""The chart of the README: two rows of bars, for light and dark pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from .figures import spread
from .scenarios import TITLES, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from .results import CaseFacts, Results, Run
    from .scenarios import Name

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
    """Return the picture as SVG."""
    top = 0
    parts: list[str] = []
    children = _largest(results, "children")
    records = _largest(results, "records")
    for facts, what, figure, form in (
        (children, "seconds, less is better", lambda run: run.wall, "{:.1f} s"),
        (records, "records a second, more is better", _records_a_second, "{:,.0f}"),
    ):
        if facts is not None:
            bars = _bars(results, facts.name, figure, form)
            panel, height = _panel(f"{facts.title}: {what}", bars, top)
            parts += panel
            top += height
    title = "tap-partnercenter beside a stock SDK tap, dlt and bare threads"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">',
            f"<title>{title}</title>",
            f"<style>\n{_STYLE}\n</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _largest(results: Results, scenario: str) -> CaseFacts | None:
    """Return the case to show: 100 ms is what the aims speak of, and most records."""
    cases = [case for case in results.cases if case.scenario == scenario]
    cases = [case for case in cases if case.latency <= 0.1]  # noqa: PLR2004
    return max(cases, key=lambda case: (case.latency, sum(case.expected.values())), default=None)


def _records_a_second(run: Run) -> float:
    return run.record_count / run.wall


def _bars(results: Results, case: str, figure: Callable[[Run], float], form: str) -> list[Bar]:
    known: dict[str, Name] = {name: name for name in TITLES}
    groups: dict[Entry, list[float]] = {}
    for run in results.runs:
        if run.case == case and run.outcome == "ok":
            entry = Entry(known[run.contestant], run.concurrency)
            groups.setdefault(entry, []).append(figure(run))
    bars = []
    # By concurrency, and always in the same order.
    order = list(TITLES)
    for entry in sorted(groups, key=lambda each: (each.concurrency, order.index(each.name))):
        value = spread(groups[entry]).middle
        bars.append(Bar(entry.title, value, form.format(value), entry.name == "tap"))
    return bars


def _panel(title: str, bars: list[Bar], top: int) -> tuple[list[str], int]:
    scale = (WIDTH - _LEFT - _RIGHT) / max((bar.value for bar in bars), default=1)
    parts = [f'<text class="title" x="0" y="{top + 18}">{escape(title)}</text>']
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
