"""Collections of customers and of the partner: generated or given, with the changes made since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commerce import GENERATED, SAMPLES
from .invoices import generated_invoice, generated_invoices
from .subscriptions import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .data import Record
    from .directory import Directory
    from .fixture import Fixture

PARTNER = -1
"""The position of whatever belongs to no customer."""


class Holdings:
    """Records by place and customer; only those of changed customers are stored.

    A record keeps its number in its collection: new ones are added at the end, and removed ones
    leave None.
    """

    def __init__(
        self, directory: Directory, seed: int, invoices: int, fixture: Fixture | None
    ) -> None:
        """Begin with generated records, or those of the fixture."""
        self._directory = directory
        self._seed = str(seed).encode()[:64]
        self._customers = len(directory)
        self._changed: dict[tuple[str, int], list[Record | None]] = {}
        if fixture is None:
            self._fixture: dict[str, Mapping[str, Sequence[Record]]] | None = None
            self._invoices: Sequence[Record] = generated_invoices(self._seed, invoices)
        else:
            self._fixture = {place: getattr(fixture, place) for place in GENERATED}
            self._invoices = fixture.invoices

    def records(self, place: str, position: int = PARTNER) -> Sequence[Record | None]:
        """Return a collection with its gaps."""
        changed = self._changed.get((place, position)) if self._changed else None
        if changed is not None:
            return changed
        if position == PARTNER:
            return self._invoices
        if self._fixture is not None:
            return self._fixture[place].get(self._directory.identifier(position), ())
        return GENERATED[place](self._owner(position)) if position < self._customers else ()

    def add(self, place: str, position: int, members: Record) -> Record:
        """Add a record at a collection's end; missing members are generated."""
        records = self._own(place, position)
        if position == PARTNER:
            sample = generated_invoice(self._seed, len(records))
        else:
            sample = SAMPLES[place](self._owner(position), len(records))
        records.append(sample | members)
        return sample | members

    def change(self, place: str, position: int, key: str, members: Record) -> tuple[Record, Record]:
        """Replace members of the record with this key; return it before and after.

        Raises:
            KeyError: There is no such record.
        """
        records = self._own(place, position)
        number, before = self._find(place, records, key)
        after = before | members
        records[number] = after
        return before, after

    def remove(self, place: str, position: int, key: str) -> Record:
        """Remove a record and return it.

        Raises:
            KeyError: There is no such record.
        """
        records = self._own(place, position)
        number, before = self._find(place, records, key)
        records[number] = None
        return before

    def _owner(self, position: int) -> Owner:
        numbers = self._directory.resellers_of(position)
        mpn_id = str(self._directory.resellers[numbers[0]].get("mpnId")) if numbers else ""
        return Owner(self._directory.identifier(position), self._seed, mpn_id)

    def _own(self, place: str, position: int) -> list[Record | None]:
        held = self._changed.get((place, position))
        if held is None:
            held = self._changed[place, position] = list(self.records(place, position))
        return held

    @staticmethod
    def _find(place: str, records: list[Record | None], key: str) -> tuple[int, Record]:
        for number, record in enumerate(records):
            if record is not None and key_of(place, record).lower() == key.lower():
                return number, record
        msg = f"no record {key} in {place}"
        raise KeyError(msg)


def key_of(place: str, record: Record) -> str:
    """Return what identifies a record in its collection; for agreements it is a date."""
    match place:
        case "agreements":
            return str(record.get("dateAgreed"))
        case "subscribed_skus":
            return str((record.get("productSku") or {}).get("id"))
        case _:
            return str(record.get("id"))
