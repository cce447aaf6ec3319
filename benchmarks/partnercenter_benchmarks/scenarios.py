"""What is measured: the sizes, the delays, who takes part, how often."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Name: TypeAlias = Literal["tap", "stock", "dlt", "floor"]
TITLES: dict[Name, str] = {
    "tap": "tap-partnercenter",
    "stock": "stock singer-sdk tap",
    "dlt": "dlt, extracting only",
    "floor": "bare threads",
}

CHILDREN = ("customers", "customer_relationships", "reseller_customers")
QUOTA_STREAMS = ("customers", "customer_relationships")
#: Seconds for which the service counts. Not shortened: the tap knows that it counts in minutes.
WINDOW = 60.0
#: How often the stock tap reads children, by milliseconds: minutes each time.
_SLOW_ROUNDS = {0: 100, 50: 1, 100: 2, 150: 1}


@dataclass(frozen=True)
class Entry:
    """A contestant in a case."""

    name: Name
    concurrency: int = 1
    #: Takes part in so many rounds at most: some need minutes for one.
    most_rounds: int = 100

    @property
    def title(self) -> str:
        """The contestant and its concurrency, as tables show it."""
        return TITLES[self.name] + (f", {self.concurrency} at once" if self.concurrency > 1 else "")


@dataclass(frozen=True)
class Case:
    """One emulator, and what is read from it."""

    name: str
    title: str
    streams: tuple[str, ...]
    entries: tuple[Entry, ...]
    customers: int
    resellers: int = 20
    #: Which resellers, by size, are partitions.
    partitions: slice = field(default_factory=lambda: slice(0, 0))
    page_size: int = 500
    latency: float = 0.0
    #: Requests in a minute; 0 for no quota.
    quota: int = 0
    #: Rounds at most, for everybody.
    most_rounds: int = 100

    @property
    def options(self) -> list[str]:
        """The emulator's command line."""
        options = {
            "customers": self.customers,
            "resellers": self.resellers,
            "latency": self.latency,
            "request-log": 100_000 if self.quota else 0,
        }
        if self.quota:
            options |= {"requests-per-minute": self.quota}
        return [text for name, value in options.items() for text in (f"--{name}", str(value))]


@dataclass(frozen=True)
class Scenario:
    """Cases that answer one question."""

    name: str
    title: str
    cases: tuple[Case, ...]

    def only(self, names: Sequence[str]) -> Scenario:
        """Return it with the cases that are named, by their own names or the scenario's."""
        wanted = tuple(case for case in self.cases if {self.name, case.name} & {*names})
        return replace(self, cases=wanted)


def scenarios(*, quick: bool) -> list[Scenario]:
    """Return all of them, in order. Quick ones are smaller, and fewer."""
    return [
        Scenario("children", "A request for each customer", _children(quick=quick)),
        Scenario("partitions", "40 partitions of uneven size", _partitions(quick=quick)),
        Scenario("records", "Records only", _records(quick=quick)),
        Scenario("quota", "A quota that the client does not know", _quota(quick=quick)),
        Scenario("memory", "Peak memory", _memory(quick=quick)),
    ]


def _entries(*concurrencies: int, slow_rounds: int = 100) -> tuple[Entry, ...]:
    return (
        Entry("stock", most_rounds=slow_rounds),
        *(
            Entry(name, concurrency)
            for concurrency in concurrencies
            for name in ("tap", "dlt", "floor")
        ),
    )


def _children(*, quick: bool) -> tuple[Case, ...]:
    customers = 200 if quick else 2_000
    latencies = (0, 100) if quick else (0, 50, 100, 150)
    return tuple(
        Case(
            name=f"children-{latency}ms",
            title=(
                f"{customers:,} customers and their relationships, answers "
                + (f"after {latency} ms" if latency else "at once")
            ),
            streams=CHILDREN,
            entries=_entries(8, 32, slow_rounds=_SLOW_ROUNDS[latency]),
            customers=customers,
            partitions=slice(0, 20),
            latency=latency / 1000,
            # The aims speak of the others.
            most_rounds=2 if latency in {50, 150} else 100,
        )
        for latency in latencies
    )


def _partitions(*, quick: bool) -> tuple[Case, ...]:
    # From the middle of the ranking: with the largest among them, that one's pages, which can only
    # be read one after the other, would take longer than all others together.
    return (
        Case(
            name="partitions",
            title="40 resellers of uneven size, answers after 100 ms",
            streams=("reseller_customers",),
            entries=_entries(16, slow_rounds=3),
            customers=40_000 if quick else 100_000,
            resellers=120,
            partitions=slice(10, 50),
            page_size=100,
            latency=0.1,
        ),
    )


def _records(*, quick: bool) -> tuple[Case, ...]:
    return tuple(
        Case(
            name=f"records-{customers}",
            title=f"{_customers(customers)} and nothing else, answers at once",
            streams=("customers",),
            entries=_entries(8),
            customers=customers,
        )
        # The first shows what starting costs, so that the rest can be divided by the records.
        for customers in ((1, 40_000) if quick else (1, 200_000))
    )


def _quota(*, quick: bool) -> tuple[Case, ...]:
    minutes = 3 if quick else 4
    cases = []
    for quota in (3_000,) if quick else (500, 3_000):
        entries = (
            Entry("tap", 8, 2),
            *(() if quick else (Entry("tap", 32, 2), Entry("dlt", 8, 1))),
        )
        if quota == 500:  # noqa: PLR2004
            # A larger run of it would be slow for another reason: its state.
            entries = (*entries, Entry("stock", 1, 1))
        cases.append(
            Case(
                name=f"quota-{quota}",
                title=f"{quota:,} requests a minute, refused ones included, for {minutes} minutes",
                streams=QUOTA_STREAMS,
                entries=entries,
                customers=minutes * quota,
                latency=0.02,
                quota=quota,
            )
        )
    return tuple(cases)


def _memory(*, quick: bool) -> tuple[Case, ...]:
    return tuple(
        Case(
            name=f"memory-{customers}",
            title=f"{_customers(customers)} and nothing else, answers at once",
            streams=("customers",),
            entries=(
                Entry("tap", 8, 2),
                *(() if quick else (Entry("floor", 8, 2), Entry("stock", most_rounds=1))),
            ),
            customers=customers,
        )
        for customers in ((10_000, 100_000) if quick else (10_000, 1_000_000))
    )


def _customers(number: int) -> str:
    return "1 customer" if number == 1 else f"{number:,} customers"
