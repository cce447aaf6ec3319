"""Logs a run: a line at the start, one every half a minute, one for each stream, and a summary."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from enum import Enum
from typing import TYPE_CHECKING

from tqdm import tqdm
from typing_extensions import override

from tap_partnercenter.wording import counted, printable

if TYPE_CHECKING:
    from tap_partnercenter.clock import Clock

#: Seconds between two progress lines.
INTERVAL = 30.0
#: Unknown fields to name; further ones are only counted.
MAX_FIELDS_NAMED = 10
#: Skipped customers to name in the summary.
MAX_CUSTOMERS_NAMED = 100


class FieldIssue(Enum):
    """What may be wrong with a field that the tap cannot pass on, and how it was handled."""

    UNKNOWN = "The service sent fields that are not in the schemas; they were dropped"
    BROKEN = (
        "The service sent broken characters (lone surrogates, NUL, or invalid UTF-8); "
        "each became U+FFFD"
    )
    PROMISED = (
        "The service sent collections without records whose totalCount says there are some. "
        "If records are missing, ask Microsoft"
    )
    NO_BOOLEAN = "The service sent values that are neither true nor false; they became null"
    NO_NUMBER = "The service sent values that are not numbers, or not whole ones; they became null"


class _Bar(tqdm):  # type: ignore[type-arg] # it is generic to the type checker alone
    """A bar without tqdm's own thread, to which the kernel could deliver a signal."""

    monitor_interval = 0


class _LiveLogger(logging.Logger):
    """Logs until the summary, which must come last: threads may outlive the run."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger.name)
        self._logger = logger
        self._lock = threading.Lock()
        self._ended = False

    @override
    def isEnabledFor(self, level: int) -> bool:
        return self._logger.isEnabledFor(level)

    @override
    def handle(self, record: logging.LogRecord) -> None:
        with self._lock:
            if not self._ended:
                self._logger.handle(record)

    def end(self) -> None:
        """Stop logging."""
        with self._lock:
            self._ended = True


class Report:
    """Counts what happens in a run, from any thread, and reports it in a few lines."""

    def __init__(self, *, clock: Clock, logger: logging.Logger) -> None:
        self._clock = clock
        self._logger = logger
        #: For everything that threads other than the main one log.
        self.live_logger = _LiveLogger(logger)
        self._lock = threading.Lock()
        self._started = clock.monotonic()
        #: When each kind of line was last logged.
        self._logged_at: defaultdict[str, float] = defaultdict(lambda: self._started - INTERVAL)
        self._logged_at["progress"] = self._started
        #: What is being read, as shown in progress lines.
        self._current = "started"
        # On a terminal a live bar replaces the lines.
        self._bar = _Bar(unit=" records", leave=False, dynamic_ncols=True, disable=None)
        self._records: Counter[str] = Counter()
        self._repeated: Counter[str] = Counter()
        self._requests = 0
        self._retries = 0
        self._waited = 0.0
        self._waiting = 0
        self._waiting_since = 0.0
        self._intermittent: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._skipped_named: defaultdict[str, list[str]] = defaultdict(list)
        self._blank: Counter[str] = Counter()
        self._issues: dict[FieldIssue, Counter[str]] = {issue: Counter() for issue in FieldIssue}

    def requested(self) -> None:
        """Count a request to the API."""
        with self._lock:
            self._requests += 1

    def retried(self, reason: str | None, max_seconds: float) -> None:
        """Count another attempt at a request, and log why: the first time, then now and again.

        Args:
            reason: What failed; None if it is logged elsewhere.
            max_seconds: Seconds after which the request is given up.
        """
        with self._lock:
            self._retries += 1
        if reason is not None and self._is_due("retry"):
            self.live_logger.info("Retrying for up to %.0f s: %s", max_seconds, reason)

    def intermittent(self, reason: str, remedy: str) -> None:
        """Count a temporary refusal, and warn of the first of its kind."""
        with self._lock:
            self._intermittent[reason] += 1
            first = self._intermittent[reason] == 1
        if first:
            message = "%s. A new token may work for now. %s"
            self.live_logger.warning(message, reason, remedy)

    def wait(self, seconds: float) -> None:
        """Hold a request back, and count the time spent waiting.

        Raises:
            Cancelled: If the run ends in the meantime.
        """
        with self._lock:
            if not self._waiting:
                self._waiting_since = self._clock.monotonic()
            self._waiting += 1
        try:
            while seconds > 0:
                self._clock.wait(min(seconds, INTERVAL))
                self.progress()
                seconds -= INTERVAL
        finally:
            # Threads wait concurrently: each second counts once, and only if it has passed.
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    self._waited += self._clock.monotonic() - self._waiting_since

    def throttled(self, seconds: float) -> None:
        """Log, from time to time, that the service asks for a pause."""
        if self._is_due("throttling"):
            message = "Throttled by the service (HTTP 429): no requests for %.0f s"
            self.live_logger.info(message, seconds)

    def reading(self, stream: str, share: str) -> None:
        """Note what is being read, as :meth:`emitted` names it."""
        self._current = f"{stream} {share}".strip()

    def emitted(self, stream: str, records: int, share: str = "") -> None:
        """Note how many records, and what share of it, a stream has so far; log that when due."""
        new = records - self._records[stream]
        self._records[stream] = records
        if not self._bar.disable:
            self._bar.set_description(f"{stream} {share}".strip(), refresh=False)
            self._bar.set_postfix_str(counted(self._requests, "request"), refresh=False)
            self._bar.update(new)
            return
        self.reading(stream, share)
        self.progress()

    def written(self, stream: str, records: int) -> None:
        """Note how many records of a stream are written when a run ends in the middle of a page."""
        self._records[stream] = records

    def progress(self) -> None:
        """Log progress when it is due, even while nothing arrives. Any thread may call this."""
        if self._bar.disable and self._is_due("progress"):
            self.live_logger.info("%s: %s", self._current, self._totals())

    def _is_due(self, kind: str) -> bool:
        """Return whether a kind of line is due, and if so mark it as logged."""
        now = self._clock.monotonic()
        with self._lock:
            due = now - self._logged_at[kind] >= INTERVAL
            if due:
                self._logged_at[kind] = now
        return due

    def skipped(self, stream: str, customer: str, reason: str) -> None:
        """Count a customer that was skipped."""
        with self._lock:
            self._skipped[stream] += 1
            self._logger.debug("%s: skipped %s: %s", stream, customer, reason)
            if self._skipped[stream] <= MAX_CUSTOMERS_NAMED:
                self._skipped_named[stream].append(f"{customer} ({reason})")

    def blank(self, stream: str, customers: int) -> None:
        """Note that the response for every customer of a stream was empty."""
        self._blank[stream] = customers

    def field_issue(self, stream: str, issue: FieldIssue, path: str) -> None:
        """Count an odd field. Its name comes from the service and may be anything."""
        found = self._issues[issue]
        name = f"{stream}.{printable(path)}"
        if name in found or len(found) < MAX_FIELDS_NAMED:
            found[name] += 1
        else:
            found["others"] += 1

    def repeated(self, stream: str) -> None:
        """Count a record that the service sent twice."""
        self._repeated[stream] += 1

    def stream_ended(self, stream: str) -> None:
        """Log how many records a stream had."""
        repeated = self._repeated[stream]
        more = f", {repeated} of them repeated" if repeated else ""
        self._logger.info("%s: %s%s", stream, counted(self._records[stream], "record"), more)

    def summary(self, outcome: str) -> None:
        """Log what the run did, and what an operator should look at."""
        self.live_logger.end()
        self._bar.close()
        self._logger.info("%s: %s", outcome, self._totals())
        for stream, skipped in self._skipped.items():
            named = self._skipped_named[stream]
            self._logger.warning(
                "%s: %s skipped; their records are missing: %s%s",
                stream,
                counted(skipped, "customer"),
                ", ".join(named),
                "" if skipped == len(named) else ", …",
            )
        for stream, customers in self._blank.items():
            self._logger.warning(
                "%s: the service sent an empty response, not even an empty list, for all %d "
                "customers. That is correct only if none of them has any; otherwise check any "
                "proxy, or ask Microsoft",
                stream,
                customers,
            )
        for reason, count in self._intermittent.items():
            self._logger.warning("%s refused at first: %s", counted(count, "request"), reason)
        for issue, found in self._issues.items():
            if found:
                fields = ", ".join(f"{name} ({count})" for name, count in found.items())
                self._logger.warning("%s: %s", issue.value, fields)

    def _totals(self) -> str:
        now = self._clock.monotonic()
        minutes = max(now - self._started, 1.0) / 60
        waited = self._waited + (now - self._waiting_since if self._waiting else 0.0)
        return (
            f"{counted(_total(self._records), 'record')}, {counted(self._requests, 'request')} "
            f"({self._requests / minutes:.0f} a minute), "
            f"{counted(self._retries, 'retry', 'retries')}, {waited:.0f} s waited, "
            f"{counted(_total(self._skipped), 'customer')} skipped, "
            f"{minutes * 60:.0f} s in all"
        )


def _total(counts: Counter[str]) -> int:
    """Sum counts that another thread may be changing: the list is a snapshot."""
    return sum(list(counts.values()))
