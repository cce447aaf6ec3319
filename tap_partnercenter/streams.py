"""The streams. Field names are the API's; what the tap adds is snake_case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_partnercenter.children import ChildStream
from tap_partnercenter.full_table import FullTable
from tap_partnercenter.partitions import PerReseller, ResellerTable

if TYPE_CHECKING:
    from tap_partnercenter.stream import PartnerCenterStream


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
    # The type is part of the key; "none" is the vendor's own name for its absence.
    defaults = {"relationshipType": "none"}


class IndirectResellers(ResellerTable):
    """The indirect resellers of the signed-in provider: the names behind `reseller_id`."""

    name = "indirect_resellers"
    path = "/relationships"
    primary_keys = ("id",)
    shard_key = "id"
    # The query wants PascalCase, the answers are snake_case.
    params = {"relationship_type": "IsIndirectCloudSolutionProviderOf"}
    defaults = {"relationshipType": "none"}


class ResellerCustomers(PerReseller):
    """The customers of each indirect reseller: one partition for each of them."""

    name = "reseller_customers"
    path = "/customers"
    primary_keys = ("reseller_id", "id")
    page_size = 500
    resellers = IndirectResellers


#: All streams. They are read in the order of their names, children with their parent.
STREAMS: tuple[type[PartnerCenterStream], ...] = (
    Customers,
    CustomerRelationships,
    IndirectResellers,
    ResellerCustomers,
)
