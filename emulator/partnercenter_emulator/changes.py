"""Changes to an emulator's data, and what the audit log records of them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .commerce import GENERATED
from .holdings import PARTNER, key_of

if TYPE_CHECKING:
    from .data import Record
    from .state import State

AUDITED: dict[tuple[str, str], tuple[str, str]] = {
    ("customers", "add"): ("customer", "add_customer"),
    ("customers", "change"): ("customer", "update_company_info"),
    ("customers", "remove"): (
        "partner_customer_relationship",
        "remove_partner_customer_relationship",
    ),
    ("customer", "change"): ("customer", "update_customer_billing_profile"),
    # A subscription begins with an order, and ends by moving to another partner.
    ("subscriptions", "add"): ("order", "create_order"),
    ("subscriptions", "change"): ("subscription", "update_subscription"),
    ("subscriptions", "remove"): ("transfer", "update_transfer"),
    ("orders", "add"): ("order", "create_order"),
    ("orders", "change"): ("order", "update_order"),
    ("orders", "remove"): ("transfer", "update_transfer"),
    ("agreements", "add"): ("agreement", "create_agreement"),
    ("subscribed_skus", "change"): ("license", "update_customer_user_licenses"),
    ("invoices", "add"): ("invoice", "ready_invoice"),
}
"""Resource and operation by place and change; the vendor's log has no records of other changes."""
KEYS = {"subscriptions": "SubscriptionId", "orders": "OrderId", "invoices": "InvoiceId"}


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """Whether the audit log records a change, and how many seconds later than others."""

    audited: bool = True
    late: float = 0


DEFAULT_AUDIT = AuditOptions()


class Changes:
    """Changes one emulator while it runs. Every method raises KeyError for what does not exist."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._directory = state.directory

    def create_customer(
        self,
        name: str,
        *,
        domain: str | None = None,
        reseller_id: str | None = None,
        audit_options: AuditOptions = DEFAULT_AUDIT,
    ) -> Record:
        """Add a customer and return it as a request by id does.

        Args:
            name: The company's name.
            domain: Its domain; a new one by default.
            reseller_id: The reseller that serves it; None for a direct customer.
            audit_options: What the audit log records of it.

        Raises:
            KeyError: There is no such reseller.
            ValueError: The domain belongs to another customer.
        """
        reseller = None if reseller_id is None else self._reseller(reseller_id)
        domain = domain or f"created{secrets.token_hex(6)}.onmicrosoft.com"
        if self._directory.has_domain(domain):
            msg = f"another customer has the domain {domain}"
            raise ValueError(msg)
        record = self._directory.create(domain, name, {}, reseller)
        position = self._customer(str(record["id"]))
        self.record_change("customers", "add", position, audit_options, new=record)
        return record

    def rename_customer(
        self, customer_id: str, name: str, audit_options: AuditOptions = DEFAULT_AUDIT
    ) -> None:
        """Change a customer's company name."""
        position = self._customer(customer_id)
        before = self._directory.full(position)
        self._directory.rename(position, name)
        after = self._directory.full(position)
        self.record_change("customers", "change", position, audit_options, old=before, new=after)

    def move_customer(self, customer_id: str, reseller_id: str | None) -> None:
        """Assign a customer to one reseller only, or to none; no audit log records it."""
        numbers = () if reseller_id is None else (self._reseller(reseller_id),)
        self._directory.assign(self._customer(customer_id), numbers)

    def remove_customer(
        self, customer_id: str, audit_options: AuditOptions = DEFAULT_AUDIT
    ) -> None:
        """Delete a customer."""
        position = self._customer(customer_id)
        self.record_change("customers", "remove", position, audit_options)
        self._directory.remove(position)

    def add(
        self,
        place: str,
        record: Record,
        customer_id: str | None,
        audit_options: AuditOptions = DEFAULT_AUDIT,
    ) -> Record:
        """Add a record and return it; missing members are generated.

        Raises:
            KeyError: There is no such customer, reseller or place.
        """
        if place == "audit_records":
            return self._state.audit.add(record, self._audit_delay(audit_options))
        if place == "relationships":
            position, number = self._customer(customer_id), self._reseller(str(record["id"]))
            numbers = [one for one in self._directory.resellers_of(position) if one != number]
            self._directory.assign(position, (*numbers, number))
            return self._directory.relationships(position)[-1]
        position = self._position(place, customer_id)
        added = self._state.holdings.add(place, position, record)
        self.record_change(place, "add", position, audit_options, new=added)
        return added

    def change(
        self,
        place: str,
        key: str,
        members: Record,
        customer_id: str | None,
        audit_options: AuditOptions = DEFAULT_AUDIT,
    ) -> Record:
        """Replace members of the record with this key and return it."""
        if place == "audit_records":
            return self._state.audit.change(key, members)
        if place == "customer":
            position = self._customer(key)
            before = self._directory.full(position)
            self._directory.amend(position, members)
            after = self._directory.full(position)
        else:
            position = self._position(place, customer_id)
            before, after = self._state.holdings.change(place, position, key, members)
        self.record_change(place, "change", position, audit_options, old=before, new=after)
        return after

    def remove(
        self,
        place: str,
        key: str,
        customer_id: str | None,
        audit_options: AuditOptions = DEFAULT_AUDIT,
    ) -> None:
        """Remove the record with this key."""
        if place == "relationships":
            position, number = self._customer(customer_id), self._reseller(key)
            numbers = self._directory.resellers_of(position)
            self._directory.assign(position, tuple(one for one in numbers if one != number))
            return
        position = self._position(place, customer_id)
        before = self._state.holdings.remove(place, position, key)
        self.record_change(place, "remove", position, audit_options, old=before)

    def record_change(  # noqa: PLR0913 - what a record contains
        self,
        place: str,
        change: str,
        position: int,
        audit_options: AuditOptions,
        *,
        old: Record | None = None,
        new: Record | None = None,
    ) -> None:
        """Write the audit record of a change, if it has one."""
        named = AUDITED.get((place, change))
        if named is None or not audit_options.audited:
            return
        record = new or old or {}
        data = {KEYS[place]: key_of(place, record)} if place in KEYS else {}
        self._state.audit.write(
            *named,
            customer=None if position == PARTNER else self._directory.listed(position),
            old=old,
            new=new,
            data=data,
            late=self._audit_delay(audit_options),
        )

    def _audit_delay(self, audit_options: AuditOptions) -> float:
        return self._state.options.audit_delay + audit_options.late

    def _position(self, place: str, customer_id: str | None) -> int:
        if place == "invoices":
            return PARTNER
        if place not in GENERATED:
            msg = f"nothing can be changed at {place}, only at: {', '.join((*GENERATED, *OTHERS))}"
            raise KeyError(msg)
        return self._customer(customer_id)

    def _customer(self, identifier: str | None) -> int:
        position = self._directory.position_of(identifier or "")
        if position is None:
            msg = f"no customer {identifier}"
            raise KeyError(msg)
        return position

    def _reseller(self, identifier: str) -> int:
        number = self._directory.reseller_number(identifier)
        if number is None:
            msg = f"no reseller {identifier}"
            raise KeyError(msg)
        return number


OTHERS = ("relationships", "invoices", "audit_records", "customer")
"""Places other than those of `GENERATED` where something can be changed."""
