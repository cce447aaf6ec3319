"""The aims, and how far they were reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from .results import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .results import Results, Row

#: The cases for the cost of one more record, and those whose peaks are compared.
ONE_RECORD, MANY_RECORDS, MOST_RECORDS = "records-1", "records-200000", "records-1000000"


class Figure(NamedTuple):
    """Something that has an aim."""

    what: str
    of: Callable[[Results, Row], Spread | float | None]
    #: How it and its bound are formatted.
    form: str
    side: Literal["least", "most"] = "least"


class Aim(NamedTuple):
    """What the tap should reach in a case."""

    case: str
    concurrency: int
    figure: Figure
    bound: float

    @property
    def wanted(self) -> str:
        """The bound, in words."""
        return f"at {self.figure.side} {self.bound:{self.figure.form}}"

    def is_met(self, found: Spread) -> bool:
        """Return whether the median is within the bound."""
        if self.figure.side == "least":
            return found.middle >= self.bound
        return found.middle <= self.bound


def marginal(results: Results, contestant: str) -> float | None:
    """Return the microseconds per additional record: many records compared with a single one."""
    one, many = results.row(ONE_RECORD, contestant), results.row(MANY_RECORDS, contestant)
    if one is None or many is None:
        return None
    return (many.cpu - one.cpu) / (many.records - one.records) * 1e6


def _growth(results: Results, row: Row) -> float | None:
    fewer = results.row(MANY_RECORDS, "tap")
    return row.memory / fewer.memory if fewer else None


_STOCK = Figure("speed, times the stock tap's at its best", lambda _, row: row.times_stock, ".2f")
_THREADS = Figure("speed, times bare threads'", lambda _, row: row.times_floor, ".2f")
_READING = Figure("the same, first request to last", lambda _, row: row.times_floor_reading, ".2f")
_COST = Figure(
    "processor µs of one more record", lambda all_, _: marginal(all_, "tap"), ".1f", "most"
)
_GROWTH = Figure("peak memory, times that with a fifth of the customers", _growth, ".2f", "most")
_USED = Figure("quota used", lambda _, row: row.quota_used, ".1%")
_REFUSED = Figure("refused", lambda _, row: row.refused / row.requests, ".2%", "most")
_EARLY = Figure("too early after a refusal", lambda _, row: row.too_early, ".0f", "most")

#: For each case and concurrency of the tap that the page shows.
AIMS = (
    Aim("children-0ms", 8, _STOCK, 1.75),
    Aim("children-0ms", 8, _THREADS, 0.7),
    Aim("children-100ms", 8, _STOCK, 7.5),
    Aim("children-100ms", 8, _THREADS, 0.92),
    Aim("children-100ms", 8, _READING, 0.92),
    Aim("children-100ms", 32, _STOCK, 25),
    Aim("children-100ms", 32, _THREADS, 0.92),
    Aim("children-100ms", 32, _READING, 0.92),
    Aim("three-children", 32, _THREADS, 0.9),
    Aim("three-children", 32, _READING, 0.9),
    Aim("partitions", 16, _STOCK, 8),
    Aim("partitions", 16, _THREADS, 0.8),
    # The cost of starting; the bare threads have no SDK.
    Aim(ONE_RECORD, 8, _STOCK, 0.8),
    Aim(MANY_RECORDS, 8, _STOCK, 3.5),
    Aim(MANY_RECORDS, 8, _THREADS, 0.7),
    Aim(MANY_RECORDS, 8, _COST, 12),
    Aim(MOST_RECORDS, 8, _GROWTH, 1.15),
    *(
        Aim(f"quota-{quota}", concurrency, figure, bound)
        for quota in (500, 3000)
        for concurrency in (8, 32)
        for figure, bound in ((_USED, 0.95), (_REFUSED, 0.01), (_EARLY, 0))
    ),
)


def reached(results: Results) -> Iterator[tuple[Aim, Spread]]:
    """Yield the aims that have figures, with those figures."""
    for aim in AIMS:
        row = results.row(aim.case, "tap", aim.concurrency)
        found = aim.figure.of(results, row) if row else None
        if found is not None:
            yield aim, found if isinstance(found, Spread) else Spread(found, found, found)
