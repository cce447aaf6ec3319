"""What is measured: the sizes, the delays, the contestants, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Name: TypeAlias = Literal["tap", "stock", "naive", "dlt", "floor"]
TITLES: dict[str, str] = {
    "tap": "tap-partnercenter",
    "stock": "stock SDK tap at its best",
    "naive": "stock SDK tap, naive",
    "dlt": "dlt, extracting only",
    "floor": "bare threads",
}
CHILDREN = ("customers", "customer_relationships", "reseller_customers")
#: Minutes of each run under a quota, one of them for learning it. Real ones: the tap uses minutes.
QUOTA_MINUTES = 4


def title(name: str, concurrency: int) -> str:
    """Return a contestant and its concurrency as shown in tables."""
    return TITLES[name] + (f", {concurrency} at once" if concurrency > 1 else "")


@dataclass(frozen=True)
class Entry:
    """A contestant in a case."""

    name: Name
    concurrency: int = 1
    #: Maximum number of rounds to take part in: some need minutes for one.
    most_rounds: int = 100


@dataclass(frozen=True, kw_only=True)
class Case:
    """An emulator, and what is read from it. `section` is the part of the page that shows it."""

    name: str
    section: str
    title: str
    entries: tuple[Entry, ...]
    rounds: int
    customers: int
    streams: tuple[str, ...] = ("customers",)
    resellers: int = 20
    #: Which resellers are partitions: a range of positions when ordered by size.
    partitions: tuple[int, int] = (0, 20)
    page_size: int = 500
    #: Seconds.
    latency: float = 0.0
    #: Requests per minute, 0 for no quota.
    quota: int = 0

    @property
    def options(self) -> list[str]:
        """The emulator's command line."""
        options = {
            "customers": self.customers,
            "resellers": self.resellers,
            "latency": self.latency,
            "requests-per-minute": self.quota,
            "request-log": 100_000 if self.quota else 0,
        }
        return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def cases(*, quick: bool = False) -> list[Case]:
    """Return all cases in the order of the page; quick ones are smaller and have no quota."""
    found = [
        _children(200 if quick else 2_000, 0),
        _children(200 if quick else 1_000, 100),
        _three_children(50 if quick else 500, 1 if quick else 3),
        Case(
            name="partitions",
            section="partitions",
            title="40 resellers of uneven size, answers after 100 ms",
            entries=(Entry("stock", most_rounds=2), *_at_once(16)),
            rounds=1 if quick else 3,
            customers=40_000 if quick else 100_000,
            streams=("reseller_customers",),
            resellers=120,
            # From the middle of the ranking: the pages of the largest one, which can only be read
            # sequentially, would take longer than all others together.
            partitions=(10, 50),
            page_size=100,
            latency=0.1,
        ),
        _records(1, 1 if quick else 5),
        _records(40_000 if quick else 200_000, 1 if quick else 5),
    ]
    if quick:
        return found
    return [*found, _records(1_000_000, 2, alone=True), _quota(500), _quota(3_000)]


def _at_once(*concurrencies: int) -> list[Entry]:
    return [Entry(name, number) for number in concurrencies for name in ("tap", "dlt", "floor")]


def _children(customers: int, milliseconds: int) -> Case:
    after = f"after {milliseconds} ms" if milliseconds else "at once"
    small = customers < 1_000  # noqa: PLR2004 - a quick look
    return Case(
        name=f"children-{milliseconds}ms",
        section="children",
        title=f"{customers:,} customers and their relationships, answers {after}",
        # With a delay each stock tap takes minutes; without one, more threads make no difference.
        entries=(
            Entry("stock", most_rounds=2 if milliseconds else 5),
            Entry("naive", most_rounds=1 if milliseconds else 2),
            *_at_once(*((8, 32) if milliseconds else (8,))),
        ),
        rounds=1 if small else (2 if milliseconds else 5),
        customers=customers,
        streams=CHILDREN,
        latency=milliseconds / 1000,
    )


def _three_children(customers: int, rounds: int) -> Case:
    return Case(
        name="three-children",
        section="siblings",
        title=f"{customers} customers and three streams of each, answers after 100 ms",
        # The other contestants read one of them.
        entries=(Entry("tap", 32), Entry("floor", 32)),
        rounds=rounds,
        customers=customers,
        streams=("customers", "customer_relationships", "subscriptions", "orders"),
        latency=0.1,
    )


def _records(customers: int, rounds: int, *, alone: bool = False) -> Case:
    # The case with one customer shows the cost of starting, so that the rest is per record.
    number = "1 customer" if customers == 1 else f"{customers:,} customers"
    others = (Entry("stock"), Entry("naive", most_rounds=2), *_at_once(8))
    return Case(
        name=f"records-{customers}",
        section="records",
        title=f"{number} and nothing else, answers at once",
        entries=(Entry("tap", 8),) if alone else others,
        rounds=rounds,
        customers=customers,
    )


def _quota(quota: int) -> Case:
    entries = [Entry("tap", 8), Entry("tap", 32), Entry("dlt", 8)]
    if quota == 500:  # noqa: PLR2004
        # It could not use up the larger one, since it waits for each response.
        entries.append(Entry("stock"))
    return Case(
        name=f"quota-{quota}",
        section="quota",
        title=f"{quota:,} requests a minute, refused ones included, for {QUOTA_MINUTES} minutes",
        entries=tuple(entries),
        rounds=1,
        customers=QUOTA_MINUTES * quota,
        streams=("customers", "customer_relationships"),
        latency=0.02,
        quota=quota,
    )
