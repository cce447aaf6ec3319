"""Children of a page of parents: any number of streams, read ahead together, in one order.

The output order is page, then child stream, then parent. One queue holds what to read, in that
order; one look-ahead takes from it, and continues with the next page of parents as soon as that
page has arrived. Each response carries its parent's id, so nothing is matched by position.
"""

from __future__ import annotations

import re
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from typing_extensions import override

from tap_partnercenter.errors import PartnerCenterError, SkippedCustomer
from tap_partnercenter.outcomes import Outcome, Place, Rule
from tap_partnercenter.passes import PassStream
from tap_partnercenter.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.full_table import FullTable
    from tap_partnercenter.lookahead import LookAhead
    from tap_partnercenter.pages import Page, Pages
    from tap_partnercenter.sdk import PlainTap

#: Number of customers refused from the start that indicates a systematic problem; likewise for
#: blank responses if there are no others.
SYSTEMATIC = 10

#: What is safe in a path. No dots: `..` would change the request.
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class ChildStream(PassStream):
    """A collection of each customer: at least one request per customer.

    The path of a subclass contains `{customer_id}`.
    """

    #: The field that names the customer, added to each record.
    parent_key: ClassVar[str] = "customer_id"
    place = Place.CUSTOMER
    next_place = Place.CUSTOMER_NEXT

    def __init_subclass__(cls) -> None:
        """Reject a parent that is itself a child.

        Raises:
            TypeError: It would take a request for each record of that child.
        """
        super().__init_subclass__()
        parent = cls.parent_stream_type
        if parent is not None and issubclass(parent, ChildStream):
            message = f"{cls.__name__} is a child of a child, which is not supported."
            raise TypeError(message)

    def __init__(self, tap: PlainTap) -> None:
        super().__init__(tap)
        #: Customers whose records are written and not yet taken by `take_complete`.
        self._complete: list[str] = []
        #: Whether the service has answered for any customer.
        self._answered = False
        #: Customers that the service has refused in this run; `skipped` counts the whole pass.
        self._refused = 0
        self._last_refusal: SkippedCustomer | None = None
        #: Customers for whom the service sent an empty response in this run …
        self._blanks = 0
        #: … and whether it has sent a collection, even an empty one, for any customer.
        self._listed = False

    @classmethod
    @override
    def cost(cls) -> str:
        return "1 request for each customer"

    @cached_property
    def _parent(self) -> FullTable:
        return self.sibling(cast("type[FullTable]", self.parent_stream_type))

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        """Read the records of the next customers, as many as the context says."""
        for _ in range((context or {})["customers"]):
            rows_before = self.rows_read
            customer_id: str | None = None
            for page in self._parent.children.take():
                customer_id = page.context[self.parent_key]
                if page.refusal is not None:
                    self._skip(customer_id, page.refusal)
                    customer_id = None
                    continue
                self._answered = True
                self._blanks += page.blank
                self._listed = self._listed or not page.blank
                if page.restarted:
                    self.rows_read = rows_before
                self.note_page(page)
                for record in page.records:
                    yield self._with_customer(record, page.context)
            if customer_id is not None:
                self._complete.append(customer_id)
            self.run.report.emitted(self.name, self.records_written)

    def take_complete(self) -> list[str]:
        """Return the customers whose records were written since the last call, in order."""
        complete, self._complete = self._complete, []
        return complete

    @property
    def _may_be_individual(self) -> bool:
        """Whether refusals may be individual: others succeeded, or each customer decides."""
        return self._answered or self.place is Place.DIRECTORY

    def _with_customer(self, record: Record, context: Mapping[str, str]) -> Record:
        """Add the customer's id, unless it is the record's own, which is then checked."""
        if self.parent_key in self.primary_keys:
            return {**record, **context}
        if str(record.get("id")).lower() != context[self.parent_key].lower():
            message = f"{self.name}: the service sent another customer. Try again later."
            raise PartnerCenterError(message)
        # As the list spells it, and with it the customer's other tables.
        return {**record, "id": context[self.parent_key]}

    def pages_of(self, customer_id: str) -> Pages:
        """Return a reader of the records of one customer."""
        pages = self.pages({self.parent_key: customer_id})
        if not _SAFE_ID.fullmatch(customer_id):
            reason = "its id cannot be used in a URL"
            pages.refusal = SkippedCustomer(reason, Rule(Outcome.SKIP), reason)
        return pages

    @override
    def gap(self) -> str | None:
        if self._parent.shrunk:
            return f"{self._parent.name} returned too few rows"
        if self._is_partial:
            return "only some customers' records were read"
        if self._all_blank:
            return "the service sent an empty response for every customer"
        return super().gap()

    @override
    def end_pass(self, version: int) -> None:
        if self._refused > 1 and not (self.resumed or self._is_partial or self._may_be_individual):
            self._fail("the service refused every customer")
        if self._all_blank:
            self.run.report.blank(self.name, self._blanks)
        super().end_pass(version)

    @property
    def _is_partial(self) -> bool:
        """Whether some customers are left for another run."""
        return self._parent.refresh_plan.partial

    @property
    def _all_blank(self) -> bool:
        """Whether every response of the run was blank.

        A single blank response is a customer without records. If there is nothing else, either the
        partner has no such records or a proxy drops them; the tap cannot know which.
        """
        return self._blanks >= SYSTEMATIC and not self._listed

    def _skip(self, customer_id: str, refusal: SkippedCustomer) -> None:
        """Skip a customer, or fail if the refusals are systematic or too many."""
        self.skipped += 1
        self._refused += 1
        self._last_refusal = refusal
        named = customer_id if _SAFE_ID.fullmatch(customer_id) else "(invalid id)"
        self.run.report.skipped(self.name, named, refusal.reason)
        if self._refused >= SYSTEMATIC and not self._may_be_individual:
            self._fail(f"the service refused each of the first {SYSTEMATIC} customers")
        limit = self.run.settings.max_skipped_customers
        if self.skipped > limit:
            refused = counted(self.skipped, "customer")
            self._fail(f"{refused} refused, max_skipped_customers allows {limit}")

    def _fail(self, why: str) -> None:
        message = f"{self.name}: {why}. Last refusal: {self._last_refusal}"
        raise PartnerCenterError(message)


class Children:
    """The selected child streams of one parent stream."""

    def __init__(self, streams: Sequence[ChildStream], parent: FullTable) -> None:
        self.streams = streams
        self._parent = parent
        # Responses are small; a slow one must not keep threads from those that follow.
        capacity = 8 * parent.run.settings.max_concurrent_requests
        self._ahead: LookAhead[Page] = parent.look_ahead(self._next, capacity=capacity)
        #: What has not been started yet, in output order.
        self._queue: deque[tuple[ChildStream, str]] = deque()
        #: Whether the children of the next page are already queued or started.
        self._next_page_queued = False

    def sync(self, customer_ids: Sequence[str]) -> None:
        """Emit the children of a page of customers, whose own records are written."""
        if not self._next_page_queued:
            self._put(customer_ids)
        self._next_page_queued = False
        if customer_ids:
            for stream in self.streams:
                stream.sync({"customers": len(customer_ids)})

    def take(self) -> Iterator[Page]:
        """Yield the pages of the next customer."""
        return self._ahead.take()

    def _put(self, customer_ids: Sequence[str]) -> None:
        for stream in self.streams:
            self._queue.extend((stream, customer_id) for customer_id in customer_ids)

    def _next(self) -> Pages | None:
        """Start with the next customer: of this page, or of the one that is read ahead."""
        if not self._queue and not self._next_page_queued:
            upcoming = self._parent.upcoming_ids()
            if upcoming is not None:
                self._next_page_queued = True
                self._put(upcoming)
        if not self._queue:
            self._parent.all_started()
            return None
        stream, customer_id = self._queue.popleft()
        return stream.pages_of(customer_id)
