"""Past audit records, computed from a seed, with everything that such records may contain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from .variety import Draw, guid

if TYPE_CHECKING:
    from collections.abc import Callable

    from .data import Record
    from .directory import Directory

TICKS = 10_000_000
"""Ticks of .NET in a second; they count from year 1."""
DAY_TICKS = 86_400 * TICKS
EPOCH_TICKS = 621_355_968_000_000_000
"""Ticks before 1970."""
SECRET = "EmulatedSecret"  # noqa: S105 - what every invented secret begins with
"""Prefix of every secret in a generated record: none of them may leave a client."""


class GeneratedHistory:
    """What happened on each day; about half of the records have an oddity."""

    def __init__(self, directory: Directory, partner_id: str, seed: int) -> None:
        """Use the customers that exist when the emulator starts."""
        self._directory = directory
        self._customers = len(directory)
        self._partner_id = partner_id
        self._seed = str(seed).encode()[:64]

    def day(self, day: int, count: int, recent: bool) -> list[tuple[int, Record]]:  # noqa: FBT001 - cached by position
        """Return the records of a day since 1970 with their ticks, in chronological order.

        Whatever is in progress on a recent day has succeeded when the day is no longer recent.
        """
        return [self._record(day, number, count, recent=recent) for number in range(count)]

    def _record(self, day: int, number: int, count: int, *, recent: bool) -> tuple[int, Record]:
        draw = Draw(self._seed, "audit", day, number)
        span = DAY_TICKS // count
        ticks = EPOCH_TICKS + day * DAY_TICKS + number * span + draw.number(0, 6) % span
        kind = draw.one_of(8, KINDS)
        position = draw.number(12) % self._customers if self._customers else None
        record = kind(draw) | {"operationDate": date_of(ticks), "operationStatus": "succeeded"}
        if draw[9] % 4 == 0:
            record["operationStatus"] = "progress" if recent else "succeeded"
        elif draw[9] % 16 == 1:
            record["operationStatus"] = "failed"
        customer = position is not None and not record.pop("_partner", False)
        if customer and position is not None:
            listed = self._directory.original(position)
            if draw[10] % 16 or record["operationStatus"] != "failed":
                record["customerId"] = listed["id"]
            if draw[11] % 8:
                record["customerName"] = (listed.get("companyProfile") or {}).get("companyName")
        record.pop("_partner", None)
        return ticks, self._finished(draw, record, ticks)

    def _finished(self, draw: Draw, record: Record, ticks: int) -> Record:
        """Order the members and add an id in one of the forms, or none."""
        parts = [self._partner_id]
        if draw[20] % 3:
            parts += [record["customerId"]] if "customerId" in record else []
            parts += [record["resourceType"]] if draw[20] % 3 == 1 else []
            parts += [record["operationType"]]
        front: Record = {} if draw[21] % 16 == 0 else {"id": "_".join([*parts, str(ticks)])}
        front["partnerId"] = self._partner_id
        if draw[22] % 4 == 0:
            front["participants"] = [self._partner_id]
        front["userPrincipalName"] = f"agent{draw[23] % 9}@emulated-partner.onmicrosoft.com"
        front["applicationId"] = draw.one_of(24, (guid(draw.bytes(32)), "FulfillmentService"))
        if draw[25] % 2:
            front["sessionId"] = guid(draw.bytes(40))
        return front | record | {"attributes": {"objectType": "AuditRecord"}}


def date_of(ticks: int) -> str:
    """Return a time with seven fractional digits."""
    seconds, fraction = divmod(ticks - EPOCH_TICKS, TICKS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:07d}Z"


def _text(value: Record) -> str:
    return msgspec.json.encode(value).decode()


def _secret(draw: Draw) -> str:
    return f"{SECRET}{draw.hex(48, 6)}"


def _operation(resource: str, operation: str, **members: object) -> Record:
    return {"resourceType": resource, "operationType": operation} | members


def _pairs(**values: str | None) -> list[Record]:
    return [{"key": key.replace("_", "-"), "value": value} for key, value in values.items()]


def _subscription(draw: Draw) -> Record:
    value: Record = {
        "Id": guid(draw.bytes(48)),
        "Quantity": draw[50],
        "Status": "active",
        "OrderId": None,
    }
    return _operation(
        "subscription",
        "update_subscription",
        resourceOldValue=_text(value | {"Quantity": draw[51]}),
        resourceNewValue=_text(value),
        customizedData=_pairs(SubscriptionId=value["Id"], Quantity=str(draw[50]), ActionTaken=None),
    )


def _order(draw: Draw) -> Record:
    value: Record = {
        "Id": draw.hex(48, 6),
        "CreationDate": "2026-03-01T09:15:00.1234567-08:00",
        "LineItems": [{"LineItemNumber": 0, "Quantity": draw[50], "TransactionType": "New"}],
    }
    return _operation(
        "order",
        "create_order",
        resourceNewValue=_text(value),
        customizedData=_pairs(
            OrderId=value["Id"], BillingCycle="monthly", Quantity_0=str(draw[50])
        ),
    )


def _customer(draw: Draw) -> Record:
    credentials = {"userName": "admin", "password": _secret(draw)}
    profile = {"Domain": "customer.example", "CompanyName": "Kund AB"}
    value = {"CompanyProfile": profile, "UserCredentials": credentials, "CustomDomains": None}
    return _operation("customer", "add_customer", resourceNewValue=_text(value))


def _licences(draw: Draw) -> Record:
    user = guid(draw.bytes(48))
    return _operation(
        "license",
        "update_customer_user_licenses",
        resourceNewValue=_text({"LicensesToAssign": [{"SkuId": guid(draw.bytes(44))}]}),
        customizedData=_pairs(CustomerUserId=user, AddedLicenseSkuId=guid(draw.bytes(44))),
    )


def _user(draw: Draw) -> Record:
    profile = {"Password": _secret(draw), "forceChangePassword": True}
    value = {"DisplayName": "Ny Användare", "passwordProfile": profile, "PASSWORD": _secret(draw)}
    return _operation("customer_user", "create_customer_user", resourceNewValue=_text(value))


def _password(draw: Draw) -> Record:
    value = {"Users": [{"PasswordProfile": {"password": _secret(draw)}}]}
    return _operation(
        "customer_user", "reset_customer_user_password", resourceNewValue=_text(value)
    )


def _credential(draw: Draw) -> Record:
    value = {"KeyId": guid(draw.bytes(44)), "clientSecret": _secret(draw), "Secret": _secret(draw)}
    return _operation(
        "application_credential",
        "add_application_credential",
        resourceNewValue=_text(value),
        _partner=True,
    )


def _software_key(draw: Draw) -> Record:
    value = {"ProductKey": _secret(draw), "productKeys": [_secret(draw)]}
    return _operation("software_key", "get_software_key", resourceNewValue=_text(value))


def _no_json(draw: Draw) -> Record:
    text = f"PasswordProfile {{ Password = {_secret(draw)} "
    return _operation("customer_user", "update_customer_user", resourceNewValue=text)


def _billing(draw: Draw) -> Record:
    value = {"FirstName": "Åsa", "Email": "asa@customer.example", "Etag": str(draw.number(48))}
    return _operation("customer", "update_customer_billing_profile", resourceNewValue=_text(value))


def _partnership(draw: Draw) -> Record:
    value = {"Id": guid(draw.bytes(48)), "State": "Active"}
    return _operation(
        "partner_relationship",
        "create_partner_relationship",
        resourceNewValue=_text(value),
        _partner=True,
    )


def _unknown(draw: Draw) -> Record:
    value = {"Amount": draw.number(48), "Nested": {"password": _secret(draw)}}
    return _operation("unheard_of", "recalibrate_unheard_of", resourceNewValue=_text(value))


KINDS: tuple[Callable[[Draw], Record], ...] = (
    *(_subscription, _subscription, _subscription, _order, _order),
    *(_customer, _licences, _user, _password, _credential),
    *(_software_key, _no_json, _billing, _partnership, _unknown),
)
