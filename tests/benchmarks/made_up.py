"""Results that nobody measured."""

from __future__ import annotations

from typing import Any

from partnercenter_benchmarks.results import CaseFacts, Ceiling, Profile, Results, Run


def run(
    contestant: str = "tap",
    *,
    case: str = "children-100ms",
    concurrency: int = 8,
    number: int = 1,
    wall: float = 1.0,
    **figures: Any,
) -> Run:
    """A run with the figures that matter to a test."""
    made = Run(
        case=case,
        contestant=contestant,
        concurrency=1 if contestant == "stock" else concurrency,
        round=number,
        outcome="ok",
        wall=wall,
        user=0.5,
        system=0.25,
        rss=50_000_000,
        records={"customers": 100},
        requests=100,
    )
    for name, value in figures.items():
        setattr(made, name, value)
    return made


def facts(name: str, scenario: str, customers: int = 100, **more: Any) -> CaseFacts:
    """A case of 100 customers."""
    made = CaseFacts(
        name=name,
        scenario=scenario,
        title=f"The case {name}",
        expected={"customers": customers},
        latency=0.1,
        page_size=500,
        date="2026-11-20",
        seconds=90.0,
    )
    for key, value in more.items():
        setattr(made, key, value)
    return made


def session() -> Results:
    """A session in which every scenario was measured."""
    return Results(
        python="3.11.7",
        platform="Linux x86_64",
        processors=2,
        versions={"tap-partnercenter": "0.1.0"},
        quick=False,
        ceiling=Ceiling(
            requests_per_second=1_000,
            customers_per_second=100_000,
            possible_requests_per_second=9_000,
            possible_customers_per_second=300_000,
        ),
        cases=[
            facts("children-100ms", "children"),
            facts("partitions", "partitions"),
            facts("records-1", "records", customers=1),
            facts("records-200000", "records", customers=200_000),
            facts("quota-500", "quota", quota=100),
            facts("memory-10000", "memory", customers=10_000),
            facts("memory-1000000", "memory", customers=1_000_000),
        ],
        runs=[
            run("stock", wall=80.0),
            run("stock", number=2, wall=160.0),
            run(wall=4.0),
            run(number=2, wall=10.0),
            run("floor", wall=3.8),
            run("floor", number=2, wall=9.0),
            run(case="partitions", concurrency=16, wall=2.0),
            run("stock", case="partitions", wall=20.0),
            run(case="records-1", user=0.5),
            run(case="records-200000", user=2.5),
            run("stock", case="records-200000", wall=9.0),
            run(case="quota-500", refused=1, quota_used=0.97),
            run("dlt", case="quota-500", outcome="failed", refused=60, detail="exit code 1"),
            run(case="memory-10000"),
            run(case="memory-1000000", rss=51_000_000),
        ],
        profiles=[
            Profile(
                case="children-100ms",
                samples=200,
                owners={"the tap": 0.75, "HTTP client": 0.25},
                functions={"fit (tap_partnercenter/records.py)": 0.5},
            )
        ],
    )
