"""The aims, and how far they were reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .results import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .results import Results, Row

#: The cases for the cost of one more record, and those whose peaks are compared.
ONE, MANY, MOST = "records-1", "records-200000", "records-1000000"
_STOCK, _THREADS = "speed, times that of the stock tap at its best", "speed, times bare threads'"


class Aim(NamedTuple):
    """What the tap should reach in a case."""

    case: str
    concurrency: int
    what: str
    figure: Callable[[Results, Row], Spread | float | None]
    #: How the figure and its bound are formatted.
    form: str
    least: float | None = None
    most: float | None = None

    @property
    def wanted(self) -> str:
        """The bound, in words."""
        if self.least is not None:
            return f"at least {self.least:{self.form}}"
        return f"at most {self.most:{self.form}}" if self.most else "none"

    def met(self, figure: Spread) -> bool:
        """Return whether the median is within the bound."""
        if self.least is not None:
            return figure.middle >= self.least
        return self.most is None or figure.middle <= self.most


def _speeds(
    case: str, concurrency: int, stock: float | None, threads: float | None
) -> Iterator[Aim]:
    if stock is not None:
        yield Aim(case, concurrency, _STOCK, lambda _, row: row.times_stock, ".2f", least=stock)
    if threads is not None:
        yield Aim(case, concurrency, _THREADS, lambda _, row: row.times_floor, ".2f", least=threads)


def _quota(case: str, concurrency: int) -> Iterator[Aim]:
    early = "too early after a refusal"
    yield Aim(case, concurrency, "quota used", lambda _, row: row.quota_used, ".1%", least=0.95)
    yield Aim(case, concurrency, "refused", _refused, ".2%", most=0.01)
    yield Aim(case, concurrency, early, lambda _, row: row.too_early, ".0f", most=0)


def _refused(_: Results, row: Row) -> float:
    return row.refused / row.requests


def _cost(results: Results, _: Row) -> float | None:
    return marginal(results, "tap")


def _growth(results: Results, row: Row) -> float | None:
    fewer = results.row(MANY, "tap")
    return row.memory / fewer.memory if fewer else None


#: For each case and concurrency of the tap that the page shows.
AIMS = (
    *_speeds("children-0ms", 8, stock=1.75, threads=0.7),
    *_speeds("children-100ms", 8, stock=7.5, threads=0.92),
    *_speeds("children-100ms", 32, stock=25, threads=0.92),
    *_speeds("three-children", 32, stock=None, threads=0.9),
    *_speeds("partitions", 16, stock=8, threads=0.8),
    # The cost of starting; the bare threads have no SDK.
    *_speeds(ONE, 8, stock=0.8, threads=None),
    *_speeds(MANY, 8, stock=3.5, threads=0.7),
    Aim(MANY, 8, "processor time of one more record, µs", _cost, ".1f", most=12),
    Aim(
        MOST, 8, "peak memory, times that with a fifth of the customers", _growth, ".2f", most=1.15
    ),
    *(aim for quota in (500, 3000) for level in (8, 32) for aim in _quota(f"quota-{quota}", level)),
)


def reached(results: Results) -> Iterator[tuple[Aim, Spread]]:
    """Yield the aims that have figures, with those figures."""
    for aim in AIMS:
        row = results.row(aim.case, "tap", aim.concurrency)
        figure = aim.figure(results, row) if row else None
        if isinstance(figure, Spread):
            yield aim, figure
        elif figure is not None:
            yield aim, Spread(figure, figure, figure)


def marginal(results: Results, contestant: str) -> float | None:
    """Return the microseconds per additional record: many records compared with a single one."""
    one, many = results.row(ONE, contestant), results.row(MANY, contestant)
    if one is None or many is None:
        return None
    return (many.cpu - one.cpu) / (many.records - one.records) * 1e6


def between(spread: Spread, form: str) -> str:
    """Format a median with minimum and maximum, unless they are the same."""
    middle, least, most = (format(figure, form) for figure in spread)
    return middle if least == most else f"{middle} ({least} to {most})"
