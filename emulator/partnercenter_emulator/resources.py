"""The table of the API's requests: one row for each kind, and what there is to know about it.

A new collection is a row here. Routing, credentials, pages, faults, statistics, the ground truth
and the README's table follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from . import parameters as query
from .rows import Customers, Listed, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .data import Record
    from .parameters import Parameter, Parameters
    from .state import State

    #: Given the emulator, the position of the customer in the path, and the parameters.
    Source: TypeAlias = Callable[[State, int, Parameters], Rows]

Paging: TypeAlias = Literal["object", "plain", "seek"]

CUSTOMER = "{customer_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of request.

    Attributes:
        pattern: Its path; `{customer_id}` stands for any customer's id.
        place: Its name in `Fault.place`, in the statistics and in the log.
        about: What it is about, for the README.
        method: The only method that it allows.
        user: Whether it needs a user, so that app-only tokens are refused.
        paging: `object` for one record, `plain` for a collection that comes in one answer (or in
            pages, if the options ask for that), `seek` for pages with continuation tokens.
        rows: Where the records of a collection come from.
        record: Where the one record comes from, by the customer's position.
        parameters: What its query may say, besides `size` and `seekOperation`.
        everything: The parameters that leave no record out.
        self_link: Whether its one answer names itself.
        going_on: The place of requests for further pages of a collection.
        of_customer: Whether the path names a customer.
    """

    pattern: str
    place: str
    about: str
    method: str = "GET"
    user: bool = False
    paging: Paging = "plain"
    rows: Source | None = None
    record: Callable[[State, int], Record] | None = None
    parameters: tuple[Parameter, ...] = ()
    everything: Mapping[str, str] = field(default_factory=dict)
    self_link: bool = True
    going_on: str = ""
    of_customer: bool = field(init=False)

    def __post_init__(self) -> None:
        """Fill in what follows from the rest."""
        object.__setattr__(self, "of_customer", CUSTOMER in self.pattern)
        if self.rows is not None and not self.going_on:
            object.__setattr__(self, "going_on", f"{self.place}_continuation")

    @property
    def places(self) -> tuple[str, ...]:
        """The place of first requests, and that of those for further pages."""
        return (self.place, self.going_on) if self.going_on else (self.place,)

    def path(self, customer_id: str | None) -> str:
        """Return the path of a request as links write it, without the version."""
        return self.pattern.removeprefix("/v1").replace(CUSTOMER, customer_id or "")


def _resellers(state: State, _: int, parameters: Parameters) -> Rows:
    # A provider is no reseller of anybody: the second type is known and always empty.
    mine = parameters["relationship_type"] == query.RELATIONSHIP_TYPES[0]
    return Listed(state.directory.resellers if mine else [])


def _customers(state: State, _: int, parameters: Parameters) -> Rows:
    return Customers(state.directory, query.condition_of(parameters))


RESOURCES = (
    Resource(
        pattern="/v1/customers",
        place="customers",
        about="the customers; `starts_with` on `CompanyName`, `Domain`",
        paging="seek",
        rows=_customers,
        parameters=(query.FILTER,),
        going_on="continuation",
    ),
    # The same request with a filter by reseller.
    Resource(
        pattern="/v1/customers",
        place="partition",
        about="the same with `starts_with` on `IndirectReseller`: a reseller's customers",
        user=True,
        paging="seek",
        rows=_customers,
        parameters=(query.FILTER,),
        going_on="partition_continuation",
    ),
    Resource(
        pattern="/v1/customers",
        place="create",
        about="creates a customer, direct or for a reseller; it is found everywhere afterwards",
        method="POST",
        user=True,
        paging="object",
    ),
    Resource(
        pattern="/v1/customers/{customer_id}",
        place="customer",
        about="one customer with billing profile, never with a password",
        paging="object",
        record=lambda state, position: state.directory.full(position),
    ),
    Resource(
        pattern="/v1/customers/{customer_id}/relationships",
        place="relationships",
        about="the resellers that serve the customer",
        user=True,
        rows=lambda state, position, _: Listed(state.directory.relationships(position)),
        self_link=False,
    ),
    Resource(
        pattern="/v1/relationships",
        place="resellers",
        about="the partner's indirect resellers",
        user=True,
        rows=_resellers,
        parameters=(query.RELATIONSHIP_TYPE,),
        everything={"relationship_type": query.RELATIONSHIP_TYPES[0]},
        self_link=False,
    ),
)

BY_PLACE = {resource.place: resource for resource in RESOURCES}
PLACES = ("token", *(place for row in RESOURCES for place in row.places), "any")
"""Where a fault can be: what a request is called."""
NEEDS_USER = frozenset(place for row in RESOURCES if row.user for place in row.places)

_ROUTES: dict[str, dict[str, Resource]] = {}
for _resource in RESOURCES:
    _methods = _ROUTES.setdefault(_resource.pattern, {})
    _methods.setdefault(_resource.method, _resource)


def route(method: str, path: str) -> tuple[Resource | None, str | None]:
    """Return what a request is for, and the customer in its path.

    A method that the path does not allow is answered as what it allows first.
    """
    parts = path.split("/")
    # What stands in the table as a word is no customer's id.
    methods, customer_id = _ROUTES.get(path), None
    if methods is None and len(parts) > 3:  # noqa: PLR2004 - "", v1, customers, id
        customer_id, parts[3] = parts[3].lower(), CUSTOMER
        methods = _ROUTES.get("/".join(parts))
    if methods is None:
        return None, None
    return methods.get(method) or next(iter(methods.values())), customer_id
