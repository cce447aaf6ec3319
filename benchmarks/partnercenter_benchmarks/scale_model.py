"""Runs of many shards against one quota, as discrete events on a virtual clock.

What decides the time is not modelled but used: the tap's :class:`Pace` holds requests back, and the
emulator's :class:`Quota` refuses them. Around them stands what a run does with both:

- A shard is one process of the tap. It reads the whole list of customers, page after page, and the
  relationships of its own customers; then the list of resellers, and the customers of its own
  resellers. It knows nothing of the other shards.
- Pages and children are read ahead by the rules of `tap_partnercenter.lookahead`, but a free thread
  takes what has waited longest, where the tap's takes the earliest source; and a stream begins when
  the one before is over, where the tap's begins while threads are idle. That makes seconds at the
  end of a stream.
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
from tap_partnercenter.pacing import Pace, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Counting: TypeAlias = Literal["fixed_window", "sliding_window", "token_bucket"]

#: Customers in a page: the most that the service sends.
PAGE_SIZE = 500
#: Customers for each reseller: the ratio of the emulator's own defaults.
CUSTOMERS_OF_A_RESELLER = 250
#: Seconds within which all shards begin.
STAGGER = 10.0
#: Seconds of patience with one request: the default of max_retry_seconds.
PATIENCE = 900.0
#: Pages of later resellers that wait for the earlier ones, and children for each thread: as in
#: `tap_partnercenter.full_table` and `tap_partnercenter.streams`.
_PAGES_AHEAD = 20
_CHILDREN_AHEAD = 8


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One partner tenant, and the shards that read it."""

    customers: int
    shards: int = 1
    #: Requests in a window, 0 for no quota.
    quota: int = 500
    #: Seconds.
    window: float = 60.0
    counting: Counting = "fixed_window"
    #: Seconds, on average.
    latency: float = 0.2
    #: Requests that one shard has under way at most.
    concurrency: int = 8
    #: The setting max_requests_per_minute of each shard, 0 for none.
    ceiling: int = 0
    #: Whether `customer_relationships` is selected.
    relationships: bool = True
    #: Whether the streams of resellers are.
    resellers: bool = True
    seed: int = 1


class Outcome(msgspec.Struct, kw_only=True):
    """What became of a run: requests by what they asked for, and seconds until the last answer."""

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
    #: Shards whose patience ended, so that they failed.
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


class Wanted:
    """A collection that a shard reads, piece by piece, each by a request."""

    __slots__ = ("customer", "first_sent", "kind", "left", "owner", "place", "there")

    def __init__(
        self,
        kind: Literal["lists", "partitions", "relationships"],
        pieces: int = 1,
        customer: int = -1,
    ) -> None:
        """Name it.

        Args:
            kind: Which figure of :class:`Outcome` counts it.
            pieces: Its pages.
            customer: Whose relationships they are, by number.
        """
        self.kind = kind
        self.customer = customer
        self.left = pieces
        self.there = 0
        self.place = 0
        self.owner: _LookAhead
        self.first_sent: float | None = None

    def __lt__(self, other: Wanted) -> bool:
        """Put those first that were begun first."""
        return self.place < other.place


class Service:
    """The tenant's side: its quota, and what it has answered."""

    def __init__(self, scene: Scene) -> None:
        """Begin with an untouched quota."""
        self._quota = Quota(
            Options(
                requests_per_minute=scene.quota,
                window_seconds=scene.window,
                quota_model=scene.counting,
            ),
        )
        self.outcome = Outcome()

    def ask(self, now: float, wanted: Wanted) -> float | None:
        """Count a request; return None, or the seconds of its Retry-After."""
        wait = self._quota.admit("", now)
        if wait > 0:
            self.outcome.refused += 1
            return float(math.ceil(wait))
        if wanted.kind == "relationships":
            self.outcome.relationships += 1
        elif wanted.kind == "lists":
            self.outcome.lists += 1
        else:
            self.outcome.partitions += 1
        return None


def simulate(scene: Scene, service: Service | None = None) -> Outcome:
    """Let all shards read the tenant, and return what became of it. Same scene, same outcome."""
    service = service or Service(scene)
    outcome = service.outcome
    order = count()
    events: list[_Event] = []
    shards = []
    for number, division in enumerate(_divisions(scene)):
        draw = Random(f"{scene.seed} shard {number}")  # noqa: S311 - a simulation
        starts_at = draw.uniform(0, STAGGER) if number else 0.0
        shard = _Shard(scene, division, draw, starts_at)
        shards.append(shard)
        heapq.heappush(events, (starts_at, next(order), shard, None))
    while events:
        now, _, shard, answer = heapq.heappop(events)
        if answer is None:
            shard.asking = False
        else:
            shard.take_in(now, answer)
        # One thread of the shard waits at the gate, the others behind it.
        while shard.pool and shard.idle and not shard.asking:
            passed = shard.pace.ask(now)
            if not isinstance(passed, Ticket):
                shard.asking = True
                heapq.heappush(events, (now + passed, next(order), shard, None))
                break
            shard.idle -= 1
            wanted = shard.pool.popleft()
            wait = service.ask(now, wanted)
            at = now + shard.latency()
            heapq.heappush(events, (at, next(order), shard, (passed, wanted, now, wait)))
        outcome.seconds = now
    outcome.patience = max(shard.patience for shard in shards)
    outcome.failed = sum(shard.failed for shard in shards)
    return outcome


class _Division(msgspec.Struct):
    """What a shard reads: its customers page by page, and the pages of each of its resellers."""

    customers: list[Sequence[int]]
    resellers: list[int]


def _divisions(scene: Scene) -> list[_Division]:
    """Split the customers and the resellers as a hash of their ids does: like a draw of lots."""
    starts = range(0, scene.customers, PAGE_SIZE)
    pages: list[list[Sequence[int]]]
    if not scene.relationships:
        pages = [[() for _ in starts] for _ in range(scene.shards)]
    elif scene.shards == 1:
        pages = [[range(scene.customers)[start : start + PAGE_SIZE] for start in starts]]
    else:
        pages = [[] for _ in range(scene.shards)]
        lots = Random(f"{scene.seed} customers")  # noqa: S311 - a simulation
        owners = lots.choices(range(scene.shards), k=scene.customers)
        for start in starts:
            parts: list[list[int]] = [[] for _ in range(scene.shards)]
            for customer, owner in enumerate(owners[start : start + PAGE_SIZE], start):
                parts[owner].append(customer)
            for own, part in zip(pages, parts, strict=True):
                own.append(part)
    divisions = [_Division(own, []) for own in pages]
    lots = Random(f"{scene.seed} resellers")  # noqa: S311 - a simulation
    for size in reseller_sizes(scene):
        lots.choice(divisions).resellers.append(max(1, math.ceil(size / PAGE_SIZE)))
    return divisions


def reseller_sizes(scene: Scene) -> list[int]:
    """Return how many customers each reseller has, as the emulator deals them out."""
    sizes = [0] * max(1, scene.customers // CUSTOMERS_OF_A_RESELLER)
    population = GeneratedPopulation(scene.seed, scene.customers, len(sizes))
    for resellers in population.assignments():
        for reseller in resellers:
            sizes[reseller] += 1
    return sizes


class _Shard:
    """One process of the tap: a main thread, a pool, and a gate of its own."""

    def __init__(self, scene: Scene, division: _Division, draw: Random, starts_at: float) -> None:
        self._scene = scene
        self._division = division
        self._draw = draw
        # The ceiling of a second, as `tap_partnercenter.pacing.Gate` makes it of that of a minute.
        self.pace = Pace(starts_at, scene.ceiling / 61 if scene.ceiling else None, draw)
        self.idle = scene.concurrency
        #: What waits for a thread.
        self.pool: deque[Wanted] = deque()
        self.asking = True
        self.patience = 0.0
        self.failed = False
        self._main = self._read_everything()
        next(self._main, None)

    def latency(self) -> float:
        """Draw the time that an answer takes."""
        return self._scene.latency * (0.5 + self._draw.random())

    def take_in(self, now: float, answer: _Answer) -> None:
        """Deal with an answer."""
        ticket, wanted, sent, wait = answer
        self.idle += 1
        if wait is None:
            self.pace.accepted(ticket)
            wanted.first_sent = None
            if not self.failed:
                wanted.owner.put(wanted)
                next(self._main, None)
            return
        pause = self.pace.refused(ticket, now, wait)
        wanted.first_sent = sent if wanted.first_sent is None else wanted.first_sent
        self.patience = max(self.patience, now + pause - wanted.first_sent)
        if self.patience > PATIENCE:
            self.failed = True
            self.pool.clear()
        if not self.failed:
            self.pool.appendleft(wanted)

    def _read_everything(self) -> Iterator[None]:
        """Do what the main thread does, stream after stream; yield where it waits."""
        yield from self._read_customers()
        if not self._scene.resellers:
            return
        yield from self._read_one("lists")  # indirect_resellers
        yield from self._read_one("lists")  # once more, for the partitions
        room = max(_PAGES_AHEAD, 2 * self._scene.concurrency)
        partitions = iter(self._division.resellers)

        def next_partition() -> Wanted | None:
            pages = next(partitions, None)
            return None if pages is None else Wanted("partitions", pages)

        ahead = _LookAhead(self.pool, next_partition, held=room)
        for _ in self._division.resellers:
            yield from ahead.take_whole()

    def _read_one(self, kind: Literal["lists"]) -> Iterator[None]:
        sources = iter([Wanted(kind)])
        yield from _LookAhead(self.pool, lambda: next(sources, None), held=1).take_whole()

    def _read_customers(self) -> Iterator[None]:
        batches = self._division.customers
        lists = iter([Wanted("lists", len(batches))])
        pages = _LookAhead(self.pool, lambda: next(lists, None), held=1)
        waiting: deque[int] = deque()
        number = early = 0

        def next_child() -> Wanted | None:
            nonlocal early
            if not waiting and not early and pages.has_next() and number < len(batches):
                waiting.extend(batches[number])
                early = len(waiting)
            return Wanted("relationships", customer=waiting.popleft()) if waiting else None

        held = _CHILDREN_AHEAD * self._scene.concurrency
        children = _LookAhead(self.pool, next_child, held=held)
        for there in pages.take():
            if not there:
                yield
                continue
            batch = batches[number]
            number += 1
            if batch:
                if not early:
                    waiting.extend(batch)
                early = 0
            for _ in batch:
                yield from children.take_whole()


class _LookAhead:
    """The rules of `tap_partnercenter.lookahead`, without its threads."""

    def __init__(
        self,
        pool: deque[Wanted],
        sources: Callable[[], Wanted | None],
        *,
        held: int,
    ) -> None:
        self._pool = pool
        self._sources = sources
        self._held = held
        self._places = count()
        self._readings: deque[Wanted] = deque()
        self._resting: list[Wanted] = []
        self._ahead = 0

    def take_whole(self) -> Iterator[None]:
        """Take the next source to its end; yield where that means to wait."""
        for there in self.take():
            if not there:
                yield

    def take(self) -> Iterator[bool]:
        """Take the next source: yield True with each piece, False while there is none yet."""
        self._submit()
        reading = self._readings[0]
        while reading.there or reading.left:
            while not reading.there:
                yield False
                self._submit()
            reading.there -= 1
            self._ahead -= 1
            self._submit()
            yield True
        self._readings.popleft()

    def has_next(self) -> bool:
        """Tell whether the next piece of the source that is being taken is there already."""
        return bool(self._readings) and self._readings[0].there > 0

    def put(self, reading: Wanted) -> None:
        """Take in a piece that was read."""
        reading.there += 1
        reading.left -= 1
        if reading.left:
            heapq.heappush(self._resting, reading)

    def _submit(self) -> None:
        while True:
            first = self._resting[0] if self._resting else None
            if first is not None:
                if self._ahead >= 2 * self._held and first is not self._readings[0]:
                    return
                heapq.heappop(self._resting)
            else:
                first = self._sources() if self._ahead < self._held else None
                if first is None:
                    return
                first.owner = self
                first.place = next(self._places)
                self._readings.append(first)
            self._ahead += 1
            self._pool.append(first)


#: With which ticket, what, when it was sent, and the seconds of a refusal's Retry-After.
_Answer: TypeAlias = tuple[Ticket, Wanted, float, float | None]
#: When, in which order, in which shard: an answer, or None for a thread that asks at the gate.
_Event: TypeAlias = tuple[float, int, _Shard, _Answer | None]
