"""Which runs are simulated, and what came out of them, as it is kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from partnercenter_benchmarks.cases import cases as measured_cases

from .model import Counting, Outcome, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The figures that the documentation shows.
KEPT = Path(__file__).resolve().parents[2] / "scale.json"
#: Customers of the large partner.
PARTNER = 500_000
#: Customers of a tenant that is read in a minute or two under the larger quota.
SMALL = 4_000
#: Requests a minute: the vendor's figure for the resource Customer, and what might be granted.
PUBLISHED, GRANTED = 500, 3_000
QUOTAS = {PUBLISHED: f"{PUBLISHED} a minute", GRANTED: f"{GRANTED:,} a minute", 0: "no quota"}
LATENCIES = (0.1, 0.3)
#: Values of full_refresh_days.
DAYS = (1, 3, 7, 30)
COUNTINGS: dict[Counting, str] = {
    "fixed_window": "in minutes that begin with a request",
    "sliding_window": "in any sixty seconds",
    "token_bucket": "by tokens that come back evenly",
}

#: Ways of counting under which shards of a small tenant meet, with the burst of a bucket.
WAYS: dict[tuple[Counting, int], str] = {
    ("fixed_window", 0): "minutes that begin with a request",
    ("sliding_window", 0): "any sixty seconds",
    ("token_bucket", 50): "tokens, 50 at once",
    ("token_bucket", 500): "tokens, 500 at once",
}


class Simulated(msgspec.Struct):
    """A scene, and what came out."""

    scene: Scene
    outcome: Outcome


class ScaleFigures(msgspec.Struct):
    """All of them."""

    simulated: list[Simulated]

    def of(self, scene: Scene) -> Outcome:
        """Return what came out of a scene."""
        return next(each.outcome for each in self.simulated if each.scene == scene)


def divisions() -> Iterator[list[Scene]]:
    """Yield the partner in more and more shards, each told its part of the quota or not.

    Each time the quota is counted in all ways, in the order of :data:`COUNTINGS`.
    """
    for shards, held in ((1, False), (4, False), (4, True), (16, False), (16, True)):
        ceiling = PUBLISHED // shards if held else 0
        yield [
            Scene(customers=PARTNER, shards=shards, ceiling=ceiling, counting=counting)
            for counting in COUNTINGS
        ]


def small_tenants() -> Iterator[list[Scene]]:
    """Yield a small tenant under the larger quota in more and more shards, counted in all ways."""
    for shards in (1, 2, 4, 10):
        yield [
            Scene(customers=SMALL, shards=shards, quota=GRANTED, counting=counting, burst=burst)
            for counting, burst in WAYS
        ]


def starts() -> Iterator[Scene]:
    """Yield the small tenant under the published quota, in shards that Airflow starts."""
    yield Scene(customers=SMALL)
    for shards, at_once in ((3, 2), (4, 3), (4, 2), (9, 4)):
        ceiling = PUBLISHED // at_once
        yield Scene(customers=SMALL, shards=shards, at_once=at_once, ceiling=ceiling)


def forms() -> Iterator[list[Scene]]:
    """Yield the partner in shards with some requests at once: at each quota each latency."""
    for shards, concurrency in ((1, 8), (1, 32), (4, 8), (16, 8)):
        form = Scene(customers=PARTNER, shards=shards, concurrency=concurrency)
        yield [
            msgspec.structs.replace(form, quota=quota, latency=latency)
            for quota in QUOTAS
            for latency in LATENCIES
        ]


def costs() -> Iterator[tuple[Scene, Scene]]:
    """Yield partners of several sizes in one process, under the published quota and under none."""
    for customers in (1_000, 10_000, 100_000, PARTNER):
        for relationships in (True, False):
            scene = Scene(customers=customers, relationships=relationships)
            yield scene, msgspec.structs.replace(scene, quota=0)


def nights() -> Iterator[tuple[int, int, list[Scene]]]:
    """Yield partners with the tenants that they are spread over, one of them by each setting."""
    for customers in (100_000, PARTNER):
        for tenants in (1, 5):
            yield customers, tenants, [Scene(customers=customers // tenants, days=n) for n in DAYS]


def also_measured() -> dict[tuple[str, int], Scene]:
    """Return what the tap has read from an emulator, by the measured case and the concurrency."""
    return {
        (case.name, entry.concurrency): Scene(
            customers=case.customers,
            quota=case.quota,
            latency=case.latency,
            concurrency=entry.concurrency,
            resellers="reseller_customers" in case.streams,
        )
        for case in measured_cases()
        for entry in case.entries
        if entry.name == "tap" and case.section in {"children", "quota"} and case.latency
    }


def scenes() -> list[Scene]:
    """Return all that the documentation shows, each once, the largest first."""
    turns = (scenes for *_, scenes in nights())
    groups = (
        *divisions(),
        *small_tenants(),
        starts(),
        *forms(),
        *costs(),
        *turns,
        also_measured().values(),
    )
    found = dict.fromkeys(scene for group in groups for scene in group)
    return sorted(found, key=lambda scene: -scene.customers)


def load(path: Path) -> ScaleFigures:
    """Read the figures."""
    return msgspec.json.decode(path.read_bytes(), type=ScaleFigures)
