"""The streams. Field names are the API's; what the tap adds is snake_case."""

from __future__ import annotations

import json
import re
from collections import deque
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.exceptions import AbortedSyncFailedException, AbortedSyncPausedException
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform
from typing_extensions import override

from tap_partnercenter.client import PartnerCenterStream
from tap_partnercenter.errors import Outcome, PartnerCenterError, Place, Rule, SkippedCustomer
from tap_partnercenter.full_table import FullTable
from tap_partnercenter.names import meant
from tap_partnercenter.settings import GUID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.lookahead import LookAhead, Source
    from tap_partnercenter.pages import Page
    from tap_partnercenter.pagination import Continuation
    from tap_partnercenter.tap import TapPartnerCenter

#: Refused customers in a row, from the first one on, that are no accident.
SYSTEMATIC = 10

#: Entries of reseller_ids that are warned of.
_TOLD = 5

#: What may stand in a path. Dots are left out: `..` would make another request of it.
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class _UnusableId:
    """Stands for a customer whose id cannot stand in an address."""

    finished = False

    def read(self) -> Page:
        """Ask for nothing.

        Raises:
            SkippedCustomer: Always.
        """
        reason = "its id cannot stand in an address"
        raise SkippedCustomer(reason, Rule(Outcome.SKIP), reason)


class Customers(FullTable):
    """All customers of the partner."""

    name = "customers"
    path = "/customers"
    primary_keys = ("id",)
    shard_key = "id"
    needs_user = False

    def __init__(self, tap: TapPartnerCenter) -> None:
        """Make the stream of a tap."""
        super().__init__(tap)
        #: Customers whose records are written and whose children are not yet.
        self._ids: list[str] = []
        self._announced: Page | None = None

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
        # has no children; where a map drops the whole table, they are wanted without it.
        if (
            self.untouched
            or isinstance(self.stream_maps[0], RemoveRecordTransform)
            or self.passes_map(record)
        ):
            self._ids.append(record["id"])
        return ()

    def coming_ids(self) -> list[str]:
        """Return the customers of the next page as soon as it is there, once."""
        page = self._ahead.peek()
        if (
            page is None
            or page is self._announced
            # A stream map may filter customers out, which shows only when they are emitted.
            or not isinstance(self.stream_maps[0], SameRecordTransform)
        ):
            return []
        self._announced = page
        ids: list[Any] = [record.get("id") for record in page.records]
        # An id of another kind becomes text, or ends the run, when its record is emitted.
        return ids if all(isinstance(customer_id, str) for customer_id in ids) else []

    @override
    def after_records(self) -> None:
        batch, self._ids = self._ids, []
        for child in self.child_streams:
            if batch and child.selected:
                # A test ends the child after a few records, but not its parent.
                with suppress(AbortedSyncFailedException, AbortedSyncPausedException):
                    child.sync({"customer_ids": batch})


class CustomerRelationships(PartnerCenterStream):
    """The partners that serve each customer."""

    name = "customer_relationships"
    path = "/customers/{customer_id}/relationships"
    primary_keys = ("customer_id", "id", "relationshipType")
    parent_stream_type = Customers

    def __init__(self, tap: TapPartnerCenter) -> None:
        """Make the stream of a tap."""
        super().__init__(tap)
        #: Whether the service has answered for any customer.
        self._answered = False
        #: Customers that the service has refused in this run; `skipped` counts the whole pass.
        self._refused = 0
        self._last_refusal: SkippedCustomer | None = None
        #: Customers that nobody has begun to ask for.
        self._waiting: deque[str] = deque()
        #: How many customers of the next page were put there before their page came.
        self._early = 0

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        """Read the relationships of the customers of a page, in the order of the page."""
        batch = (context or {}).get("customer_ids", ())
        if not self._early:
            self._waiting = deque(batch)
        self._early = 0
        for customer_id in batch:
            try:
                held = self.held
                for page in self._ahead.take():
                    self._answered = True
                    if page.again:
                        self.held = held
                    self.note_page(page)
                    for record in page.records:
                        yield {**record, "customer_id": customer_id}
            except SkippedCustomer as refusal:
                self._skip(customer_id, refusal)
            self.run.report.emitted(self.name, self.records_written)

    @cached_property
    def _ahead(self) -> LookAhead[Page]:
        # An answer is small; a slow one must not keep the threads from those behind it.
        return self.look_ahead(self._next_pages, held=8 * self.run.settings.max_concurrent_requests)

    def _next_pages(self) -> Source[Page] | None:
        """Begin with the next customer: of this page, or of the one that is read ahead."""
        customers = cast("Customers", self.sibling(Customers.name))
        if not self._waiting and not self._early:
            coming = customers.coming_ids()
            self._waiting.extend(coming)
            self._early = len(coming)
        if not self._waiting:
            customers.begin_next()
            return None
        customer_id = self._waiting.popleft()
        if not _SAFE_ID.fullmatch(customer_id):
            return _UnusableId()
        return self.pages({"customer_id": customer_id})

    @override
    def place_of(self, continuation: Continuation | None, *, resumed: bool) -> Place:
        return Place.CUSTOMER if continuation is None else Place.CUSTOMER_NEXT

    @override
    def post_process(self, row: Record, context: Context | None = None) -> dict[str, Any]:
        return super().post_process(_with_type(row), context)

    @override
    def gap(self) -> str | None:
        if self.sibling(Customers.name).shrunk:
            return "customers held too few rows"
        return super().gap()

    @override
    def end_pass(self, version: int) -> None:
        if self._refused > 1 and not self._answered and not self.resumed:
            self._fail("the service refused every customer")
        super().end_pass(version)

    def _skip(self, customer_id: str, refusal: SkippedCustomer) -> None:
        """Leave a customer out, unless there is a system in the refusals.

        Raises:
            PartnerCenterError: If there is.
        """
        self.skipped += 1
        self._refused += 1
        self._last_refusal = refusal
        named = customer_id if _SAFE_ID.fullmatch(customer_id) else "(odd id)"
        self.run.report.skipped(self.name, named, refusal.reason)
        if self._refused >= SYSTEMATIC and not self._answered:
            self._fail(f"the service refused each of the first {SYSTEMATIC} customers")
        most = self.run.settings.max_skipped_customers
        if self.skipped > most:
            self._fail(f"{self.skipped} customers refused, max_skipped_customers allows {most}")

    def _fail(self, why: str) -> None:
        message = f"{self.name}: {why}. The last: {self._last_refusal}"
        raise PartnerCenterError(message)


class IndirectResellers(FullTable):
    """The indirect resellers of the signed-in provider: the names behind `reseller_id`."""

    name = "indirect_resellers"
    path = "/relationships"
    primary_keys = ("id",)
    shard_key = "id"

    def __init__(self, tap: TapPartnerCenter) -> None:
        """Make the stream of a tap."""
        super().__init__(tap)
        #: The ids that the service named in this run.
        self._named: set[str] = set()

    @override
    def get_url_params(
        self,
        context: Context | None,
        next_page_token: Continuation | None,
    ) -> dict[str, Any]:
        # The query wants PascalCase, the answers are snake_case.
        return {"relationship_type": "IsIndirectCloudSolutionProviderOf"}

    @override
    def place_of(self, continuation: Continuation | None, *, resumed: bool) -> Place:
        if continuation is None:
            return Place.RESELLERS
        return super().place_of(continuation, resumed=resumed)

    @override
    def post_process(self, row: Record, context: Context | None = None) -> dict[str, Any]:
        record = super().post_process(_with_type(row), context)
        self._named.add(record["id"].lower())
        return record

    @override
    def end_pass(self, version: int) -> None:
        settings = self.run.settings
        wanted = filter(settings.shard.takes, settings.reseller_ids)
        missing = [reseller_id for reseller_id in wanted if reseller_id not in self._named]
        # The first pages of a resumed pass were read by an earlier run.
        for reseller_id in [] if self.resumed else missing[:_TOLD]:
            self.logger.warning(
                "%s: the service names no reseller %s, as reseller_ids does%s",
                self.name,
                reseller_id,
                meant(reseller_id, self._named),
            )
        super().end_pass(version)


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
        """The configured ids, or those of all resellers the API names: this shard's of them."""
        settings = self.run.settings
        ids = tuple(filter(settings.shard.takes, settings.reseller_ids))
        if not settings.reseller_ids:
            resellers = self.sibling(IndirectResellers.name).request_records(None)
            ids = tuple(dict.fromkeys(str(reseller.get("id")) for reseller in resellers))
        if not all(GUID.fullmatch(reseller_id) for reseller_id in ids):
            # The filter matches beginnings: anything but a whole id would match other resellers.
            message = (
                f"{self.name}: the service named a reseller whose id is no GUID. Set reseller_ids."
            )
            raise PartnerCenterError(message)
        if not ids:
            self.logger.info("%s: there is no indirect reseller to read", self.name)
        return ids

    @override
    def begin_early(self) -> None:
        # To find out which partitions there are is a request of its own, and fails in its own turn.
        if self.run.settings.reseller_ids and self.partitions:
            super().begin_early()

    @override
    def gap(self) -> str | None:
        # Rows of other resellers are there still: they were not asked for, or not named.
        if self.run.settings.reseller_ids or not self._reseller_ids:
            return "not all resellers were read"
        return super().gap()

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
    def _walk(self, context: Context | None) -> Iterator[dict[str, Any]]:
        # Not in `post_process`: its context is the one that the SDK asked for, which is another
        # than the one that is read when an expired checkpoint leads back to the first partition.
        for record in super()._walk(context):
            yield {**record, **(context or {})}


def _with_type(row: Record) -> Record:
    """Give a relationship without a type the vendor's own name for that: the type is in the key."""
    return row if row.get("relationshipType") else {**row, "relationshipType": "none"}
