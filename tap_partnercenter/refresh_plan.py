"""Which customers' children a run reads if `full_refresh_days` is above 1.

Each customer is due once in that many days, by a hash of its id. In between, audit records name the
customers that changed. The state keeps the day up to which all due customers were read, so the next
run makes up for nights that failed or never ran, and a digest of each of the last days of the audit
log: those days are read again, but acted on only if something was added.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tap_partnercenter.errors import ConnectionFailed, Refused
from tap_partnercenter.pagination import UnusableContinuation
from tap_partnercenter.records import digest
from tap_partnercenter.shard import hashed

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from logging import Logger

    from tap_partnercenter.changes import ChangeStream

_DAY = dt.timedelta(days=1)
_KEY = "nights"
#: Seconds after which a recorded change can be read: orders and subscriptions follow their records
#: within 15 minutes ("Get all of a customer's orders").
_SETTLED_AFTER = 3600


def turn(customer_id: str, days: int) -> int:
    """Return the days on which a customer is due: those whose ordinal leaves this remainder.

    It is the remainder of the second four bytes of the hash: shards divide by the first four, so
    that each of them has its part of every turn.
    """
    return int.from_bytes(hashed(customer_id)[4:8], "big") % days


@dataclass(frozen=True, slots=True)
class RefreshPlan:
    """Which customers' children are read.

    Attributes:
        days: Days between two full refreshes of a customer.
        today: The day up to which due customers are read when the pass is complete.
        since: The same day of the previous complete pass; None: everything is read.
        changed: Customers named by audit records, in lower case.
        seen: Days of the audit log that were read, each with the digest of its records.
    """

    days: int
    today: dt.date
    since: dt.date | None = None
    changed: frozenset[str] = frozenset()
    seen: Mapping[str, str] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether some customers are left for another run."""
        return self.since is not None

    @property
    def scope(self) -> list[Any]:
        """What an interrupted pass must share to be continued.

        A pass that reads everything may continue after midnight. Otherwise, customers before the
        checkpoint that are due on the new day would be missed.
        """
        return [self.days, self.since and [self.since, self.today]]

    def reason(self, customer_id: str) -> str | None:
        """Return why a customer's children are read, None if they are not."""
        if self.since is None:
            return "all"
        ordinal = self.today.toordinal()
        if (ordinal - turn(customer_id, self.days)) % self.days < ordinal - self.since.toordinal():
            return "turn"
        return "audit" if customer_id.lower() in self.changed else None


@dataclass(frozen=True, slots=True)
class RefreshPlanner:
    """Plans a run from the bookmark of the last complete one, and the audit records since.

    Attributes:
        bookmarks: Those of all streams, in the state.
        stream: The parent of the streams that are planned.
        days: Days between two full refreshes of a customer; 1 to read everything in each run.
        scope: Digest of what a run covers. If it differs from the last one, everything is read.
    """

    bookmarks: MutableMapping[str, Any]
    stream: str
    days: int
    scope: str

    def plan(self, now: float, audit: ChangeStream, logger: Logger) -> RefreshPlan:
        """Decide which customers' children are read, and log it.

        The stream of audit records need not be selected. `now` is in seconds since the epoch.
        """
        today = _day(now)
        everything = RefreshPlan(self.days, today)
        if self.days == 1:
            return everything
        since = self._since()
        first = since and since - audit.overlap * _DAY
        if since is None or first is None:
            why = (
                "there is no complete run with the same full_refresh_days, streams, maps, shards "
                "and tenant"
            )
        elif since > today:
            why = f"the last complete run is dated {since}, which is in the future"
        elif (today - since).days >= self.days:
            why = f"the last complete run was on {since}, and every customer has been due since"
        elif first < today - audit.max_days_back * _DAY:
            why = f"the last complete run was on {since}, and audit records do not go back that far"
        else:
            planned = RefreshPlan(self.days, today, since)
            try:
                planned = self._with_changes(
                    audit, first, planned, settled=_day(now - _SETTLED_AFTER)
                )
            except (ConnectionFailed, Refused, UnusableContinuation) as error:
                logger.warning(
                    "%s: children of all customers are read, because audit records cannot be read: "
                    "%s",
                    self.stream,
                    error,
                )
                return everything
            logger.info(
                "%s: children are read for the customers due since %s (%d of %d parts) and for %d "
                "named by audit records since %s",
                self.stream,
                since,
                (today - since).days,
                self.days,
                len(planned.changed),
                first,
            )
            return planned
        logger.info("%s: children of all customers are read: %s", self.stream, why)
        return everything

    def complete(self, planned: RefreshPlan, begun: float, *, resumed: bool) -> None:
        """Note that a pass is complete. The caller writes the STATE message.

        Args:
            planned: What was read.
            begun: When the pass began, perhaps in an earlier run: seconds since the epoch.
            resumed: Whether the pass was resumed. Then the first customers were read before the
                audit log was read as stored in the night.
        """
        bookmark = self.bookmarks.setdefault(self.stream, {})
        bookmark.pop(_KEY, None)
        if self.days > 1:
            day = min(planned.today, _day(begun))
            seen = {} if resumed else dict(planned.seen)
            bookmark[_KEY] = {"scope": self.scope, "complete": day.isoformat(), "seen": seen}

    def _since(self) -> dt.date | None:
        try:
            return dt.date.fromisoformat(self._stored["complete"])
        except (KeyError, TypeError, ValueError):
            # State may be edited by hand or written by other versions: ignore what cannot be read.
            return None

    @property
    def _stored(self) -> Mapping[str, Any]:
        stored: Any = self.bookmarks.get(self.stream, {}).get(_KEY)
        fits = isinstance(stored, dict) and stored.get("scope") == self.scope
        return stored if fits else {}

    def _with_changes(
        self, audit: ChangeStream, first: dt.date, planned: RefreshPlan, *, settled: dt.date
    ) -> RefreshPlan:
        """Ask the audit log who changed.

        Any record that names a customer counts. A late or replaced record changes the digest of its
        day, and all customers named on that day are read. Those of the last day are read again in
        any case: the recorded change may not have been visible yet.
        """
        before = self._stored.get("seen")
        known = before if isinstance(before, dict) else {}
        changed: set[str] = set()
        seen = {}
        for number in range((planned.today - first).days + 1):
            day = first + number * _DAY
            audit.run.report.reading(self.stream, f"(who changed, {day})")
            audit.run.report.progress()
            total, named = 0, set()
            for record in audit.request_records({"day": day.isoformat()}):
                # A sum does not depend on the order, which varies between responses.
                total += int(digest(record), 16)
                if record.get("customerId"):
                    named.add(str(record["customerId"]).lower())
            mark = f"{total % 2**64:016x}"
            if known.get(day.isoformat()) != mark:
                changed |= named
            if planned.today - audit.overlap * _DAY <= day < settled:
                seen[day.isoformat()] = mark
        return replace(planned, changed=frozenset(changed), seen=seen)


def _day(moment: float) -> dt.date:
    return dt.datetime.fromtimestamp(moment, dt.UTC).date()
