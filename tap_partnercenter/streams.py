"""The streams. Field names are the API's; those that the tap adds are in snake_case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_partnercenter.audit import AuditStream
from tap_partnercenter.children import ChildStream
from tap_partnercenter.full_table import FullTable
from tap_partnercenter.outcomes import Place
from tap_partnercenter.pagination import OffsetPaginator
from tap_partnercenter.partitions import PerReseller, ResellerTable
from tap_partnercenter.refresh_streams import CustomerRefreshStream, ListRefreshStream

if TYPE_CHECKING:
    from tap_partnercenter.stream import PartnerCenterStream


# "Get indirect resellers of a customer" says which partners may ask for relationships.
_PROVIDERS = (
    "Only indirect providers have indirect resellers: deselect indirect_resellers and "
    "reseller_customers."
)


class Customers(FullTable):
    """All customers of the partner."""

    name = "customers"
    path = "/customers"
    primary_keys = ("id",)
    page_size = 500
    shard_key = "id"
    needs_user = False


class CustomerRelationships(ChildStream):
    """The partners that serve each customer."""

    name = "customer_relationships"
    path = "/customers/{customer_id}/relationships"
    primary_keys = ("customer_id", "id", "relationshipType")
    parent_stream_type = Customers
    enrolment = (
        "Only indirect providers and indirect resellers have relationships with customers: "
        "deselect customer_relationships."
    )
    # The type is part of the key; "none" is the vendor's own name for its absence.
    defaults = {"relationshipType": "none"}


class CustomerDetails(ChildStream):
    """Each customer in full: billing profile, reseller, domains."""

    name = "customer_details"
    path = "/customers/{customer_id}"
    primary_keys = ("id",)
    parent_stream_type = Customers
    single = True
    needs_user = False
    selected_by_default = False


class Subscriptions(ChildStream):
    """What each customer has subscribed to."""

    name = "subscriptions"
    path = "/customers/{customer_id}/subscriptions"
    primary_keys = ("customer_id", "id")
    parent_stream_type = Customers
    needs_user = False
    selected_by_default = False


class Orders(ChildStream):
    """What was ordered for each customer, line by line."""

    name = "orders"
    path = "/customers/{customer_id}/orders"
    primary_keys = ("customer_id", "id")
    parent_stream_type = Customers
    needs_user = False
    selected_by_default = False


class Agreements(ChildStream):
    """The agreements that the partner confirmed for each customer."""

    name = "agreements"
    path = "/customers/{customer_id}/agreements"
    primary_keys = ("customer_id", "agreement_id")
    parent_stream_type = Customers
    # Without it the service returns only one type.
    params = {"agreementType": "*"}
    # The service assigns no id, and lists some templates several times.
    digests = {"agreement_id": ("type", "templateId", "dateAgreed", "primaryContact")}
    selected_by_default = False


class SubscribedSkus(ChildStream):
    """The licences in each customer's tenant, by SKU."""

    name = "subscribed_skus"
    path = "/customers/{customer_id}/subscribedskus"
    primary_keys = ("customer_id", "sku_id")
    parent_stream_type = Customers
    # Without it the service returns only the first group.
    params = {"licenseGroupIds": ("Group1", "Group2")}
    copies = {"sku_id": ("productSku", "id")}
    # Access comes from a role in the customer's own directory (GDAP).
    place = Place.DIRECTORY
    selected_by_default = False


class IndirectResellers(ResellerTable):
    """The indirect resellers of the signed-in provider: the names behind `reseller_id`."""

    name = "indirect_resellers"
    path = "/relationships"
    primary_keys = ("id",)
    shard_key = "id"
    # The query uses PascalCase, the responses snake_case.
    params = {"relationship_type": "IsIndirectCloudSolutionProviderOf"}
    enrolment = _PROVIDERS
    defaults = {"relationshipType": "none"}


class ResellerCustomers(PerReseller):
    """The customers of each indirect reseller: one partition for each of them."""

    name = "reseller_customers"
    path = "/customers"
    primary_keys = ("reseller_id", "id")
    page_size = 500
    resellers = IndirectResellers
    enrolment = _PROVIDERS


class Invoices(FullTable):
    """The invoices of the partner."""

    name = "invoices"
    path = "/invoices"
    primary_keys = ("id",)
    page_size = 200
    params = {"offset": 0}
    paginator_class = OffsetPaginator
    shard_key = "id"
    needs_user = False
    selected_by_default = False


class AuditRecords(AuditStream):
    """What was done in the partner's name in the last 90 days."""

    name = "audit_records"
    path = "/auditrecords"
    primary_keys = ("id",)
    replication_key = "operationDate"
    # Sometimes a start 90 days ago is refused: the vendor's own programs use 89.
    max_days_back = 89
    overlap = 2
    day_params = ("startDate", "endDate")
    page_size = 500
    shard_key = "customerId"
    needs_user = False
    selected_by_default = False


class CustomerRefreshes(CustomerRefreshStream):
    """Whose records were read completely, and when: for each customer and child stream."""

    name = "customer_refreshes"
    primary_keys = ("customer_id", "stream")
    parent_stream_type = Customers


class ListRefreshes(ListRefreshStream):
    """Which lists were read in one go, and when: for each list, shard or reseller."""

    name = "list_refreshes"
    primary_keys = ("id",)


#: All streams. They are read in alphabetical order, children with their parent.
STREAMS: tuple[type[PartnerCenterStream], ...] = (
    Customers,
    CustomerRelationships,
    CustomerDetails,
    Subscriptions,
    Orders,
    Agreements,
    SubscribedSkus,
    IndirectResellers,
    ResellerCustomers,
    Invoices,
    AuditRecords,
    CustomerRefreshes,
    ListRefreshes,
)


def costs() -> str:
    """Describe in a sentence what each stream costs, for `--about`."""
    selected = [_cost(stream) for stream in STREAMS if stream.selected_by_default]
    others = [_cost(stream) for stream in STREAMS if not stream.selected_by_default]
    return (
        f"Streams selected by default: {', '.join(selected)}. "
        f"The others cost more or contain personal data: {', '.join(others)}."
    )


def _cost(stream: type[PartnerCenterStream]) -> str:
    # The SDK declares the name only for instances.
    return f"{vars(stream)['name']} ({stream.cost()})"
