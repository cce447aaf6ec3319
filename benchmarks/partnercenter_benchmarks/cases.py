"""What is measured: the sizes, the delays, the contestants, and how often."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from .results import CaseFacts

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


class Entry(Struct, frozen=True):
    """A contestant in a case."""

    name: Name
    concurrency: int = 1
    #: Maximum number of rounds to take part in: some need minutes for one.
    most_rounds: int = 100


class Case(CaseFacts, kw_only=True):
    """An emulator, and what is read from it."""

    entries: tuple[Entry, ...]
    rounds: int = 1
    streams: tuple[str, ...] = ("customers",)
    resellers: int = 20
    #: Which resellers are partitions: a range of positions when ordered by size.
    partitions: tuple[int, int] = (0, 20)
    page_size: int = 500

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


def _at_once(*concurrencies: int) -> list[Entry]:
    return [Entry(name, number) for number in concurrencies for name in ("tap", "dlt", "floor")]


def _quota(quota: int, *entries: Entry) -> Case:
    return Case(
        name=f"quota-{quota}",
        section="quota",
        title=f"{quota:,} requests a minute, refused ones included, for {QUOTA_MINUTES} minutes",
        entries=(Entry("tap", 8), Entry("tap", 32), Entry("dlt", 8), *entries),
        customers=QUOTA_MINUTES * quota,
        streams=("customers", "customer_relationships"),
        latency=0.02,
        quota=quota,
    )


def _records(who: str, customers: int, *entries: Entry) -> Case:
    return Case(
        name=f"records-{customers}",
        section="records",
        title=f"{who} and nothing else, answers at once",
        entries=entries,
        rounds=5,
        customers=customers,
    )


#: Without a delay, more threads make no difference.
_READERS = (Entry("stock"), Entry("naive", most_rounds=2), *_at_once(8))
#: In the order of the page; `{}` in a title stands for the number of customers.
_CASES = (
    Case(
        name="children-0ms",
        section="children",
        title="{} customers and their relationships, answers at once",
        entries=_READERS,
        rounds=5,
        customers=2_000,
        streams=CHILDREN,
    ),
    Case(
        name="children-100ms",
        section="children",
        title="{} customers and their relationships, answers after 100 ms",
        # Each stock tap takes minutes.
        entries=(Entry("stock"), Entry("naive", most_rounds=1), *_at_once(8, 32)),
        rounds=2,
        customers=1_000,
        streams=CHILDREN,
        latency=0.1,
    ),
    Case(
        name="three-children",
        section="siblings",
        title="{} customers and three streams of each, answers after 100 ms",
        # The other contestants read one of them.
        entries=(Entry("tap", 32), Entry("floor", 32)),
        rounds=3,
        customers=500,
        streams=("customers", "customer_relationships", "subscriptions", "orders"),
        latency=0.1,
    ),
    Case(
        name="partitions",
        section="partitions",
        title="40 resellers of uneven size, answers after 100 ms",
        entries=(Entry("stock", most_rounds=2), *_at_once(16)),
        rounds=3,
        customers=100_000,
        streams=("reseller_customers",),
        resellers=120,
        # From the middle of the ranking: the pages of the largest one, which can only be read
        # sequentially, would take longer than all others together.
        partitions=(10, 50),
        page_size=100,
        latency=0.1,
    ),
    # Shows the cost of starting, so that the rest of the next case is per record.
    _records("{} customer", 1, *_READERS),
    _records("{} customers", 200_000, *_READERS),
    _records("{} customers", 1_000_000, Entry("tap", 8, most_rounds=2)),
    # The stock tap could not use up the larger quota, since it waits for each response.
    _quota(500, Entry("stock")),
    _quota(3_000),
)


def cases(*, quick: bool = False) -> list[Case]:
    """Return all cases; for a quick look, one round of a tenth of those that take seconds."""
    found = list(_CASES)
    if quick:
        found = [
            replace(case, customers=max(1, case.customers // 10), rounds=1)
            for case in _CASES
            if not case.quota and case.customers < 1_000_000  # noqa: PLR2004 - too many for a look
        ]
    return [replace(case, title=case.title.format(f"{case.customers:,}")) for case in found]
