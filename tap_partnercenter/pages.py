"""Reads a collection page by page, until it is certain that there are no more."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from tap_partnercenter.errors import RefusedContinuation, SkippedCustomer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tap_partnercenter.client import Client, Collection
    from tap_partnercenter.pagination import Continuation, LinkPaginator


class Page(NamedTuple):
    """A page that was read.

    Attributes:
        records: This shard's records, as the service sent them; may be empty.
        following: Where the next page is, None after the last.
        context: Partition or customer of the records: fields to add to each of them.
        broken: The path of each field whose characters had to be repaired.
        restarted: Whether this is the first page for a second time, so that earlier records repeat.
            The pass keeps its version, so it contains the rows of both readings.
        refusal: Why the service does not return this customer's records, None if it does.
        blank: Whether the response contained nothing at all, not even an empty collection.
        promised: Whether it is a whole collection without records whose count is not zero.
    """

    records: list[dict[str, Any]]
    following: Continuation | None
    context: Mapping[str, str]
    broken: Sequence[str] = ()
    restarted: bool = False
    refusal: SkippedCustomer | None = None
    blank: bool = False
    promised: bool = False


class Pages:
    """Reads a collection page by page, following its continuations.

    If the service refuses one with 400 and code 2000, the data ends or a token has expired. After a
    short page it is the end. Otherwise the collection is read again from its start, once.

    Attributes:
        refusal: Why the records of a customer are left out; set before the first page if they
            cannot be requested at all.
    """

    def __init__(
        self,
        client: Client,
        collection: Collection,
        paginate: Callable[[Continuation | None], LinkPaginator],
        start: Continuation | None,
    ) -> None:
        self._client = client
        self._collection = collection
        self._paginate = paginate
        self._start = start
        self._paginator = paginate(start)
        self.refusal: SkippedCustomer | None = None
        self._ended = False
        self._restarted = False

    @property
    def finished(self) -> bool:
        """Whether the last page was read."""
        return self._ended or self._paginator.finished

    def read(self) -> Page:
        """Read the next page. Runs in any thread.

        A skipped customer is a page too, because the run continues after it.

        Raises:
            PartnerCenterError: If it cannot be read.
        """
        if self.refusal is None:
            try:
                return self._read_or_restart()
            except SkippedCustomer as refusal:
                self.refusal = refusal
        self._ended = True
        return Page([], None, self._collection.context, refusal=self.refusal)

    def _read_or_restart(self) -> Page:
        try:
            return self._read()
        except RefusedContinuation:
            if self._at_end():
                self._ended = True
                return Page([], None, self._collection.context)
            if self._restarted:
                raise
        self._restarted = True
        self._start = None
        self._paginator = self._paginate(None)
        return self._read()._replace(restarted=True)

    def _read(self) -> Page:
        paginator, collection = self._paginator, self._collection
        first = paginator.count == 0
        resumed = self._start is not None and first
        response = self._client.read(collection, paginator, resumed=resumed)
        records = collection.for_shard(paginator.fresh(response.items), self._client.settings.shard)
        following = None if paginator.finished else paginator.current_value
        return Page(
            records,
            following,
            collection.context,
            response.broken,
            blank=not response.document,
            promised=first and not resumed and following is None and response.promises_records,
        )

    def _at_end(self) -> bool:
        """Decide by the previous page whether a refused continuation is the end."""
        paginator = self._paginator
        refused = paginator.current_value
        if refused is None or not refused.has_token:
            return refused is not None and refused.computed
        requested_size = self._collection.params.get("size")
        if not paginator.largest_before and self._start is None:
            rows = paginator.filled
            return requested_size is not None and rows < requested_size and self._is_complete(rows)
        return paginator.after_short_page(requested_size)

    def _is_complete(self, rows: int) -> bool:
        """Read the only page again, in halves, as there is no other to compare it with.

        If the service had capped it, or if its token had expired, the halves would contain more.
        """
        paginator = self._paginate(None)
        found = 0
        with suppress(RefusedContinuation):
            while not paginator.finished and found <= rows:
                self._client.read(self._collection, paginator, page_size=max(1, rows // 2))
                found += paginator.rows
        return found == rows
