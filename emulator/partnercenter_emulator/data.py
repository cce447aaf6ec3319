"""Customers and resellers generated from a seed.

Nothing about a generated customer is stored. Its id, names and addresses are computed from its
position in the list, and the position is computed from the id. So a million customers need no more
memory than the table of which reseller serves whom.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .names import LOCALES
from .variety import guid

if TYPE_CHECKING:
    from collections.abc import Iterator

Record: TypeAlias = dict[str, Any]
Resellers: TypeAlias = tuple[int, ...]
"""Who serves a customer: positions in the list of resellers; empty for a direct customer."""

DIRECT_SHARE = 0.04
DOUBLE_SHARE = 0.01
SCATTER = 0x9E3779B1
"""Spreads neighbouring positions over 32 bits; any odd number has an inverse that undoes it."""
UNSCATTER = pow(SCATTER, -1, 2**32)
RELATIONSHIP_TYPE = "is_indirect_cloud_solution_provider_of"


class Population(Protocol):
    """The customers and resellers a partner starts with; positions count from 0 in list order."""

    size: int
    resellers: list[Record]

    def assignments(self) -> Iterator[Resellers]:
        """Yield the resellers of each customer, in list order."""

    def identifier(self, position: int) -> str:
        """Return a customer's id."""

    def position_of(self, identifier: str) -> int | None:
        """Return the position of the customer with this id, if there is one."""

    def listed(self, position: int) -> Record:
        """Return a customer as a list shows it."""

    def full(self, position: int) -> Record:
        """Return a customer as a request by id does, without its reseller."""

    def has_domain(self, domain: str) -> bool:
        """Return whether a customer owns this domain (in lower case)."""

    def relationships(self, position: int, resellers: Resellers) -> list[Record]:
        """Return a customer's relationship records, given who serves it."""


def link(uri: str) -> Record:
    """Return a `links` member with only `self`."""
    return {"self": {"uri": uri, "method": "GET", "headers": []}}


def listed_customer(identifier: str, domain: str, name: str) -> Record:
    """Return a customer in the shape of the vendor's list responses."""
    return {
        "id": identifier,
        "companyProfile": {
            "tenantId": identifier,
            "domain": domain,
            "companyName": name,
            "links": link(f"/customers/{identifier}/profiles/company"),
            "attributes": {"objectType": "CustomerCompanyProfile"},
        },
        "relationshipToPartner": "reseller",
        "links": link(f"/customers/{identifier}"),
        "attributes": {"objectType": "Customer"},
    }


def relationship(reseller: Record) -> Record:
    """Return the record that says "this reseller serves the customer".

    Its `id` is the reseller's and it has neither `state` nor `location`, as in the samples of the
    vendor's page "Get indirect resellers of a customer".
    """
    return {
        "id": reseller["id"],
        "name": reseller.get("name"),
        "relationshipType": RELATIONSHIP_TYPE,
        "mpnId": reseller.get("mpnId"),
        "attributes": {"objectType": "PartnerRelationship"},
    }


class GeneratedPopulation:
    """A partner's customers and resellers computed from a seed."""

    def __init__(self, seed: int, customers: int, resellers: int) -> None:
        """Prepare the customers and resellers; the same arguments give the same data."""
        self.size = customers
        self._seed = seed
        self._hash = hashlib.blake2b(digest_size=24, key=str(seed).encode()[:64])
        self.resellers = [self._reseller(number) for number in range(resellers)]

    def assignments(self) -> Iterator[Resellers]:
        """Yield the resellers of each customer: sizes fall like 1/rank, few have none or two."""
        count = len(self.resellers)
        draw = random.Random(self._seed).random  # noqa: S311 - data, no secret
        if not count:
            yield from (() for _ in range(self.size))
            return
        weights = list(accumulate(1 / rank for rank in range(1, count + 1)))
        singles: list[Resellers] = [(number,) for number in range(count)]
        scale = weights[-1] / (1 - DIRECT_SHARE - DOUBLE_SHARE)
        floor = DIRECT_SHARE + DOUBLE_SHARE
        last = count - 1
        for _ in range(self.size):
            chance = draw()
            if chance >= floor:
                yield singles[min(bisect_right(weights, (chance - floor) * scale), last)]
            elif chance < DIRECT_SHARE:
                yield ()
            elif count == 1:
                yield singles[0]
            else:
                first = int(draw() * count)
                second = (first + 1 + int(draw() * (count - 1))) % count
                yield (min(first, second), max(first, second))

    def identifier(self, position: int) -> str:
        """Return a customer's id, which contains its position, masked by the rest."""
        return self._guid(position, self._digest(position))

    def position_of(self, identifier: str) -> int | None:
        """Unmask the position in an id and verify it by computing the id again."""
        try:
            mask = int(identifier[:8], 16)
            position = (int(identifier[28:], 16) ^ mask) * UNSCATTER % 2**32 - 1
        except ValueError:
            return None
        known = 0 <= position < self.size and self.identifier(position) == identifier
        return position if known else None

    def listed(self, position: int) -> Record:
        """Return a customer as a list shows it."""
        digest = self._digest(position)
        name, domain = _company(digest, position)
        return listed_customer(self._guid(position, digest), domain, name)

    def full(self, position: int) -> Record:
        """Return a customer with billing profile, domains and delegated access."""
        digest = self._digest(position)
        record = self.listed(position)
        profile = record["companyProfile"]
        billing = _billing_profile(digest, position, profile["companyName"])
        profile["organizationRegistrationNumber"] = f"{int.from_bytes(digest[17:20]):09d}"
        return {
            "id": record["id"],
            "commerceId": record["id"],
            "companyProfile": profile,
            "billingProfile": billing,
            "relationshipToPartner": record["relationshipToPartner"],
            "allowDelegatedAccess": digest[21] > 25,  # noqa: PLR2004 - nine in ten
            "customDomains": [profile["domain"]],
            "links": record["links"],
            "attributes": record["attributes"],
        }

    def has_domain(self, domain: str) -> bool:
        """Find the position at the end of a domain's first label and compute the domain again."""
        label = domain.partition(".")[0]
        digits = label[len(label.rstrip("0123456789")) :]
        position = int(digits[:12] or -1)
        return 0 <= position < self.size and _company(self._digest(position), position)[1] == domain

    def relationships(self, position: int, resellers: Resellers) -> list[Record]:
        """Return the records, which vary wherever the vendor's own pages disagree."""
        records = [relationship(self.resellers[number]) for number in resellers]
        if not records:
            return records
        chance, first = self._digest(position)[20], records[0]
        if chance < 5:  # noqa: PLR2004 - 2 %: what the list of resellers adds
            reseller = self.resellers[resellers[0]]
            first |= {"state": reseller["state"], "location": reseller["location"]}
        elif chance == 5:  # noqa: PLR2004
            first["partnerId"] = first.pop("mpnId")
        elif chance == 6:  # noqa: PLR2004
            first["partnerId"] = first["mpnId"]
        elif chance == 7:  # noqa: PLR2004
            del first["relationshipType"]
        return records

    def _digest(self, position: int) -> bytes:
        state = self._hash.copy()
        state.update(position.to_bytes(5))
        return state.digest()

    def _guid(self, position: int, digest: bytes) -> str:
        text = guid(digest)
        return f"{text[:28]}{int(text[:8], 16) ^ (position + 1) * SCATTER % 2**32:08x}"

    def _reseller(self, number: int) -> Record:
        digest = hashlib.blake2b(
            b"reseller %d" % number, key=str(self._seed).encode()[:64]
        ).digest()
        locale = LOCALES[digest[16] % len(LOCALES)]
        stem = locale.stems[digest[17] % len(locale.stems)][0]
        form = locale.forms[digest[18] % len(locale.forms)]
        return {
            "id": guid(digest),
            "name": locale.pattern.format(stem=stem, trade=f"Cloud {number + 1}", form=form),
            "relationshipType": RELATIONSHIP_TYPE,
            "state": "Active",
            "mpnId": str(5_000_000 + number),
            "location": locale.country,
            "attributes": {"objectType": "PartnerRelationship"},
        }


def _company(digest: bytes, position: int) -> tuple[str, str]:
    """Return name and domain of the company with this digest."""
    locale = LOCALES[digest[16] % len(LOCALES)]
    stem, letters = locale.stems[digest[17] % len(locale.stems)]
    trade = locale.trades[digest[18] % len(locale.trades)]
    form = locale.forms[digest[19] % len(locale.forms)]
    name = locale.pattern.format(stem=stem, trade=trade, form=form)
    return name, f"{letters}{position}.onmicrosoft.com"


def _billing_profile(digest: bytes, position: int, company: str) -> Record:
    locale = LOCALES[digest[16] % len(LOCALES)]
    city, state, postal_code = locale.places[digest[22] % len(locale.places)]
    first_name, last_name = locale.people[digest[23] % len(locale.people)]
    return {
        "id": guid(digest[::-1]),
        "firstName": first_name,
        "lastName": last_name,
        "email": f"office@customer{position}.example",
        "culture": locale.culture,
        "language": locale.culture[:2],
        "companyName": company,
        "defaultAddress": {
            "country": locale.country,
            "city": city,
            "state": state,
            "addressLine1": locale.street.format(number=1 + digest[21]),
            "postalCode": postal_code,
            "firstName": first_name,
            "lastName": last_name,
            "phoneNumber": locale.phone.format(number=100_000 + position % 900_000),
        },
        "attributes": {
            "etag": str(int.from_bytes(digest[8:16], signed=True)),
            "objectType": "CustomerBillingProfile",
        },
    }
