"""Invented results."""

from __future__ import annotations

from typing import Any

from msgspec import convert
from msgspec.structs import replace

from partnercenter_benchmarks.cases import cases
from partnercenter_benchmarks.results import CaseFacts, Results, Run, summarize


def run(
    contestant: str = "tap",
    *,
    case: str = "children-100ms",
    concurrency: int = 8,
    number: int = 0,
    wall: float = 1.0,
    **figures: Any,
) -> Run:
    """A run with the figures that a test needs."""
    usual = {"cpu": 0.75, "memory": 50e6, "records": 100, "requests": 100}
    return Run(
        case=case,
        contestant=contestant,
        concurrency=1 if contestant in {"stock", "naive"} else concurrency,
        round=number,
        wall=wall,
        **(usual | figures),
    )


def session(*more: Run) -> Results:
    """A session with measurements for every kind of case."""
    runs = [
        *(run("stock", wall=80.0), run("stock", number=1, wall=160.0)),
        *(run(wall=4.0, reading=3.5), run(number=1, wall=10.0, reading=9.5)),
        *(run("floor", wall=3.8, reading=3.5), run("floor", number=1, wall=9.0, reading=8.55)),
        *(run(case="records-1", records=1), run("stock", case="records-1", wall=0.9)),
        run(case="records-200000", cpu=2.75, records=200_001, wall=2.0),
        run("stock", case="records-200000", records=200_001, wall=9.0),
        run(case="records-1000000", memory=51e6),
        run(case="quota-500", refused=1, quota_used=0.97),
        run("dlt", case="quota-500", outcome="failed", refused=60, detail="exit code 1"),
        *more,
    ]
    names = {each.case for each in runs}
    measured = [case for case in cases() if case.name in names]
    return Results(
        python="3.11.7",
        platform="Linux x86_64",
        processors=2,
        versions={"tap-partnercenter": "0.1.0"},
        cases=[
            convert(replace(case, title=f"The case {case.name}"), CaseFacts, from_attributes=True)
            for case in measured
        ],
        rows=[
            row
            for case in measured
            for row in summarize([each for each in runs if each.case == case.name])
        ],
    )
