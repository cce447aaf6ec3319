"""The partner's invoices, computed from a seed: three a month, one of each vendor type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .variety import FRACTIONS, NEVER, Draw, money, utc

if TYPE_CHECKING:
    from .data import Record

FIRST_YEAR = 2024
KINDS = (
    ("D", "Recurring", 15, (("office", "billing_line_items"),)),
    ("D", "Recurring", 15, (("azure", "billing_line_items"), ("azure", "usage_line_items"))),
    ("G", "OneTime", 8, (("one_time", "billing_line_items"), ("marketplace", "usage_line_items"))),
)
"""First letter of the id, type, day of the month, and subject of the lines."""
CURRENCIES = (("USD", "$"), ("EUR", "€"), ("SEK", "kr"))


def generated_invoices(seed: bytes, count: int) -> list[Record]:
    """Return the first `count` invoices, oldest first."""
    return [generated_invoice(seed, number) for number in range(count)]


def generated_invoice(seed: bytes, number: int) -> Record:
    """Return one invoice; its link has a prefix that its id lacks."""
    draw = Draw(seed, "invoice", number)
    letter, kind, day, contents = KINDS[number % len(KINDS)]
    months = number // len(KINDS)
    date = datetime(
        FIRST_YEAR + months // 12, 1 + months % 12, day,
        microsecond=draw.number(0, 3) % 1_000_000, tzinfo=UTC,
    )  # fmt: skip
    identifier = f"{letter}{draw.number(4, 2) % 1000:03d}{number:06d}"
    currency, symbol = draw.one_of(8, CURRENCIES)
    address = f"/invoices/{kind}-{identifier}"
    record: Record = {
        "id": identifier,
        "invoiceDate": utc(date, draw.one_of(9, FRACTIONS)),
        "totalCharges": money(draw, 10),
        "paidAmount": money(draw, 16),
        "currencyCode": currency,
        "currencySymbol": symbol,
        "pdfDownloadLink": f"/invoices/{identifier}/documents/statement",
        "invoiceDetails": [_detail(address, about, lines) for about, lines in contents],
        "documentType": "invoice",
        "invoiceType": kind,
        "links": {"self": {"uri": address, "method": "GET", "headers": []}},
        "attributes": {"objectType": "Invoice"},
    }
    if draw[20] % 4:
        record["billingPeriodStartDate"] = NEVER if draw[20] % 8 == 1 else utc(date.replace(day=1))
        record["billingPeriodEndDate"] = utc(date)
    if draw[21] % 4 == 0:
        record["amountDue"] = money(draw, 24)
    if draw[22] % 8 == 0:
        record["taxReceipts"] = [{"id": draw.hex(32, 8), "taxReceiptPdfDownloadLink": address}]
    if draw[23] % 4 == 0:
        record["amendments"] = [_amendment(record, money(draw, 28))]
    return record


def _amendment(amended: Record, charges: object) -> Record:
    """Return an invoice nested in another; it has no links and may have an amendment of its own."""
    note = {
        "id": f"{amended['id']}-A",
        "invoiceDate": amended["invoiceDate"],
        "totalCharges": charges,
        "documentType": "adjustment_note",
        "amendsOf": amended["id"],
        "invoiceType": amended["invoiceType"],
        "attributes": {"objectType": "Invoice"},
    }
    void = note | {"id": f"{note['id']}V", "documentType": "void_note", "amendsOf": note["id"]}
    return note | {"amendments": [void]}


def _detail(address: str, provider: str, lines: str) -> Record:
    uri = f"{address}/lineitems/{provider}/{lines}"
    return {
        "invoiceLineItemType": lines,
        "billingProvider": provider,
        "links": {"self": {"uri": uri, "method": "GET", "headers": []}},
        "attributes": {"objectType": "InvoiceDetail"},
    }
