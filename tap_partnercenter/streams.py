"""The streams. Field names are the API's; what the tap adds is snake_case."""

from __future__ import annotations

import itertools
import json
import re
import sys
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import AbortedSyncFailedException, AbortedSyncPausedException

from tap_partnercenter.client import PartnerCenterStream
from tap_partnercenter.errors import PartnerCenterError, Place, SkippedCustomer
from tap_partnercenter.full_table import FullTable
from tap_partnercenter.settings import GUID

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.pagination import Continuation

#: Refused customers in a row, from the first one on, that are no accident.
SYSTEMATIC = 10

#: What may stand in a path. Dots are left out: `..` would make another request of it.
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class CustomerBatch(tuple[str, ...]):
    """Ids of the customers of one page, with a short text form: contexts end up in logs."""

    __slots__ = ()

    @override
    def __repr__(self) -> str:
        return f"<{len(self)} customers>"


class Customers(FullTable):
    """All customers of the partner."""

    name = "customers"
    path = "/customers"
    primary_keys = ("id",)

    @cached_property
    def _ids(self) -> list[str]:
        """Customers whose records are written and whose children are not yet."""
        return []

    @override
    def get_url_params(
        self,
        context: Context | None,
        next_page_token: Continuation | None,
    ) -> dict[str, Any]:
        return {"size": self.run.settings.page_size}

    @override
    def generate_child_contexts(
        self,
        record: Record,
        context: Context | None,
    ) -> Iterable[Context]:
        # Children are read a page at a time: the SDK's way, one by one, costs a SCHEMA, three log
        # lines and a growing STATE for each customer. A customer that a stream map filters out
        # has no children.
        if self.stream_maps[0].get_filter_result(record):
            self._ids.append(record["id"])
        return ()

    @override
    def after_records(self) -> None:
        batch = CustomerBatch(self._ids)
        self._ids.clear()
        if not batch:
            return
        for child in self.child_streams:
            if child.selected:
                # A test ends the child after a few records, but not its parent.
                with suppress(AbortedSyncFailedException, AbortedSyncPausedException):
                    child.sync({"customer_ids": batch})


class CustomerRelationships(PartnerCenterStream):
    """The partners that serve each customer."""

    name = "customer_relationships"
    path = "/customers/{customer_id}/relationships"
    primary_keys = ("customer_id", "id", "relationshipType")
    parent_stream_type = Customers

    #: Whether the service has answered for any customer.
    _answered = False

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        """Read the relationships of the customers of a page, in the order of the page."""
        for customer_id in (context or {}).get("customer_ids", ()):
            for record in self._relationships_of(customer_id):
                yield {**record, "customer_id": customer_id}

    @override
    def place_of(self, continuation: Continuation | None, *, resumed: bool) -> Place:
        place = super().place_of(continuation, resumed=resumed)
        return place if place is Place.NEXT_BARE else Place.CUSTOMER

    @override
    def post_process(self, row: Record, context: Context | None = None) -> dict[str, Any]:
        return super().post_process(_with_type(row), context)

    @override
    def end_pass(self, version: int) -> None:
        if self.skipped > 1 and not self._answered:
            self._fail("the service refused every customer")
        super().end_pass(version)

    def _relationships_of(self, customer_id: str) -> list[dict[str, Any]]:
        if not _SAFE_ID.fullmatch(customer_id):
            self._skip("(odd id)", "its id cannot stand in an address", None)
            return []
        pages = self.pages({"customer_id": customer_id})
        try:
            records = list(itertools.chain.from_iterable(records for records, _ in pages))
        except SkippedCustomer as refusal:
            self._skip(customer_id, refusal.reason, refusal)
            return []
        self._answered = True
        return records

    def _skip(self, customer_id: str, reason: str, refusal: SkippedCustomer | None) -> None:
        """Leave a customer out, unless there is a system in the refusals.

        Raises:
            PartnerCenterError: If there is.
        """
        self.skipped += 1
        self.run.report.skipped(self.name, customer_id, reason)
        if self.skipped >= SYSTEMATIC and not self._answered:
            self._fail(f"the service refused each of the first {SYSTEMATIC} customers", refusal)
        most = self.run.settings.max_skipped_customers
        if self.skipped > most:
            self._fail(
                f"{self.skipped} customers refused, max_skipped_customers allows {most}",
                refusal,
            )

    def _fail(self, why: str, refusal: SkippedCustomer | None = None) -> None:
        last = f" The last: {refusal}" if refusal else ""
        message = f"{self.name}: {why}. Check the credentials' rights.{last}"
        raise PartnerCenterError(message)


class IndirectResellers(FullTable):
    """The indirect resellers of the signed-in provider: the names behind `reseller_id`."""

    name = "indirect_resellers"
    path = "/relationships"
    primary_keys = ("id",)

    @override
    def get_url_params(
        self,
        context: Context | None,
        next_page_token: Continuation | None,
    ) -> dict[str, Any]:
        # The query wants PascalCase, the answers are snake_case.
        return {"relationship_type": "IsIndirectCloudSolutionProviderOf"}

    @override
    def post_process(self, row: Record, context: Context | None = None) -> dict[str, Any]:
        return super().post_process(_with_type(row), context)


class ResellerCustomers(FullTable):
    """The customers of each indirect reseller: one partition for each reseller id."""

    name = "reseller_customers"
    path = "/customers"
    primary_keys = ("reseller_id", "id")

    @property
    @override
    def partitions(self) -> list[dict[str, str]]:
        return [{"reseller_id": reseller_id} for reseller_id in self._reseller_ids]

    @cached_property
    def _reseller_ids(self) -> tuple[str, ...]:
        """The configured ids, or those of all resellers the API names."""
        if self.run.settings.reseller_ids:
            return self.run.settings.reseller_ids
        resellers = self.sibling(IndirectResellers.name).request_records(None)
        ids = tuple(dict.fromkeys(str(reseller.get("id")) for reseller in resellers))
        if not all(GUID.fullmatch(reseller_id) for reseller_id in ids):
            # The filter matches beginnings: anything but a whole id would match other resellers.
            message = f"{self.name}: the service named a reseller whose id is no GUID."
            raise PartnerCenterError(message)
        if not ids:
            self.logger.info("%s: the service names no indirect resellers", self.name)
        return ids

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        # Without partitions the SDK asks once for all; here that would mean all customers.
        return super().get_records(context) if context else iter(())

    @override
    def get_url_params(
        self,
        context: Context | None,
        next_page_token: Continuation | None,
    ) -> dict[str, Any]:
        # Compact, so that no blank needs encoding, of which there are two ways.
        field = {
            "Field": "IndirectReseller",
            "Value": (context or {})["reseller_id"],
            "Operator": "starts_with",
        }
        return {
            "size": self.run.settings.page_size,
            "filter": json.dumps(field, separators=(",", ":")),
        }

    @override
    def post_process(self, row: Record, context: Context | None = None) -> dict[str, Any]:
        return super().post_process({**row, **(context or {})}, context)


def _with_type(row: Record) -> Record:
    """Give a relationship without a type the vendor's own name for that: the type is in the key."""
    return row if row.get("relationshipType") else {**row, "relationshipType": "none"}
