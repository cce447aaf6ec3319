"""The table of the API's requests: one row for each kind, with everything known about it.

To add a collection, add a row. Routing, credentials, pages, faults, statistics, the ground truth
and the README's table are derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from . import parameters as query
from . import sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .data import Record
    from .parameters import Parameter, Parameters
    from .rows import Rows
    from .state import State

    #: Takes the emulator, the position of the customer in the path, and the parameters.
    Source: TypeAlias = Callable[[State, int, Parameters], Rows]

Paging: TypeAlias = Literal["object", "plain", "seek", "offset"]

CUSTOMER = "{customer_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of request.

    Attributes:
        pattern: Its path; `{customer_id}` is any customer's id.
        place: Its name in `Fault.place`, in the statistics and in the log.
        about: A description for the README.
        method: The only method that it allows.
        user: Whether it needs a user, so that app-only tokens are refused.
        paging: `object` for one record, `plain` for a collection in a single response (or in pages,
            if the options say so), `seek` for pages with continuation tokens, `offset` for pages
            that begin at a number.
        rows: Where the records of a collection come from.
        record: Where the single record comes from, by the customer's position.
        parameters: Supported query parameters, besides `size` and `seekOperation`.
        all_records: The parameters that return all records.
        envelope: What a response with all records has besides them: `full` a link to itself and
            attributes, `unlinked` attributes, `bare` nothing.
        continuation_place: The place of requests for further pages of a collection.
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
    all_records: Mapping[str, str] = field(default_factory=dict)
    envelope: Literal["full", "unlinked", "bare"] = "full"
    continuation_place: str = ""
    of_customer: bool = field(init=False)

    def __post_init__(self) -> None:
        """Set the attributes that follow from the others."""
        object.__setattr__(self, "of_customer", CUSTOMER in self.pattern)
        if self.rows is not None and not self.continuation_place:
            object.__setattr__(self, "continuation_place", f"{self.place}_continuation")

    @property
    def places(self) -> tuple[str, ...]:
        """The place of first requests, and that of those for further pages."""
        return (self.place, self.continuation_place) if self.continuation_place else (self.place,)

    def path(self, customer_id: str | None) -> str:
        """Return the path of a request as in links, without the version."""
        return self.pattern.removeprefix("/v1").replace(CUSTOMER, customer_id or "")


RESOURCES = (
    Resource(
        pattern="/v1/customers",
        place="customers",
        about="the customers; `starts_with` on `CompanyName`, `Domain`",
        paging="seek",
        rows=sources.customers,
        parameters=(query.FILTER,),
        continuation_place="continuation",
    ),
    # The same request with a filter by reseller.
    Resource(
        pattern="/v1/customers",
        place="partition",
        about="the same with `starts_with` on `IndirectReseller`: a reseller's customers",
        user=True,
        paging="seek",
        rows=sources.customers,
        parameters=(query.FILTER,),
        continuation_place="partition_continuation",
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
        rows=sources.relationships,
        envelope="unlinked",
    ),
    Resource(
        pattern="/v1/relationships",
        place="resellers",
        about="the partner's indirect resellers",
        user=True,
        rows=sources.resellers,
        parameters=(query.RELATIONSHIP_TYPE,),
        all_records={"relationship_type": query.RELATIONSHIP_TYPES[0]},
        envelope="unlinked",
    ),
    Resource(
        pattern="/v1/customers/{customer_id}/subscriptions",
        place="subscriptions",
        about="legacy and new-commerce subscriptions; one customer in eight has none",
        rows=sources.held("subscriptions"),
    ),
    Resource(
        pattern="/v1/customers/{customer_id}/orders",
        place="orders",
        about="the orders that the subscriptions came from, with their lines",
        rows=sources.held("orders"),
    ),
    Resource(
        pattern="/v1/customers/{customer_id}/agreements",
        place="agreements",
        about="the customer's agreements; only `MicrosoftCloudAgreement` unless asked for `*`",
        user=True,
        rows=sources.agreements,
        parameters=(query.AGREEMENT_TYPE,),
        all_records={"agreementType": "*"},
        envelope="bare",
    ),
    Resource(
        pattern="/v1/customers/{customer_id}/subscribedskus",
        place="subscribed_skus",
        about="licences of the customer's tenant; only `group1` unless asked for both, repeated",
        user=True,
        rows=sources.subscribed_skus,
        parameters=(query.LICENSE_GROUPS,),
        all_records={"licenseGroupIds": "group1,group2"},
    ),
    Resource(
        pattern="/v1/auditrecords",
        place="audit_records",
        about="what was changed, by whole days (`yyyy-MM-dd`), up to 90 days back, 30 by default",
        paging="seek",
        rows=sources.audit_records,
        parameters=(query.START_DATE, query.END_DATE),
        all_records={"startDate": sources.ALL_DAYS},
    ),
    Resource(
        pattern="/v1/invoices",
        place="invoices",
        about="the partner's invoices; all of them unless there is a `size`",
        paging="offset",
        rows=sources.invoices,
    ),
    # Words in the position of a customer's id.
    Resource(
        pattern="/v1/customers/usagerecords",
        place="usage_records",
        about="usage of all customers; always empty",
        user=True,
        rows=sources.nothing,
        envelope="unlinked",
    ),
    Resource(
        pattern="/v1/customers/relationshiprequests",
        place="relationship_request",
        about="the address at which a customer accepts the partner",
        user=True,
        paging="object",
        record=lambda _, __: {
            "url": "https://admin.example/partner/invitation",
            "attributes": {"objectType": "CustomerRelationshipRequest"},
        },
    ),
)

BY_PLACE = {resource.place: resource for resource in RESOURCES}
SIGN_IN_PLACES = ("token", "authorize", "devicecode", "devicelogin")
"""Kinds of request that Entra answers instead of the API."""
PLACES = (*SIGN_IN_PLACES, *(place for row in RESOURCES for place in row.places), "any")
"""Where a fault can occur: the names of requests."""
NEEDS_USER = frozenset(place for row in RESOURCES if row.user for place in row.places)

_ROUTES: dict[str, dict[str, Resource]] = {}
for _resource in RESOURCES:
    _methods = _ROUTES.setdefault(_resource.pattern, {})
    _methods.setdefault(_resource.method, _resource)


def route(method: str, path: str) -> tuple[Resource | None, str | None]:
    """Return the resource that a request is for, and the customer in its path.

    A method that the path does not allow is treated as the first one that it allows.
    """
    parts = path.split("/")
    # A word that is in the table is not a customer's id.
    methods, customer_id = _ROUTES.get(path), None
    if methods is None and len(parts) > 3:  # noqa: PLR2004 - "", v1, customers, id
        customer_id, parts[3] = parts[3].lower(), CUSTOMER
        methods = _ROUTES.get("/".join(parts))
    if methods is None:
        return None, None
    return methods.get(method) or next(iter(methods.values())), customer_id
