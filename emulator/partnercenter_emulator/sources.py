"""Where the records of each collection come from, for the table of requests."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from .audit import DAYS_KEPT, DEFAULT_DAYS
from .parameters import AGREEMENT_TYPES, RELATIONSHIP_TYPES, condition_of
from .responses import ApiError, error_response
from .rows import Customers, Listed, Rows

if TYPE_CHECKING:
    from .parameters import Parameters
    from .resources import Source
    from .state import State

ALL_DAYS = "*"
"""Instead of a start date: as far back as the log goes; no client can send it."""
EPOCH = date(1970, 1, 1).toordinal()


def customers(state: State, _: int, parameters: Parameters) -> Rows:
    """Return the customers that match the filter."""
    return Customers(state.directory, condition_of(parameters))


def relationships(state: State, position: int, _: Parameters) -> Rows:
    """Return the relationships of a customer."""
    return Listed(state.directory.relationships(position))


def resellers(state: State, _: int, parameters: Parameters) -> Rows:
    """Return the indirect resellers, if requested."""
    # A provider is nobody's reseller: the second type is known and always empty.
    mine = parameters["relationship_type"] == RELATIONSHIP_TYPES[0]
    return Listed(state.directory.resellers if mine else [])


def held(place: str) -> Source:
    """Return the source of a customer's collection that has no parameters."""

    def source(state: State, position: int, _: Parameters) -> Rows:
        return Listed(state.holdings.records(place, position))

    return source


def agreements(state: State, position: int, parameters: Parameters) -> Rows:
    """Return the agreements of a type; without one, only those of the oldest type."""
    wanted = parameters.get("agreementType", AGREEMENT_TYPES[0])
    records = state.holdings.records("agreements", position)
    if wanted == "*":
        return Listed(records)
    return Listed(
        [one if one is not None and one.get("type") == wanted else None for one in records]
    )


def subscribed_skus(state: State, position: int, parameters: Parameters) -> Rows:
    """Return the SKUs of the licence groups; without any, only those of the first group."""
    groups = parameters.get("licenseGroupIds", "group1").split(",")
    records = state.holdings.records("subscribed_skus", position)
    return Listed(
        [
            one
            if one is not None and (one.get("productSku") or {}).get("licenseGroupId") in groups
            else None
            for one in records
        ]
    )


def invoices(state: State, _: int, __: Parameters) -> Rows:
    """Return the partner's invoices."""
    return Listed(state.holdings.records("invoices"))


def audit_records(state: State, _: int, parameters: Parameters) -> Rows:
    """Return the records of whole days, by default of the last 30.

    Raises:
        ApiError: 400 for days that are no longer in the log.
    """
    today = state.audit.today()
    start, end = parameters.get("startDate"), parameters.get("endDate")
    first = today - DEFAULT_DAYS
    if start == ALL_DAYS:
        first = today - DAYS_KEPT
    elif start is not None:
        first = date.fromisoformat(start).toordinal() - EPOCH
    if today - first > DAYS_KEPT:
        text = f"The startDate must not be more than {DAYS_KEPT} days in the past."
        raise ApiError(error_response(400, "C", None, text))
    last = today if end is None else date.fromisoformat(end).toordinal() - EPOCH
    return Listed(state.audit.records(state.options, first, last))


def nothing(_: State, __: int, ___: Parameters) -> Rows:
    """Return an empty collection."""
    return Listed([])
