"""Which runs are simulated, and what came out of them, as it is kept on disk."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from .scale_model import Counting, Outcome, Scene, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: Requests a minute for each tenant: the vendor's figure for the resource Customer.
PUBLISHED = 500
#: A quota that the vendor might grant.
GRANTED = 3_000
LATENCIES = (0.1, 0.2, 0.3)
SHARDS = (1, 4, 16)
TENANTS = (1, 5)
COUNTINGS: dict[Counting, str] = {
    "fixed_window": "in minutes that begin with a request",
    "sliding_window": "in any sixty seconds",
    "token_bucket": "by tokens that come back evenly",
}


class Sizes(msgspec.Struct, frozen=True):
    """How many customers the scenes have."""

    #: Of the whole partner, over all its tenants.
    partner: int = 500_000
    #: Where ways of counting are compared.
    counted: int = 50_000
    #: Partners whose runs are costed.
    costed: tuple[int, ...] = (1_000, 10_000, 100_000, 500_000)


FULL = Sizes()
QUICK = Sizes(5_000, 2_000, (1_000, 5_000))


class Case(msgspec.Struct, frozen=True):
    """A partner with equal tenants, each with a quota of its own; the scene is the first one's."""

    scene: Scene
    tenants: int = 1

    @property
    def scenes(self) -> Iterator[Scene]:
        """One for each tenant, none like the other."""
        for number in range(self.tenants):
            yield msgspec.structs.replace(self.scene, seed=self.scene.seed + number)


class Simulated(msgspec.Struct):
    """A case, and what came out."""

    case: Case
    outcome: Outcome


class ScaleFigures(msgspec.Struct):
    """All of them."""

    sizes: Sizes
    simulated: list[Simulated]

    def of(self, case: Case) -> Outcome:
        """Return what came out of a case."""
        return next(each.outcome for each in self.simulated if each.case == case)


def partner(sizes: Sizes, shards: int, tenants: int, *, held: bool = False) -> Case:
    """Split the partner's customers over tenants and shards, under the published quota.

    Args:
        sizes: How many there are.
        shards: Of each tenant.
        tenants: With a quota each.
        held: Whether each shard is told its part of the quota.
    """
    customers = sizes.partner // tenants
    ceiling = PUBLISHED // shards if held else 0
    return Case(Scene(customers=customers, shards=shards, ceiling=ceiling), tenants)


def partners(sizes: Sizes) -> list[Case]:
    """Return all numbers of tenants and shards, the shards with and without a ceiling."""
    return [
        partner(sizes, shards, tenants, held=held)
        for tenants in TENANTS
        for shards in SHARDS
        for held in ((False, True) if shards > 1 else (False,))
    ]


#: Shards of one tenant, and the requests that each has under way.
FORMS = ((1, 8), (1, 32), (4, 8), (16, 8))


def form(sizes: Sizes, shards: int, concurrency: int, quota: int, latency: float) -> Case:
    """Read the partner as one tenant, under some quota and at some latency."""
    return Case(
        Scene(
            customers=sizes.partner,
            shards=shards,
            concurrency=concurrency,
            quota=quota,
            latency=latency,
        )
    )


#: Shards, and whether each is told its part of the quota.
DIVISIONS = ((1, False), (4, False), (16, False), (16, True))


def counted(sizes: Sizes, shards: int, counting: Counting, *, held: bool) -> Case:
    """Read a tenant whose quota is counted in one of several ways."""
    ceiling = PUBLISHED // shards if held else 0
    return Case(Scene(customers=sizes.counted, shards=shards, counting=counting, ceiling=ceiling))


def costed(customers: int, *, relationships: bool, quota: int) -> Case:
    """Read a partner of some size in one process."""
    return Case(Scene(customers=customers, relationships=relationships, quota=quota))


def cases(sizes: Sizes) -> list[Case]:
    """Return all cases that the documentation shows, each once."""
    found = [
        *partners(sizes),
        *(
            form(sizes, *each, quota, latency)
            for each in FORMS
            for quota in (PUBLISHED, GRANTED, 0)
            for latency in LATENCIES
        ),
        *(
            counted(sizes, shards, counting, held=held)
            for counting in COUNTINGS
            for shards, held in DIVISIONS
        ),
        *(
            costed(customers, relationships=relationships, quota=quota)
            for customers in sizes.costed
            for relationships in (True, False)
            for quota in (PUBLISHED, 0)
        ),
    ]
    return list(dict.fromkeys(found))


def run(sizes: Sizes) -> Iterator[Simulated]:
    """Simulate all cases, on all processors."""
    # The largest first, so that no processor is left with one at the end.
    ordered = sorted(cases(sizes), key=lambda case: -case.tenants * case.scene.customers)
    # Not by fork: who calls this may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=context) as pool:
        parts = pool.map(simulate, [scene for case in ordered for scene in case.scenes])
        for case in ordered:
            yield Simulated(case, together([next(parts) for _ in case.scenes]))


def together(tenants: Iterable[Outcome]) -> Outcome:
    """Sum up the runs of several tenants, which run beside each other."""
    whole = Outcome()
    for each in tenants:
        whole.seconds = max(whole.seconds, each.seconds)
        whole.patience = max(whole.patience, each.patience)
        whole.lists += each.lists
        whole.partitions += each.partitions
        whole.relationships += each.relationships
        whole.refused += each.refused
        whole.failed += each.failed
    return whole


def load(path: Path) -> ScaleFigures:
    """Read the figures."""
    return msgspec.json.decode(path.read_bytes(), type=ScaleFigures)


def save(figures: ScaleFigures, path: Path) -> None:
    """Write the figures, in an order that does not depend on which was ready first."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
