"""The subscriptions of a generated customer.

Everything is derived from the customer's id and a seed, and nothing is stored. Members and values
vary wherever the vendor's pages, its SDKs and recordings disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .names import LOCALES
from .variety import FRACTIONS, NEVER, NO_END, Draw, day, guid, midnight, utc

if TYPE_CHECKING:
    from .data import Record

SUBSCRIPTION_COUNTS = (0, 1, 1, 2, 2, 3, 4, 5)
MODERN = (
    ("CFQ7TTC0LH16:0001:CFQ7TTC0K5DR", "Microsoft 365 Business Basic"),
    ("CFQ7TTC0LDPB:0001:CFQ7TTC0K18P", "Microsoft 365 Business Premium"),
    ("CFQ7TTC0LF8Q:0001:CFQ7TTC0K971", "Exchange Online (Plan 1)"),
    ("CFQ7TTC0LFLZ:0002:CFQ7TTC0K7TB", "Microsoft 365 E3"),
)
LEGACY = (
    ("031C9E47-4802-4248-838E-778FB1D2CC05", "Office 365 Business Premium"),
    ("bd938f12-058f-4927-bba3-ae36b1d2501c", "Office 365 Business Essentials"),
    ("MS-AZR-0145P", "Microsoft Azure"),
)
STATUSES = (*["active"] * 20, "suspended", "suspended", "deleted", "expired", "disabled", "pending")
UNKNOWN_STATUS = "under_review"
CYCLES = ("monthly", "monthly", "annual", "triennial", "one_time", "none")
TERMS = ("P1M", "P1Y", "P1Y", "P3Y", "")
RARE = 32
"""One record in this many has a particular oddity."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The customer whose records are generated: its id, partner's seed and reseller's MPN id."""

    id: str
    seed: bytes
    mpn_id: str = ""

    def draw(self, *name: str | int) -> Draw:
        """Return the random choices for one of its records."""
        return Draw(self.seed, self.id, *name)


def subscriptions(owner: Owner) -> list[Record]:
    """Return a customer's subscriptions; one customer in eight has none."""
    count = owner.draw("subscriptions").one_of(0, SUBSCRIPTION_COUNTS)
    return [subscription(owner, number) for number in range(count)]


def subscription(owner: Owner, number: int) -> Record:
    """Return one subscription; three in eight are legacy ones."""
    draw = owner.draw("subscription", number)
    return _legacy(owner, draw, number) if draw[0] % 8 < 3 else _modern(owner, draw, number)  # noqa: PLR2004


def _legacy(owner: Owner, draw: Draw, number: int) -> Record:
    offer, name = draw.one_of(1, LEGACY)
    usage = offer.startswith("MS-AZR")
    identifier = guid(draw.bytes(16)).upper()
    begun = day(draw, 32)
    ends = begun + timedelta(days=365)
    record: Record = {
        "id": identifier,
        "offerId": offer,
        "offerName": name,
        "entitlementId": guid(draw.bytes(44)).upper(),
        "friendlyName": _nickname(draw, name),
        "quantity": 1 if usage else 1 + draw[2] % 250,
        "unitType": "Usage-based" if usage else "Licenses",
        "creationDate": utc(begun, draw.one_of(3, FRACTIONS)),
        "effectiveStartDate": midnight(begun),
        "commitmentEndDate": NO_END if usage else midnight(ends),
        "status": _status(draw),
        "autoRenewEnabled": not usage,
        "isTrial": draw[5] % RARE == 1,
        "billingType": "usage" if usage else "license",
        "billingCycle": draw.one_of(6, CYCLES),
        "partnerId": owner.mpn_id,
        "actions": draw.one_of(7, (["edit", "cancel"], ["Cancel", "Edit"])),
        "contractType": "subscription",
        "attentionNeeded": False,
        "actionTaken": False,
        "orderId": order_id(owner, number // 2),
        "links": _subscription_links(owner, identifier) | {"offer": link_to(f"/offers/{offer}")},
        "attributes": {"etag": draw.hex(40, 16), "objectType": "Subscription"},
    }
    if number and draw[8] % 8 == 0:
        parent = subscription(owner, 0)["id"]
        record["parentSubscriptionId"] = parent
        record["links"]["parentSubscription"] = link_to(address(owner, parent))
    return _suspended(record)


def _modern(owner: Owner, draw: Draw, number: int) -> Record:
    offer, name = draw.one_of(1, MODERN)
    product, sku, _ = offer.split(":")
    identifier = guid(draw.bytes(16))
    begun = day(draw, 32)
    ends = begun + timedelta(days=365)
    form = draw.one_of(3, FRACTIONS)
    record: Record = {
        "id": identifier,
        "offerId": offer,
        "offerName": name,
        "friendlyName": _nickname(draw, name),
        "productType": {"id": "OnlineServicesNCE", "displayName": "OnlineServicesNCE"},
        "quantity": 1 + draw[2] % 250,
        "unitType": "Licenses",
        "hasPurchasableAddons": False,
        "creationDate": utc(begun, form),
        "effectiveStartDate": midnight(begun),
        "commitmentEndDate": midnight(ends),
        "commitmentEndDateTime": f"{ends:%Y-%m-%d}T23:59:59Z",
        "cancellationAllowedUntilDate": utc(begun + timedelta(days=7), form),
        "billingCycleEndDate": midnight(begun + timedelta(days=30)),
        "billingCycleEndDateTime": f"{begun + timedelta(days=30):%Y-%m-%d}T23:59:59Z",
        "status": _status(draw),
        "autoRenewEnabled": draw[9] % 4 > 0,
        "isTrial": False,
        "billingType": "license",
        "billingCycle": draw.one_of(6, CYCLES),
        "termDuration": draw.one_of(10, TERMS[:4]),
        "renewalTermDuration": draw.one_of(11, TERMS),
        "refundOptions": [_refund(draw, begun, form)],
        "isMicrosoftProduct": True,
        "partnerId": owner.mpn_id,
        "contractType": "subscription",
        "publisherName": "Microsoft Corporation",
        "orderId": order_id(owner, number // 2),
        "links": _subscription_links(owner, identifier)
        | {
            "product": link_to(f"/products/{product}?country=US"),
            "sku": link_to(f"/products/{product}/skus/{sku}?country=US"),
        },
        "attributes": {"objectType": "Subscription"},
    }
    return _suspended(record | _rare_members(draw, product, sku))


def _rare_members(draw: Draw, product: str, sku: str) -> Record:
    """Return members that few subscriptions have."""
    planned = {
        "product": {
            "productId": product,
            "skuId": sku,
            "availabilityId": "CFQ7TTC0K5DR",
            "billingCycle": "annual",
            "termDuration": "P1Y",
        },
        "quantity": 1 + draw[2] % 250,
    }
    scope = {"type": "shared", "subscriptionId": None}
    commitment = {"amount": "0.0350", "grain": "hourly", "currency": "USD"}
    line = {"id": "0", "status": "active", "scope": scope, "purchaseCommitment": commitment}
    members: list[Record] = [
        {"consumptionType": "overage"},
        {"consumptionType": [{"type": "overage", "isEnabled": True}]},
        {"scheduledNextTermInstructions": planned | {"customTermEndDate": NO_END}},
        {"nextChargeInstructions": planned},
        {"lineItems": [line]},
        {"migratedFromSubscriptionId": guid(draw.bytes(44)).upper()},
        {"refundableQuantity": {"totalQuantity": 2, "details": [{"quantity": 2}]}},
        {"promotionId": "39NFJQT1PJPQ:0005:39NFJQT1Q5KL"},
        {"cancellationAllowedUntilDate": NEVER},
    ]
    return members[draw[12] % RARE] if draw[12] % RARE < len(members) else {}


def _refund(draw: Draw, begun: datetime, form: int) -> Record:
    member = "expiresAfter" if draw[13] % 8 == 0 else "expiresAt"
    return {"type": "Full", member: utc(begun + timedelta(days=3), form)}


def _status(draw: Draw) -> str:
    return UNKNOWN_STATUS if draw[4] % RARE == 0 else draw.one_of(4, STATUSES)


def _suspended(record: Record) -> Record:
    if record["status"] == "suspended":
        record["suspensionReasons"] = ["CustomerCancellation"]
    return record


def _nickname(draw: Draw, name: str) -> str:
    stem = draw.one_of(14, LOCALES).stems[0][0]
    return name if draw[15] % 4 else f"{name}, {stem}"


def _subscription_links(owner: Owner, identifier: str) -> Record:
    base = address(owner, identifier)
    return {"activationLinks": link_to(f"{base}/activationlinks"), "self": link_to(base)}


def address(owner: Owner, identifier: str) -> str:
    """Return the path of a subscription."""
    return f"/customers/{owner.id}/subscriptions/{identifier}"


def link_to(uri: str) -> Record:
    """Return one link."""
    return {"uri": uri, "method": "GET", "headers": []}


def order_id(owner: Owner, number: int) -> str:
    """Return an order's id in one of the three forms: GUID, 33 characters, 12 hex digits."""
    draw = owner.draw("order", number)
    match draw[0] % 3:
        case 0:
            return guid(draw.bytes(16)).upper()
        case 1:
            return f"{draw.hex(16, 2)[:3]}-ErcO-4MPbPqq_3MIQ{draw.hex(18, 7)[:12]}"[:33]
        case _:
            return draw.hex(16, 6)
