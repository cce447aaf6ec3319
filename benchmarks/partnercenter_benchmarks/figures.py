"""Medians, spreads, and ratios of runs that stood side by side."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .results import Run


class Spread(NamedTuple):
    """A median with the least and the most."""

    middle: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread:
    """Return the median, the least and the most of some values."""
    found = sorted(values)
    return Spread(median(found), found[0], found[-1])


def pairwise(
    above: Sequence[Run],
    below: Sequence[Run],
    figure: Callable[[Run], float],
) -> Spread | None:
    """Divide one contestant's figure by another's, round by round, and return the ratios' spread.

    A machine that is slower for a while is slower for both halves of a pair. Without a round in
    which both ran well there is nothing to divide.
    """
    others = {run.round: figure(run) for run in below if run.outcome == "ok"}
    ratios = [
        figure(run) / others[run.round]
        for run in above
        if run.outcome == "ok" and others.get(run.round)
    ]
    return spread(ratios) if ratios else None


def quota_used(arrivals: Sequence[tuple[float, bool]], quota: int, window: float) -> float | None:
    """Return which share of a quota was used from the second window on.

    Args:
        arrivals: When each request came, and whether it was let pass.
        quota: Requests in one window.
        window: Its length.

    Returns:
        The share, of whole windows only; None where there is no second whole window.
    """
    if not arrivals:
        return None
    first = min(at for at, _ in arrivals)
    whole = int((max(at for at, _ in arrivals) - first) / window)
    if whole <= 1:
        return None
    passed = sum(1 for at, let in arrivals if let and window <= at - first < whole * window)
    return passed / (quota * (whole - 1))
