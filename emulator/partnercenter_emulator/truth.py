"""An emulator's records, for comparing them with what a client has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .directory import Filter
from .resources import BY_PLACE
from .rows import Customers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .data import Record
    from .resources import Resource
    from .state import State


def held(state: State, place: str) -> Iterator[Record]:
    """Return every record of a place as the API returns it, in the API's order.

    Records of a customer's collection have `customer_id` added in front, and those of `partition`
    have `reseller_id`.

    Raises:
        KeyError: This place has no records.
    """
    if place == "memberships":
        return state.directory.memberships()
    resource = BY_PLACE.get(place)
    if resource is None or not _is_readable(resource):
        readable = [name for name, row in BY_PLACE.items() if _is_readable(row)]
        msg = f"no data {place}; available: memberships, {', '.join(readable)}"
        raise KeyError(msg)
    if place == "partition":
        return _partitions(state)
    if resource.record is not None and resource.of_customer:
        return (resource.record(state, position) for position in state.directory.positions())
    if resource.of_customer:
        return _children(state, resource)
    return _collection(state, resource, 0)


def _is_readable(resource: Resource) -> bool:
    return resource.rows is not None or (resource.record is not None and resource.of_customer)


def _partitions(state: State) -> Iterator[Record]:
    for reseller in state.directory.resellers:
        condition = Filter("IndirectReseller", reseller["id"])
        for record in Customers(state.directory, condition).all():
            yield {"reseller_id": reseller["id"]} | record


def _children(state: State, resource: Resource) -> Iterator[Record]:
    for position in state.directory.positions():
        identifier = state.directory.identifier(position)
        for record in _collection(state, resource, position):
            yield {"customer_id": identifier} | record


def _collection(state: State, resource: Resource, position: int) -> Iterator[Record]:
    assert resource.rows is not None, resource.place  # noqa: S101 - asked for by `held`
    return resource.rows(state, position, resource.all_records).all()
