"""Generated records of a customer: its orders, agreements and licences."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from .names import LOCALES
from .subscriptions import (
    CYCLES,
    RARE,
    Owner,
    address,
    link_to,
    order_id,
    subscription,
    subscriptions,
)
from .variety import Draw, day, guid, money, pacific, utc, zoneless

if TYPE_CHECKING:
    from collections.abc import Callable

    from .data import Record

CLOUD_TEMPLATE = "998b88de-aa99-4388-a42c-1b3517d49490"
CUSTOMER_TEMPLATE = "117a77b0-9360-443b-8795-c6dedc750cf9"
SKUS = (
    (
        "3b555118-da6a-4418-894f-7df1e2096870",
        "Microsoft 365 Business Basic",
        "O365_BUSINESS_ESSENTIALS",
    ),
    ("cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46", "Microsoft 365 Business Premium", "SPB"),
    ("4b9405b0-7788-4568-add1-99614e613b69", "Exchange Online (Plan 1)", "EXCHANGESTANDARD"),
    ("05e9a617-0261-4cee-bb44-138d3ef5d965", "Microsoft 365 E3", "SPE_E3"),
)
MINECRAFT = (
    "984df360-9a74-4647-8cf8-696749f6247a",
    "Minecraft: Education Edition",
    "CFQ7TTC0MGVV/0001",
)


def orders(owner: Owner) -> list[Record]:
    """Return a customer's orders, each with up to two subscriptions."""
    bought = subscriptions(owner)
    return [
        order(owner, number, bought[2 * number :][:2]) for number in range((len(bought) + 1) // 2)
    ]


def order(owner: Owner, number: int, bought: list[Record]) -> Record:
    """Return one order; a pending one has no subscription yet."""
    draw = owner.draw("order", number)
    identifier = order_id(owner, number)
    pending = draw[1] % RARE == 0
    placed = day(draw, 32)
    record: Record = {
        "id": identifier,
        "alternateId": draw.hex(16, 6),
        "referenceCustomerId": owner.id,
        "billingCycle": draw.one_of(2, CYCLES),
        "transactionType": draw.one_of(3, ("UserPurchase", "SystemPurchase", "SystemBilling")),
        "currencyCode": draw.one_of(4, ("USD", "EUR", "SEK")),
        "currencySymbol": draw.one_of(4, ("$", "€", "kr")),
        "lineItems": [_line(owner, draw, place, one) for place, one in enumerate(bought)],
        "creationDate": pacific(placed) if draw[5] % 4 == 0 else utc(placed, draw[6] % 8),
        "status": "pending po upload" if pending else "completed",
        "links": {"self": link_to(f"/customers/{owner.id}/orders/{identifier}")},
        "attributes": {"objectType": "Order"},
    }
    if draw[0] % 3 == 0:
        record["attributes"] = {"etag": draw.hex(40, 12), "objectType": "Order"}
    if pending:
        for line in record["lineItems"]:
            line.pop("subscriptionId", None)
    if draw[7] % 8 == 0:
        record["totalPrice"] = money(draw, 48)
    return record


def _line(owner: Owner, draw: Draw, number: int, bought: Record) -> Record:
    line = {
        "lineItemNumber": number,
        "offerId": bought["offerId"],
        "subscriptionId": bought["id"],
        "friendlyName": bought["friendlyName"],
        "quantity": bought["quantity"],
        "transactionType": draw.one_of(8 + number, ("new", "New", "renew", "addQuantity")),
        "links": {"subscription": link_to(address(owner, bought["id"]))},
    }
    if bought.get("termDuration"):
        line["termDuration"] = bought["termDuration"]
        line["renewsTo"] = {"termDuration": bought["renewalTermDuration"]}
    if owner.mpn_id:
        line["partnerIdOnRecord"] = owner.mpn_id
    if draw[10 + number] % 8 == 0:
        price = money(draw, 50 + number)
        line["pricing"] = {"listPrice": price, "price": price, "extendedPrice": price}
        line["provisioningContext"] = {"region": "westeurope"}
    return line


def agreements(owner: Owner) -> list[Record]:
    """Return a customer's agreements: both types, one type, one type with two dates, or none."""
    draw = owner.draw("agreements")
    kinds = {
        0: (),
        1: ("MicrosoftCloudAgreement",),
        2: ("MicrosoftCloudAgreement", "MicrosoftCustomerAgreement"),
        3: ("MicrosoftCustomerAgreement", "MicrosoftCustomerAgreement"),
        4: ("MicrosoftCloudAgreement", "MicrosoftUnheardOfAgreement"),
    }.get(draw[0] % 12, ("MicrosoftCustomerAgreement",))
    return [agreement(owner, number, kind) for number, kind in enumerate(kinds)]


def agreement(owner: Owner, number: int, kind: str = "MicrosoftCustomerAgreement") -> Record:
    """Return one agreement: it has no id, and its contact is the customer's."""
    draw = owner.draw("agreement")
    agreed = day(draw, 32) + timedelta(days=30 * number)
    first, last = draw.one_of(1, LOCALES).people[0]
    contact = {"firstName": first, "lastName": last, "email": f"{first}@customer.example"}
    if draw[2] % 2:
        contact["phoneNumber"] = f"555-01{draw[3] % 100:02d}"
    record = {
        "primaryContact": contact,
        "templateId": CLOUD_TEMPLATE if "Cloud" in kind else CUSTOMER_TEMPLATE,
        "dateAgreed": zoneless(agreed) if draw[4] % 4 else utc(agreed, 3),
        "type": kind,
        "agreementLink": "https://agreements.example/customer.pdf",
    }
    return record | ({"userId": guid(draw.bytes(16))} if draw[5] % 4 == 0 else {})


def subscribed_skus(owner: Owner) -> list[Record]:
    """Return a customer tenant's licences; a few have Minecraft's in group 2."""
    draw = owner.draw("skus")
    count = draw[0] % (len(SKUS) + 1)
    found = [subscribed_sku(owner, number) for number in range(count)]
    if draw[1] % 4 == 0:
        found.append(_sku(owner.draw("sku", "group2"), MINECRAFT, "group2"))
    return found


def subscribed_sku(owner: Owner, number: int) -> Record:
    """Return the counts of one product in a customer's tenant."""
    name = (
        SKUS[number]
        if number < len(SKUS)
        else (guid(owner.draw("sku", number).bytes(16)), f"Product {number}", f"PRODUCT_{number}")
    )
    return _sku(owner.draw("sku", number), name, "group1")


def _sku(draw: Draw, name: tuple[str, str, str], group: str) -> Record:
    identifier, title, part = name
    active, warning, consumed = draw[2], draw[3] % 4, draw[4]
    plans = [
        {
            "displayName": "Exchange Online",
            "serviceName": "Exchange",
            "id": guid(draw.bytes(16)),
            "capabilityStatus": "Enabled",
            "targetType": "User",
        }
    ]
    return {
        "availableUnits": active + warning - consumed,
        "activeUnits": active,
        "consumedUnits": consumed,
        "suspendedUnits": 0,
        "totalUnits": active + warning,
        "warningUnits": warning,
        "productSku": {
            "id": identifier,
            "name": title,
            "skuPartNumber": part,
            "targetType": "User",
            "licenseGroupId": group,
        },
        "servicePlans": plans if draw[5] % 8 else [],
        "capabilityStatus": draw.one_of(6, ("Enabled", "Enabled", "Warning", "Disabled")),
        "attributes": {"objectType": "SubscribedSku"},
    }


GENERATED: dict[str, Callable[[Owner], list[Record]]] = {
    "subscriptions": subscriptions,
    "orders": orders,
    "agreements": agreements,
    "subscribed_skus": subscribed_skus,
}
"""All records of a customer's collection, by place."""
SAMPLES: dict[str, Callable[[Owner, int], Record]] = {
    "subscriptions": subscription,
    "orders": lambda owner, number: order(owner, number, []),
    "agreements": agreement,
    "subscribed_skus": subscribed_sku,
}
"""One additional record for a collection of a given size."""
