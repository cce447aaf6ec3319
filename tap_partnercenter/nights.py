"""Nights that cost what changed: whose children a run reads where `full_refresh_days` is above 1.

Each customer's turn comes once in that many days, by a hash of its id. Between turns the audit
records say who changed. What is kept is the day up to which all turns were taken: turns of nights
that failed or never ran are made up for by the next run. And a digest of each of the last days of
the audit log, so that those days are read again, but acted on again only if something was added.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tap_partnercenter.errors import ConnectionFailed, Refused
from tap_partnercenter.pagination import UnusableContinuation
from tap_partnercenter.records import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from logging import Logger

    from tap_partnercenter.changes import ChangeStream

_DAY = dt.timedelta(days=1)
_KEY = "nights"
#: Seconds after which what a record tells of is to be read: orders and subscriptions follow theirs
#: within 15 minutes ("Get all of a customer's orders").
_SETTLED_AFTER = 3600


def turn(customer_id: str, days: int) -> int:
    """Tell on which days a customer's turn comes: those whose number since year 1 leaves this rest.

    It is the remainder of the second four bytes of the MD5 of the id in lower case: shards divide
    by the first four, so that each of them has its part of every turn.
    """
    hashed = hashlib.md5(customer_id.lower().encode(), usedforsecurity=False).digest()
    return int.from_bytes(hashed[4:8], "big") % days


@dataclass(frozen=True, slots=True)
class Night:
    """Whose children are read.

    Attributes:
        days: Days from one turn of a customer to the next.
        today: The day up to which all turns are taken when the pass is complete.
        since: The last day for which that was so before; None: everything is read.
        changed: Customers that the audit records name, in lower case.
        seen: Days of the audit log as the night saw them, each with the digest of its records.
    """

    days: int
    today: dt.date
    since: dt.date | None = None
    changed: frozenset[str] = frozenset()
    seen: Mapping[str, str] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether some customers are left to another night."""
        return self.since is not None

    @property
    def scope(self) -> list[Any]:
        """What an interrupted pass must share to be continued.

        Whoever reads everything may go on after midnight. Where turns are taken, customers before
        the checkpoint would miss that of the new day.
        """
        return [self.days, self.since and [self.since, self.today]]

    def reason(self, customer_id: str) -> str | None:
        """Say why a customer's children are read, None if they are not."""
        if self.since is None:
            return "all"
        ordinal = self.today.toordinal()
        if (ordinal - turn(customer_id, self.days)) % self.days < ordinal - self.since.toordinal():
            return "turn"
        return "audit" if customer_id.lower() in self.changed else None


class Nights:
    """Plans a night from the bookmark of the last complete one, and the audit records since."""

    def __init__(
        self, bookmarks: MutableMapping[str, Any], stream: str, days: int, scope: str
    ) -> None:
        """Use the bookmark of a stream.

        Args:
            bookmarks: Those of all streams, in the state.
            stream: Its name.
            days: From one turn of a customer to the next; 1 for everything in each run.
            scope: Digest of what a night covers. After one of another scope everything is read.
        """
        self._bookmarks = bookmarks
        self._stream = stream
        self._days = days
        self._scope = scope

    def plan(self, now: float, audit: ChangeStream, logger: Logger) -> Night:
        """Decide whose children are read, and say so.

        Args:
            now: Seconds since the epoch.
            audit: The stream of audit records; it need not be selected.
            logger: For one line.
        """
        today = _day(now)
        everything = Night(self._days, today)
        if self._days == 1:
            return everything
        since = self._since()
        first = since and since - audit.overlap * _DAY
        if since is None or first is None:
            why = "no complete run with the same full_refresh_days, streams, maps, shards, tenant"
        elif since > today:
            why = f"the last complete run is of {since}, which is yet to come"
        elif (today - since).days >= self._days:
            why = f"the last complete run is of {since}, and each turn has come since"
        elif first < today - audit.reach * _DAY:
            why = f"the last complete run is of {since}, and audit records do not reach back to it"
        else:
            night = Night(self._days, today, since)
            try:
                night = self._asked(audit, first, night, settled=_day(now - _SETTLED_AFTER))
            except (ConnectionFailed, Refused, UnusableContinuation) as error:
                logger.warning(
                    "%s: children of all customers are read, since audit records cannot be: %s",
                    self._stream,
                    error,
                )
                return everything
            logger.info(
                "%s: children are read of the customers whose turn came since %s, a part of %d in "
                "%d, and of %d that audit records since %s name",
                self._stream,
                since,
                (today - since).days,
                self._days,
                len(night.changed),
                first,
            )
            return night
        logger.info("%s: children of all customers are read: %s", self._stream, why)
        return everything

    def complete(self, night: Night, begun: float, *, resumed: bool) -> None:
        """Note that a pass is complete. The caller writes the STATE message.

        Args:
            night: What was read.
            begun: When the pass began, perhaps in an earlier run: seconds since the epoch.
            resumed: Whether it was. Then the first customers were read before the audit log was
                seen as it is noted in the night.
        """
        bookmark = self._bookmarks.setdefault(self._stream, {})
        bookmark.pop(_KEY, None)
        if self._days > 1:
            day = min(night.today, _day(begun))
            seen = {} if resumed else dict(night.seen)
            bookmark[_KEY] = {"scope": self._scope, "complete": day.isoformat(), "seen": seen}

    def _since(self) -> dt.date | None:
        stored = self._stored
        try:
            return dt.date.fromisoformat(stored["complete"]) if stored else None
        except (KeyError, TypeError, ValueError):
            # State is edited by hand and written by other versions; what is unreadable is ignored.
            return None

    @property
    def _stored(self) -> Mapping[str, Any]:
        stored: Any = self._bookmarks.get(self._stream, {}).get(_KEY)
        fits = isinstance(stored, dict) and stored.get("scope") == self._scope
        return stored if fits else {}

    def _asked(
        self, audit: ChangeStream, first: dt.date, night: Night, *, settled: dt.date
    ) -> Night:
        """Ask the audit log who changed.

        A record counts, whatever it says of the customer. One that comes late, or is replaced,
        makes another digest of its day, and all whom that day names are read. Those of the last
        day are read again in any case: what was recorded may not have been there to be read.

        Raises:
            PartnerCenterError: If a day cannot be read.
        """
        before = self._stored.get("seen")
        known = before if isinstance(before, dict) else {}
        changed: set[str] = set()
        seen = {}
        for number in range((night.today - first).days + 1):
            day = first + number * _DAY
            audit.run.report.reading(self._stream, f"(who changed, {day})")
            audit.run.report.progress()
            total, named = 0, set()
            for record in audit.request_records({"day": day.isoformat()}):
                # A sum does not depend on the order, in which the service is not constant.
                total += int(digest(record), 16)
                if record.get("customerId"):
                    named.add(str(record["customerId"]).lower())
            mark = f"{total % 2**64:016x}"
            if known.get(day.isoformat()) != mark:
                changed |= named
            if night.today - audit.overlap * _DAY <= day < settled:
                seen[day.isoformat()] = mark
        return replace(night, changed=frozenset(changed), seen=seen)


def _day(moment: float) -> dt.date:
    return dt.datetime.fromtimestamp(moment, dt.UTC).date()
