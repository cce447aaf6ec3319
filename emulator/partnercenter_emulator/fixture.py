"""Customers, resellers and all other data as specified by a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .data import relationship

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .data import Record, Resellers


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """Explicit data instead of generated data, served unchanged.

    Attributes:
        customers: Records as lists show them; members that lists never show are served too.
        resellers: Records as `/v1/relationships` shows them.
        memberships: Pairs of customer id and reseller id.
        relationships: Relationship records by customer id, instead of those derived from the
            memberships.
        subscriptions: Subscriptions by customer id; none by default.
        orders: Orders by customer id.
        agreements: Agreements by customer id.
        subscribed_skus: Subscribed SKUs by customer id.
        audit_records: Records of the past; later changes are added.
        invoices: Invoices.
    """

    customers: Sequence[Record] = ()
    resellers: Sequence[Record] = ()
    memberships: Sequence[tuple[str, str]] = ()
    relationships: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    subscriptions: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    orders: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    agreements: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    subscribed_skus: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    audit_records: Sequence[Record] = ()
    invoices: Sequence[Record] = ()


class FixturePopulation:
    """The data of a `Fixture`."""

    def __init__(self, fixture: Fixture) -> None:
        """Index the fixture's records by id and domain."""
        self._customers = list(fixture.customers)
        self._relationships = fixture.relationships
        self.size = len(self._customers)
        self.resellers = [dict(reseller) for reseller in fixture.resellers]
        self._positions = {
            customer["id"]: position
            for position, customer in reversed([*enumerate(self._customers)])
        }
        self._domains = {
            str((customer.get("companyProfile") or {}).get("domain")).lower()
            for customer in self._customers
        }
        numbers = {reseller["id"]: number for number, reseller in enumerate(self.resellers)}
        self._served_by: dict[str, list[int]] = {}
        for customer_id, reseller_id in fixture.memberships:
            self._served_by.setdefault(customer_id, []).append(numbers[reseller_id])

    def assignments(self) -> Iterator[Resellers]:
        """Yield the resellers of each customer, in list order."""
        for customer in self._customers:
            yield tuple(self._served_by.get(customer["id"], ()))

    def identifier(self, position: int) -> str:
        """Return a customer's id."""
        return str(self._customers[position]["id"])

    def position_of(self, identifier: str) -> int | None:
        """Return the position of the first customer with this id, if there is one."""
        return self._positions.get(identifier)

    def listed(self, position: int) -> Record:
        """Return the customer unchanged."""
        return self._customers[position]

    def full(self, position: int) -> Record:
        """Return the customer unchanged."""
        return dict(self._customers[position])

    def has_domain(self, domain: str) -> bool:
        """Return whether a customer owns this domain (in lower case)."""
        return domain in self._domains

    def relationships(self, position: int, resellers: Resellers) -> list[Record]:
        """Return the customer's records as given, or derived from its resellers."""
        given = self._relationships.get(self.identifier(position))
        if given is not None:
            return list(given)
        return [relationship(self.resellers[number]) for number in resellers]
