"""The partner's current customers: the population and the changes made since."""

from __future__ import annotations

import itertools
import uuid
from array import array
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .data import listed_customer, relationship

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .data import Population, Record, Resellers

PAGE = 500
"""How many customers the iterators over everything read in one step."""


@dataclass(frozen=True)
class Filter:
    """A condition of `GET /v1/customers`: the field starts with the value, ignoring case."""

    field: str
    value: str


class Directory:
    """Who the partner's customers are and who serves them.

    A customer keeps its position forever: new ones are added at the end and removed ones leave a
    gap, so a listing that continues from a position neither repeats nor loses any others.
    """

    def __init__(self, population: Population) -> None:
        """Start with a population and assign its customers to their resellers."""
        self._population = population
        self._created: list[Record] = []
        self._created_positions: dict[str, int] = {}
        self._created_domains: set[str] = set()
        self._removed: set[int] = set()
        self._names: dict[int, str] = {}
        self._amended: dict[int, Record] = {}
        self.resellers = population.resellers
        self._members = [array("I") for _ in self.resellers]
        self._served_by: array[int] = array("I")
        self._exceptions: dict[int, Resellers] = {}
        self._no_reseller = len(self.resellers)
        self._numbers = {
            str(reseller["id"]).lower(): number for number, reseller in enumerate(self.resellers)
        }
        served, members = self._served_by.append, [member.append for member in self._members]
        for position, numbers in enumerate(population.assignments()):
            served(numbers[0] if numbers else self._no_reseller)
            for number in numbers:
                members[number](position)
            if len(numbers) > 1:
                self._exceptions[position] = numbers

    def __len__(self) -> int:
        """Return how many customers there are."""
        return len(self._served_by) - len(self._removed)

    def page(self, condition: Filter | None, start: int, size: int) -> tuple[list[int], int | None]:
        """Return up to `size` positions from `start` on, and where the next page starts."""
        found: list[int] = []
        for position in self._matching(condition, start):
            if len(found) == size:
                return found, position
            found.append(position)
        return found, None

    def slice(self, condition: Filter | None, first: int, size: int) -> list[int]:
        """Return up to `size` positions after the current first `first`."""
        return list(itertools.islice(self._matching(condition, 0), first, first + size))

    def count(self, condition: Filter | None) -> int:
        """Return how many customers match."""
        return len(self) if condition is None else sum(1 for _ in self._matching(condition, 0))

    def position_of(self, identifier: str) -> int | None:
        """Return the position of a customer by id, ignoring case; None if it does not exist."""
        identifier = identifier.lower()
        position = self._created_positions.get(identifier)
        if position is None:
            position = self._population.position_of(identifier)
        return None if position in self._removed else position

    def reseller_number(self, identifier: str) -> int | None:
        """Return the position of a reseller by id, ignoring case."""
        return self._numbers.get(identifier.lower())

    def resellers_of(self, position: int) -> Resellers:
        """Return the positions of the resellers that serve a customer."""
        numbers = self._exceptions.get(position)
        if numbers is not None:
            return numbers
        number = self._served_by[position]
        return () if number == self._no_reseller else (number,)

    def listed(self, position: int) -> Record:
        """Return a customer as a list shows it."""
        if position < self._population.size:
            record = self._population.listed(position)
        else:
            created = self._created[position - self._population.size]
            record = listed_customer(
                created["id"],
                created["companyProfile"]["domain"],
                created["companyProfile"]["companyName"],
            )
        name = self._names.get(position)
        return record if name is None else _renamed(record, name)

    def full(self, position: int) -> Record:
        """Return a customer as a request by id does."""
        if position < self._population.size:
            record = self._population.full(position)
        else:
            record = dict(self._created[position - self._population.size])
        numbers = self.resellers_of(position)
        if numbers:
            record["associatedPartnerId"] = self.resellers[numbers[0]]["id"]
        name = self._names.get(position)
        record = record if name is None else _renamed(record, name)
        return record | self._amended[position] if position in self._amended else record

    def original(self, position: int) -> Record:
        """Return a customer as the list originally showed it."""
        return self._population.listed(position)

    def relationships(self, position: int) -> list[Record]:
        """Return the relationship records of a customer."""
        numbers = self.resellers_of(position)
        if position < self._population.size:
            return self._population.relationships(position, numbers)
        return [relationship(self.resellers[number]) for number in numbers]

    def has_domain(self, domain: str) -> bool:
        """Return whether a customer owns this domain, ignoring case."""
        domain = domain.lower()
        return domain in self._created_domains or self._population.has_domain(domain)

    def create(self, domain: str, name: str, details: Record, reseller: int | None) -> Record:
        """Add a customer at the end of the list and return it as a request by id does.

        `details` are the members that only the record by id has (`billingProfile` and others).
        """
        position = len(self._served_by)
        # The same changes to the same data result in the same ids, even after a restart.
        identifier = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{position}.{domain}"))
        listed = listed_customer(identifier, domain, name)
        self._created.append(
            {
                "id": identifier,
                "commerceId": identifier,
                "companyProfile": listed["companyProfile"],
                **details,
                "relationshipToPartner": listed["relationshipToPartner"],
                "allowDelegatedAccess": True,
                "links": listed["links"],
                "attributes": listed["attributes"],
            }
        )
        self._created_positions[identifier] = position
        self._created_domains.add(domain.lower())
        self._served_by.append(self._no_reseller)
        self.assign(position, () if reseller is None else (reseller,))
        return self.full(position)

    def remove(self, position: int) -> None:
        """Delete a customer."""
        self.assign(position, ())
        self._removed.add(position)

    def rename(self, position: int, name: str) -> None:
        """Change a customer's company name."""
        self._names[position] = name

    def amend(self, position: int, members: Record) -> None:
        """Replace members of a customer that only a request by id returns."""
        self._amended[position] = self._amended.get(position, {}) | members

    def assign(self, position: int, numbers: Resellers) -> None:
        """Assign a customer to these resellers only."""
        for number in self.resellers_of(position):
            members = self._members[number]
            del members[bisect_left(members, position)]
        for number in numbers:
            insort(self._members[number], position)
        self._served_by[position] = numbers[0] if numbers else self._no_reseller
        self._exceptions.pop(position, None)
        if len(numbers) > 1:
            self._exceptions[position] = numbers

    def counts(self) -> dict[str, int]:
        """Return how many customers, resellers, memberships and direct customers there are."""
        members = sum(len(member) for member in self._members)
        direct = sum(1 for position in self.positions() if not self.resellers_of(position))
        return {
            "customers": len(self),
            "resellers": len(self.resellers),
            "memberships": members,
            "direct_customers": direct,
        }

    def positions(self, condition: Filter | None = None) -> Iterator[int]:
        """Yield the customers' positions; changes in the meantime are safe."""
        start: int | None = 0
        while start is not None:
            positions, start = self.page(condition, start, PAGE)
            yield from positions

    def memberships(self) -> Iterator[Record]:
        """Yield `reseller_id` and `customer_id`, reseller by reseller, in the lists' order."""
        for reseller in self.resellers:
            for position in self.positions(Filter("IndirectReseller", reseller["id"])):
                yield {"reseller_id": reseller["id"], "customer_id": self.identifier(position)}

    def identifier(self, position: int) -> str:
        """Return a customer's id."""
        if position < self._population.size:
            return self._population.identifier(position)
        return str(self._created[position - self._population.size]["id"])

    def _matching(self, condition: Filter | None, start: int) -> Iterator[int]:
        if condition is not None and condition.field == "IndirectReseller":
            members = self._members_of(condition.value.lower())
            return (members[index] for index in range(bisect_left(members, start), len(members)))
        positions = range(start, len(self._served_by))
        present = (
            (position for position in positions if position not in self._removed)
            if self._removed
            else iter(positions)
        )
        if condition is None:
            return present
        member = "companyName" if condition.field == "CompanyName" else "domain"
        wanted = condition.value.casefold()
        return (
            position
            for position in present
            if str(self.listed(position)["companyProfile"][member]).casefold().startswith(wanted)
        )

    def _members_of(self, beginning: str) -> Sequence[int]:
        """Return the customers of every reseller whose id starts with this."""
        number = self._numbers.get(beginning)
        if number is not None:
            return self._members[number]
        several = [
            self._members[number]
            for identifier, number in self._numbers.items()
            if identifier.startswith(beginning)
        ]
        return sorted(set().union(*several))


def _renamed(record: Record, name: str) -> Record:
    return record | {"companyProfile": record["companyProfile"] | {"companyName": name}}
