"""The audit log: generated records of the past, and the changes made since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .history import DAY_TICKS, EPOCH_TICKS, GeneratedHistory, date_of
from .responses import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .data import Record
    from .directory import Directory
    from .fixture import Fixture
    from .options import Options

DAYS_KEPT = 90
DEFAULT_DAYS = 30
DAY = 86_400


@dataclass(slots=True)
class Entry:
    """One record: when it happened, and when it appears in the log (seconds of the clock)."""

    ticks: int
    visible_at: float
    record: Record

    @property
    def day(self) -> int:
        """The day on which it happened, counted from 1970."""
        return (self.ticks - EPOCH_TICKS) // DAY_TICKS


class AuditLog:
    """The records of a partner, day by day.

    Each past day has as many generated records as the options set. Changes made while the emulator
    runs, and records of a fixture, are added to them.
    """

    def __init__(
        self,
        directory: Directory,
        partner_id: str,
        clock: Callable[[], float],
        seed: int,
        fixture: Fixture | None,
    ) -> None:
        """Begin with the fixture's records, or with generated ones."""
        self._partner_id = partner_id
        self._clock = clock
        self._entries: list[Entry] = []
        self._used_ticks: set[int] = set()
        past = GeneratedHistory(directory, partner_id, seed) if fixture is None else None
        # A listing reads the same few days for each of its pages.
        self._generated = lru_cache(maxsize=8)(past.day) if past is not None else None
        for record in fixture.audit_records if fixture is not None else ():
            self._entries.append(Entry(ticks_of(record), 0, record))

    def today(self) -> int:
        """Return the current day, counted from 1970."""
        return int(self._clock() // DAY)

    def records(self, options: Options, first: int, last: int) -> list[Record]:
        """Return what the log shows now for the days from `first` to `last`."""
        now, today = self._clock(), self.today()
        found = [
            entry
            for entry in self._entries
            if entry.visible_at <= now and first <= entry.day <= last
        ]
        if self._generated is not None and options.audit_per_day:
            for number in range(max(first, today - DAYS_KEPT), min(last, today - 1) + 1):
                rows = self._generated(number, options.audit_per_day, number >= today - 1)
                found += [Entry(ticks, 0, record) for ticks, record in rows]
        found.sort(key=lambda entry: entry.ticks, reverse=options.audit_order == "descending")
        return [entry.record for entry in found]

    def write(  # noqa: PLR0913 - what a record contains
        self,
        resource: str,
        operation: str,
        *,
        customer: Record | None,
        old: Record | None,
        new: Record | None,
        data: Record,
        late: float,
    ) -> Record:
        """Write what happened just now; it appears in the log after `late` seconds."""
        ticks = self._next()
        identity = f"{self._partner_id}_{resource}_{operation}_{ticks}"
        record: Record = {"id": identity, "partnerId": self._partner_id}
        if customer is not None:
            record["id"] = f"{self._partner_id}_{customer['id']}_{resource}_{operation}_{ticks}"
            record["customerId"] = customer["id"]
            record["customerName"] = (customer.get("companyProfile") or {}).get("companyName")
        record |= {
            "userPrincipalName": "agent@emulated-partner.onmicrosoft.com",
            "applicationId": "Partner Center Web UI",
            "resourceType": resource,
            "operationType": operation,
            "operationDate": date_of(ticks),
            "operationStatus": "succeeded",
        }
        if old is not None:
            record["resourceOldValue"] = snapshot(old)
        if new is not None:
            record["resourceNewValue"] = snapshot(new)
        record["customizedData"] = [{"key": key, "value": value} for key, value in data.items()]
        record["attributes"] = {"objectType": "AuditRecord"}
        self._entries.append(Entry(ticks, self._clock() + late, record))
        return record

    def add(self, members: Record, late: float) -> Record:
        """Add a custom record to the log; without a date it happened just now."""
        if "operationDate" in members:
            record, ticks = dict(members), ticks_of(members)
        else:
            ticks = self._next()
            record = {"id": f"{self._partner_id}_{ticks}", "operationDate": date_of(ticks)}
            record |= members
        self._entries.append(Entry(ticks, self._clock() + late, record))
        return record

    def change(self, key: str, members: Record) -> Record:
        """Replace members of a written record, for example its status.

        Raises:
            KeyError: No record with this id was written while the emulator ran.
        """
        for entry in self._with_key(key):
            entry.record = entry.record | members
            return entry.record
        msg = f"no record {key} in audit_records"
        raise KeyError(msg)

    def _with_key(self, key: str) -> Iterator[Entry]:
        return (entry for entry in self._entries if entry.record.get("id") == key)

    def _next(self) -> int:
        """Return the ticks of now, or of the next moment that no record has yet."""
        ticks = EPOCH_TICKS + int(self._clock() * 1_000_000) * 10
        while ticks in self._used_ticks:
            ticks += 1
        self._used_ticks.add(ticks)
        return ticks


def ticks_of(record: Record) -> int:
    """Return when a given record happened."""
    moment = datetime.fromisoformat(record["operationDate"])
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return EPOCH_TICKS + since // timedelta(microseconds=1) * 10


def snapshot(record: Record) -> str:
    """Return a record as JSON text with PascalCase names, as the log stores it."""
    return as_json(_pascal(record)).decode()


def _pascal(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        return [_pascal(element) for element in value]
    if isinstance(value, dict):
        # The credentials are an exception, as in the vendor's sample.
        return {
            key[:1].upper() + key[1:]: element if key == "userCredentials" else _pascal(element)
            for key, element in value.items()
        }
    return value
