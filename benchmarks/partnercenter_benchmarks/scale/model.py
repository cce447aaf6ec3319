"""Runs of many shards against one quota, as discrete events on a virtual clock.

What decides the time is not modelled but used: the tap's :class:`Pace` holds requests back, and the
emulator's :class:`Quota` refuses them. Around them stands what a run does with both:

- A shard is one process of the tap. It reads the whole list of customers, page after page, and the
  relationships of its own customers; then the list of resellers, and the customers of its own
  resellers. It knows nothing of the other shards.
- A free thread takes what has waited longest, and a stream begins when the one before is over. The
  tap's takes the earliest source, and begins the next stream while threads are idle. That makes
  seconds at the end of a stream.
- An answer takes between half and one and a half times the mean latency. A refusal takes as long,
  although a gateway may be quicker: meanwhile more requests run into it.
- The service counts a request when it is sent, and names whole seconds with a refusal, rounded up.

The time that a processor needs, sign-in and the target are left out.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from partnercenter_emulator import Options
from partnercenter_emulator.data import GeneratedPopulation
from partnercenter_emulator.quota import Quota
from tap_partnercenter.pacing import CREDIT, Pace, Ticket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Counting: TypeAlias = Literal["fixed_window", "sliding_window", "token_bucket"]

#: Customers in a page: the most that the service sends.
PAGE_SIZE = 500
#: Customers for each reseller: the ratio of the emulator's own defaults.
CUSTOMERS_OF_A_RESELLER = 250
#: Seconds within which all shards begin.
STAGGER = 10.0
#: Seconds after which a request is given up: the default of max_retry_seconds.
MAX_RETRY_SECONDS = 900.0
#: Customers whom the audit records of a day name, and records in a day, for each customer: assumed.
CHANGED, RECORDED = 0.02, 0.05
#: Days of the audit log that a night reads, and those it acts on: yesterday, and today until three.
AUDITED, ACTED_ON = 4, 1.125


class Scenario(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One partner tenant, and the shards that read it."""

    customers: int
    shards: int = 1
    #: Requests in a minute, 0 for no quota.
    quota: int = 500
    counting: Counting = "fixed_window"
    #: Requests that a bucket of tokens lets through at once, 0 for those of a minute.
    burst: int = 0
    #: Slots, where the shards are started as the Airflow DAG does it: the first shard alone, with
    #: the ceilings of all slots, then the others as slots are free. 0: all within some seconds.
    at_once: int = 0
    #: Seconds, on average.
    latency: float = 0.2
    #: Concurrent requests of one shard.
    concurrency: int = 8
    #: The setting max_requests_per_minute of each shard, 0 for none.
    ceiling: int = 0
    #: Whether `customer_relationships` is selected.
    relationships: bool = True
    #: Whether the streams of resellers are.
    resellers: bool = True
    #: The setting full_refresh_days: a usual night, the one before was complete.
    days: int = 1
    seed: int = 1


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The outcome of a run: requests by kind, and seconds until the last response."""

    seconds: float = 0.0
    #: Answered ones for pages of all customers, or for the resellers.
    lists: int = 0
    #: Answered ones for pages of one reseller's customers.
    partitions: int = 0
    #: Answered ones for one customer's relationships.
    relationships: int = 0
    refused: int = 0
    #: Longest time from a request's first attempt to the end of the pause after its last refusal.
    patience: float = 0.0
    #: Shards that gave up on a request, and failed.
    failed: int = 0

    @property
    def answered(self) -> int:
        """Requests that were not refused."""
        return self.lists + self.partitions + self.relationships

    @property
    def requests(self) -> int:
        """All of them."""
        return self.answered + self.refused

    @property
    def refused_share(self) -> float:
        """Part of the requests that was refused."""
        return self.refused / self.requests


class Collection:
    """A collection that a shard reads, piece by piece, each by a request."""

    __slots__ = ("children", "customer", "first_sent", "kind", "left")

    def __init__(
        self,
        kind: Literal["lists", "partitions", "relationships"],
        pieces: int = 1,
        *,
        customer: int = -1,
        children: Iterable[Sequence[int]] = (),
    ) -> None:
        """Name it.

        Args:
            kind: Which figure of :class:`Outcome` counts it.
            pieces: Its pages.
            customer: Whose relationships they are, by number.
            children: The customers of each page whose relationships are wanted.
        """
        self.kind = kind
        self.customer = customer
        self.left = pieces
        self.children = iter(children)
        self.first_sent: float | None = None


class Service:
    """The tenant's side: its quota, and what it has answered."""

    def __init__(self, scenario: Scenario) -> None:
        options = Options(
            requests_per_minute=scenario.quota,
            quota_model=scenario.counting,
            burst=scenario.burst,
        )
        self._quota = Quota(options)
        self.outcome = Outcome()

    def ask(self, now: float, collection: Collection) -> float | None:
        """Count a request; return None, or the seconds of its Retry-After."""
        wait = self._quota.admit("", now)
        if wait > 0:
            self.outcome.refused += 1
            return float(math.ceil(wait))
        setattr(self.outcome, collection.kind, getattr(self.outcome, collection.kind) + 1)
        return None


def simulate(scenario: Scenario, service: Service | None = None) -> Outcome:
    """Simulate all shards of the tenant, and return the outcome. Same scenario, same outcome."""
    service = service or Service(scenario)
    outcome = service.outcome
    order = count()
    events: list[_Event] = []
    shards = [
        _Shard(scenario, division, Random(f"{scenario.seed} shard {number}"))  # noqa: S311
        for number, division in enumerate(_divisions(scenario))
    ]
    waiting, running = deque(shards), set[_Shard]()

    def begin(now: float, slots: int) -> None:
        while waiting and len(running) < slots:
            shard = waiting.popleft()
            running.add(shard)
            at = now if shard is shards[0] else now + shard.stagger()
            shard.begin(at, scenario.ceiling * (scenario.at_once if slots == 1 else 1))
            heapq.heappush(events, (at, next(order), shard, None))

    # The DAG's first shard runs alone, with the ceiling of all slots.
    begin(0.0, 1 if scenario.at_once else scenario.shards)
    now = 0.0
    while events:
        now, _, shard, answer = heapq.heappop(events)
        if answer is None:
            shard.asking = False
        else:
            shard.receive(now, answer)
        # One thread of the shard waits at the gate, the others behind it.
        while shard.pool and shard.idle and not shard.asking:
            passed = shard.ask(now)
            if not isinstance(passed, Ticket):
                shard.asking = True
                heapq.heappush(events, (now + passed, next(order), shard, None))
                break
            collection = shard.pool.popleft()
            wait = service.ask(now, collection)
            at = now + shard.latency()
            heapq.heappush(events, (at, next(order), shard, (passed, collection, now, wait)))
        if shard.is_done:
            running.discard(shard)
            begin(now, scenario.at_once)
    outcome.seconds = round(now, 3)
    outcome.patience = round(max(shard.patience for shard in shards), 3)
    outcome.failed = sum(shard.failed for shard in shards)
    return outcome


class _Division(msgspec.Struct):
    """What a shard reads: its customers page by page, and the pages of each of its resellers."""

    customers: list[Sequence[int]]
    resellers: list[int]


def _divisions(scenario: Scenario) -> list[_Division]:
    """Split the customers and the resellers at random, as a hash of their ids would."""
    shards = range(scenario.shards)
    divisions = [_Division([], []) for _ in shards]
    owners = Random(f"{scenario.seed} customers")  # noqa: S311 - a simulation
    turns = Random(f"{scenario.seed} turns")  # noqa: S311 - a simulation
    for start in range(0, scenario.customers, PAGE_SIZE):
        parts: list[list[int]] = [[] for _ in shards]
        if scenario.relationships:
            page = range(start, min(start + PAGE_SIZE, scenario.customers))
            for customer, owner in zip(page, owners.choices(shards, k=len(page)), strict=True):
                if scenario.days == 1 or turns.random() < share_read(scenario.days):
                    parts[owner].append(customer)
        for division, part in zip(divisions, parts, strict=True):
            division.customers.append(part)
    owners = Random(f"{scenario.seed} resellers")  # noqa: S311 - a simulation
    for size in reseller_sizes(scenario):
        owners.choice(divisions).resellers.append(max(1, math.ceil(size / PAGE_SIZE)))
    return divisions


def share_read(days: int) -> float:
    """Return the share of the customers whose children a night reads: by turn, or by a record."""
    return 1 - (1 - 1 / days) * (1 - CHANGED * ACTED_ON)


def reseller_sizes(scenario: Scenario) -> list[int]:
    """Return how many customers each reseller has, as the emulator deals them out."""
    sizes = [0] * max(1, scenario.customers // CUSTOMERS_OF_A_RESELLER)
    population = GeneratedPopulation(scenario.seed, scenario.customers, len(sizes))
    for resellers in population.assignments():
        for reseller in resellers:
            sizes[reseller] += 1
    return sizes


class _Shard:
    """One process of the tap: threads, what waits for them, and a gate of its own."""

    def __init__(self, scenario: Scenario, division: _Division, draw: Random) -> None:
        self._scenario = scenario
        self._draw = draw
        self.idle = scenario.concurrency
        #: What waits for a thread.
        self.pool: deque[Collection] = deque()
        self.asking = True
        self.patience = 0.0
        self.failed = False
        self._streams = self._collections(division)
        self.pool.extend(next(self._streams))

    def stagger(self) -> float:
        """Draw the time after the others at which it begins."""
        return self._draw.uniform(0, STAGGER)

    def begin(self, now: float, ceiling: int) -> None:
        """Begin, with a gate of its own and so many requests a minute, 0 for no ceiling."""
        # The ceiling of a second, as `tap_partnercenter.pacing.Gate` makes it of that of a minute.
        self._pace = Pace(now, ceiling / (60 + CREDIT) if ceiling else None, self._draw)

    @property
    def is_done(self) -> bool:
        """Whether no request is waiting or in flight."""
        return not self.pool and self.idle == self._scenario.concurrency

    def latency(self) -> float:
        """Draw the time that an answer takes."""
        return self._scenario.latency * (0.5 + self._draw.random())

    def ask(self, now: float) -> Ticket | float:
        """Occupy a thread with a request, or say after how many seconds to ask again."""
        passed = self._pace.ask(now)
        if isinstance(passed, Ticket):
            self.idle -= 1
        return passed

    def receive(self, now: float, answer: _Answer) -> None:
        """Deal with an answer."""
        ticket, collection, sent, wait = answer
        self.idle += 1
        if wait is None:
            self._pace.accepted(ticket)
        else:
            pause = self._pace.refused(ticket, now, wait)
            collection.first_sent = sent if collection.first_sent is None else collection.first_sent
            self.patience = max(self.patience, now + pause - collection.first_sent)
            if self.patience > MAX_RETRY_SECONDS:
                self.failed = True
                self.pool.clear()
        if not self.failed:
            self._continue(collection, refused=wait is not None)

    def _continue(self, collection: Collection, *, refused: bool) -> None:
        if refused:
            self.pool.appendleft(collection)
            return
        collection.first_sent = None
        collection.left -= 1
        if collection.left:
            self.pool.append(collection)
        for customer in next(collection.children, ()):
            self.pool.append(Collection("relationships", customer=customer))
        if self.is_done:
            self.pool.extend(next(self._streams, ()))

    def _collections(self, division: _Division) -> Iterator[list[Collection]]:
        """Yield what a stream reads, stream after stream."""
        if self._scenario.days > 1:
            pages = math.ceil(RECORDED * self._scenario.customers / PAGE_SIZE)
            yield [Collection("lists", AUDITED * pages)]
        yield [Collection("lists", len(division.customers), children=division.customers)]
        if self._scenario.resellers:
            yield [Collection("lists")]  # indirect_resellers
            yield [Collection("lists")]  # once more, for the partitions
            yield [Collection("partitions", pages) for pages in division.resellers]


#: With which ticket, what, when it was sent, and the seconds of a refusal's Retry-After.
_Answer: TypeAlias = tuple[Ticket, Collection, float, float | None]
#: When, in which order, in which shard: an answer, or None for a thread that asks at the gate.
_Event: TypeAlias = tuple[float, int, _Shard, _Answer | None]
