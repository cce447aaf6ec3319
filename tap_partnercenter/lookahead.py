"""Ordered look-ahead: sources are read ahead on a pool, and what they hold comes out in order.

Only the threads of the pool ask the service, and only the main thread takes what they got: no
thread writes a message. A failure comes out at its place, after all that stood before it.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: Seconds to wait for an answer before what is collected is passed on to the target.
IDLE_AFTER = 0.1


class Source(Protocol[T_co]):
    """Something that is read piece by piece, at least one, each by a request."""

    @property
    def finished(self) -> bool:
        """Whether the last piece was read."""

    def read(self) -> T_co:
        """Read the next piece, in any thread, but never two at once."""


class Pool:
    """Threads that do what they are given, the earliest place first.

    They are daemons: when the run ends, nobody waits for a request that hangs.
    """

    def __init__(self, workers: int) -> None:
        """Start no thread yet."""
        self._workers = workers
        #: What waits: by place, then in the order of submission, so that no two are equal.
        self._tasks: list[tuple[int, int, Callable[[], None]]] = []
        #: A token for each task, and at the end one for each thread. With `heapq` it is a priority
        #: queue that a signal cannot leave locked, as it can those that are written in Python.
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closed = False
        self._submitted = itertools.count()
        self._places = itertools.count()
        self._started = False

    @property
    def serial(self) -> bool:
        """Whether there is nothing to gain from a thread."""
        return self._workers == 1

    def next_place(self) -> int:
        """Return the place behind all that were given out."""
        return next(self._places)

    def submit(self, place: int, task: Callable[[], None]) -> None:
        """Have a task done when a thread is free, before those with a later place.

        A long source must not wait, piece after piece, behind the short ones that come after it:
        in the end it would be read alone.
        """
        if not self._started:
            self._started = True
            for number in range(self._workers):
                threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True).start()
        heapq.heappush(self._tasks, (place, next(self._submitted), task))
        self._tokens.put(None)

    def has_earlier(self, place: int) -> bool:
        """Tell whether a task before a place waits for a thread."""
        tasks = self._tasks[:1]
        return bool(tasks) and tasks[0][0] < place

    def close(self) -> None:
        """End the threads, each after what it is doing; what waits is not begun."""
        self._closed = True
        for _ in range(self._workers):
            self._tokens.put(None)

    def _work(self) -> None:
        # The kernel may give a signal to any thread, one that came while the process was stopped
        # for instance. Python handles it on the main one, which then would not be woken.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            self._tokens.get()
            if self._closed:
                return
            *_, task = heapq.heappop(self._tasks)
            task()


class _Done(NamedTuple, Generic[T]):
    """What a thread read: a piece or an error, and how it goes on with the source."""

    reading: _Reading[T]
    piece: T | None
    error: Exception | None
    #: Whether nothing follows.
    last: bool
    #: Whether the same thread reads the next piece already.
    goes_on: bool


class _Reading(Generic[T]):
    """A source that is being read: the pieces that nobody has taken yet."""

    __slots__ = ("last", "pieces", "place", "source")

    def __init__(self, source: Source[T], place: int) -> None:
        self.source = source
        self.place = place
        self.pieces: deque[tuple[T | None, Exception | None]] = deque()
        self.last = False

    def __lt__(self, other: _Reading[T]) -> bool:
        return self.place < other.place


class LookAhead(Generic[T]):
    """Reads sources ahead of their consumer and hands over their pieces, source after source."""

    def __init__(
        self,
        pool: Pool,
        sources: Callable[[], Source[T] | None],
        *,
        held: int,
        on_idle: Callable[[], None],
    ) -> None:
        """Prepare; reading begins with :meth:`begin` or the first :meth:`take`.

        Args:
            pool: Threads to read with; a serial one reads in the consumer's thread instead.
            sources: Returns the next source, or None if there is none, or none yet.
            held: Pieces, read or being read, that may wait for the consumer before no other source
                is begun.
            on_idle: Called when the consumer has to wait for a while.
        """
        self._pool = pool
        self._sources = sources
        self._held = held
        self._on_idle = on_idle
        #: Readings in order, the first is the one that is taken next.
        self._readings: deque[_Reading[T]] = deque()
        #: Those of them that wait for a thread.
        self._resting: list[_Reading[T]] = []
        #: One for each piece, read or being read, that nobody has taken: any thread may add one.
        self._ahead: deque[None] = deque()
        self._taking = False
        self._done: queue.SimpleQueue[_Done[T]] = queue.SimpleQueue()

    def begin(self) -> None:
        """Read ahead before the first :meth:`take`; called again, go on with what is there."""
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
        if not self._readings or not self._readings[0].pieces:
            return None
        return self._readings[0].pieces[0][0]

    def _wait_for(self, reading: _Reading[T]) -> None:
        while not reading.pieces:
            try:
                # Never without an end: a signal that comes just before a wait is seen after it.
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
        elif not done.goes_on:
            heapq.heappush(self._resting, done.reading)

    def _submit(self) -> None:
        """Have more read, the earliest sources first, as far as there is room."""
        self._collect()
        while True:
            first = self._resting[0] if self._resting else None
            if first is not None:
                # What is being taken may always go on, since all others wait for it; what was begun
                # may fill twice the room, for a source that stops half-way is read alone later.
                taken = self._taking and first is self._readings[0]
                if len(self._ahead) >= 2 * self._held and not taken:
                    return
                heapq.heappop(self._resting)
            else:
                source = self._sources() if len(self._ahead) < self._held else None
                if source is None:
                    return
                first = _Reading(source, self._pool.next_place())
                self._readings.append(first)
            self._ahead.append(None)
            self._pool.submit(first.place, lambda reading=first: self._read(reading))  # type: ignore[misc]

    def _read(self, reading: _Reading[T]) -> None:
        """Read a piece, and the next ones as long as there is room and nobody comes first.

        The main thread is at work meanwhile: to wait for its word would cost time at each piece.
        """
        goes_on = True
        while goes_on:
            try:
                piece = reading.source.read()
            except Exception as error:  # noqa: BLE001 - raised again at its place
                self._done.put(_Done(reading, None, error, last=True, goes_on=False))
                return
            last = reading.source.finished
            goes_on = not (
                last or len(self._ahead) >= self._held or self._pool.has_earlier(reading.place)
            )
            if goes_on:
                self._ahead.append(None)
            self._done.put(_Done(reading, piece, None, last, goes_on))
