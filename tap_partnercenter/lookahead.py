"""Ordered look-ahead: sources are read ahead on a thread pool, and their pieces come out in order.

Only the pool's threads send requests, and only the main thread takes the results: no other thread
writes a message. An error comes out in its place, after everything before it.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import signal
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: Seconds to wait for a response before collected messages are passed on to the target.
IDLE_AFTER = 0.1


class Source(Protocol[T_co]):
    """Something that is read piece by piece, each with a request; it has at least one piece."""

    @property
    def finished(self) -> bool:
        """Whether the last piece was read."""

    def read(self) -> T_co:
        """Read the next piece; from any thread, but never concurrently."""


class Pool:
    """Threads that run tasks, those with the earliest place first.

    They are daemons: when the run ends, it does not wait for a request that hangs.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        #: Waiting tasks: by place, then by order of submission, so that no two are equal.
        self._tasks: list[tuple[int, int, Callable[[], None]]] = []
        #: A token for each task, and at the end one for each thread. Together with `heapq` it is a
        #: priority queue that a signal cannot leave locked, unlike those written in Python.
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closed = False
        self._submitted = itertools.count()
        self._places = itertools.count()
        self._started = False

    @property
    def serial(self) -> bool:
        """Whether threads would gain nothing."""
        return self._workers == 1

    def next_place(self) -> int:
        """Return the next place in order."""
        return next(self._places)

    def submit(self, place: int, task: Callable[[], None]) -> None:
        """Run a task when a thread is free, before those with a later place.

        Otherwise a long source would wait, piece after piece, for the short ones that follow it,
        and in the end be read alone.
        """
        if not self._started:
            self._started = True
            for number in range(self._workers):
                threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True).start()
        heapq.heappush(self._tasks, (place, next(self._submitted), task))
        self._tokens.put(None)

    def has_earlier(self, place: int) -> bool:
        """Return whether a task before a place waits for a thread."""
        tasks = self._tasks[:1]
        return bool(tasks) and tasks[0][0] < place

    def close(self) -> None:
        """Stop the threads, each after its current task; waiting tasks are not started."""
        self._closed = True
        for _ in range(self._workers):
            self._tokens.put(None)

    def _work(self) -> None:
        # The kernel may deliver a signal to any thread, for example one sent while the process was
        # stopped. Python handles it on the main thread, which would then not wake up.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            self._tokens.get()
            if self._closed:
                return
            *_, task = heapq.heappop(self._tasks)
            task()


class _Done(NamedTuple, Generic[T]):
    """What a thread read: a piece or an error, and whether it continues with the source."""

    reading: _Reading[T]
    piece: T | None
    error: Exception | None
    #: Whether nothing follows.
    last: bool
    #: Whether the same thread reads the next piece already.
    continues: bool


@dataclass(order=True, slots=True)
class _Reading(Generic[T]):
    """A source that is being read, and its pieces that have not been taken yet."""

    place: int
    source: Source[T] = field(compare=False)
    pieces: deque[tuple[T | None, Exception | None]] = field(default_factory=deque, compare=False)
    last: bool = field(default=False, compare=False)


class LookAhead(Generic[T]):
    """Reads sources ahead of their consumer and hands over their pieces, source after source."""

    def __init__(
        self,
        pool: Pool,
        sources: Callable[[], Source[T] | None],
        *,
        capacity: int,
        on_idle: Callable[[], None],
    ) -> None:
        """Prepare; reading starts with :meth:`begin` or the first :meth:`take`.

        Args:
            pool: Threads to read with; a serial one reads in the consumer's thread instead.
            sources: Returns the next source, or None if there is none, or none yet.
            capacity: Number of pieces, read or being read, from which no further source is started.
            on_idle: Called when the consumer has to wait for a while.
        """
        self._pool = pool
        self._sources = sources
        self._capacity = capacity
        self._on_idle = on_idle
        #: Readings in order, the first is the one that is taken next.
        self._readings: deque[_Reading[T]] = deque()
        #: Those of them that wait for a thread.
        self._waiting: list[_Reading[T]] = []
        #: One entry for each piece, read or being read, not yet taken; any thread may add one.
        self._ahead: deque[None] = deque()
        self._taking = False
        self._done: queue.SimpleQueue[_Done[T]] = queue.SimpleQueue()

    def begin(self) -> None:
        """Read ahead before the first :meth:`take`; when called again, continue reading."""
        if not self._pool.serial:
            self._submit()

    def take(self) -> Iterator[T]:
        """Yield the pieces of the next source, reading others meanwhile.

        Raises:
            Exception: What reading the source raised, at its place.
        """
        if self._pool.serial:
            source = self._sources()
            assert source is not None  # noqa: S101 - nobody takes more sources than there are
            while not source.finished:
                yield source.read()
            return
        self._taking = True
        self._submit()
        reading = self._readings[0]
        try:
            while not (reading.last and not reading.pieces):
                self._wait_for(reading)
                piece, error = reading.pieces.popleft()
                self._ahead.pop()
                if error is not None:
                    raise error
                self._submit()
                yield piece  # type: ignore[misc] # without an error there is a piece
        finally:
            self._readings.popleft()

    def peek(self) -> T | None:
        """Return the next piece of the source that is being taken, if it is there already."""
        self._collect()
        pieces = self._readings[0].pieces
        return pieces[0][0] if pieces else None

    def _wait_for(self, reading: _Reading[T]) -> None:
        while not reading.pieces:
            try:
                # Always with a timeout: a signal just before the wait is handled only after it.
                self._put(self._done.get(timeout=IDLE_AFTER))
            except queue.Empty:
                self._on_idle()
            else:
                self._submit()

    def _collect(self) -> None:
        while not self._done.empty():
            self._put(self._done.get())

    def _put(self, done: _Done[T]) -> None:
        done.reading.pieces.append((done.piece, done.error))
        if done.last:
            done.reading.last = True
        elif not done.continues:
            heapq.heappush(self._waiting, done.reading)

    def _submit(self) -> None:
        """Submit more reading, the earliest sources first, as long as there is room."""
        self._collect()
        while True:
            first = self._waiting[0] if self._waiting else None
            if first is not None:
                # The source being taken may always continue, because all others wait for it.
                # Started sources may fill twice the room, because one that stops half-way would
                # later be read alone.
                taken = self._taking and first is self._readings[0]
                if len(self._ahead) >= 2 * self._capacity and not taken:
                    return
                heapq.heappop(self._waiting)
            else:
                source = self._sources() if len(self._ahead) < self._capacity else None
                if source is None:
                    return
                first = _Reading(self._pool.next_place(), source)
                self._readings.append(first)
            self._ahead.append(None)
            self._pool.submit(first.place, lambda reading=first: self._read(reading))  # type: ignore[misc]

    def _read(self, reading: _Reading[T]) -> None:
        """Read a piece, and the next ones as long as there is room and no earlier task waits.

        The main thread is busy meanwhile: waiting for it would cost time for each piece.
        """
        continues = True
        while continues:
            try:
                piece = reading.source.read()
            except Exception as error:  # noqa: BLE001 - raised again at its place
                self._done.put(_Done(reading, None, error, last=True, continues=False))
                return
            last = reading.source.finished
            continues = not (
                last or len(self._ahead) >= self._capacity or self._pool.has_earlier(reading.place)
            )
            if continues:
                self._ahead.append(None)
            self._done.put(_Done(reading, piece, None, last, continues))
