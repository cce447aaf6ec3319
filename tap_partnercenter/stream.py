"""The base class of all streams: what to request, and how a record is emitted."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast
from urllib.parse import quote

import requests
from typing_extensions import override

from tap_partnercenter.client import Collection
from tap_partnercenter.errors import PartnerCenterError
from tap_partnercenter.lookahead import LookAhead
from tap_partnercenter.outcomes import Place
from tap_partnercenter.pages import Page, Pages
from tap_partnercenter.pagination import Continuation, LinkPaginator, SeekPaginator
from tap_partnercenter.records import SCHEMAS, Shape, digest
from tap_partnercenter.repair import REPLACEMENT
from tap_partnercenter.report import FieldIssue
from tap_partnercenter.sdk import PlainStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.lookahead import Source
    from tap_partnercenter.run import Run
    from tap_partnercenter.sdk import PlainTap

#: Number of keys for detecting repeated records: ten pages, as children of a page count too.
_MAX_RECENT_KEYS = 5_000

T = TypeVar("T")
S = TypeVar("S", bound="PartnerCenterStream")


class PartnerCenterStream(PlainStream):
    """A collection of the API, read page by page.

    A subclass is declarative: a name, a path, a key, and what the request adds to each record.
    """

    schema = SCHEMAS
    #: One bookmark for the whole stream, so that STATE does not grow with partitions or customers.
    state_partitioning_keys = ()
    #: Maximum records in a page, None if the service takes no size. The setting may request fewer.
    page_size: ClassVar[int | None] = None
    #: Query of the first page, besides its size.
    params: ClassVar[Mapping[str, Any]] = {}
    #: Values for fields that the service may omit.
    defaults: ClassVar[Mapping[str, str]] = {}
    #: Nested fields of a record that are copied to the top level because they are part of the key.
    copies: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: Key fields that the service does not provide: digests of these fields.
    digests: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: The field by which shards divide the records, None if they divide the parents or partitions.
    shard_key: ClassVar[str | None] = None
    #: Whether the service refuses app-only credentials.
    needs_user: ClassVar[bool] = True
    #: Which partners have such records, and what others should do, as a sentence; empty for all.
    enrolment: ClassVar[str] = ""
    #: Whether the response is a single record instead of a page.
    single: ClassVar[bool] = False
    #: How the next page is found.
    paginator_class: ClassVar[type[LinkPaginator]] = SeekPaginator
    #: The place of the first page in the table of failures, and that of later pages.
    place: ClassVar[Place] = Place.FIRST
    next_place: ClassVar[Place] = Place.NEXT

    def __init__(self, tap: PlainTap) -> None:
        super().__init__(tap)
        self._partner_tap = tap
        self._restarted = False
        #: Keys of the latest records, and of those before.
        self._recent, self._older = set[int](), set[int]()

    @property
    def run(self) -> Run:
        """The objects that live for one run, shared by all streams."""
        return self._partner_tap.run

    @property
    def lacks_user(self) -> bool:
        """Whether the service requires a user and the run has none."""
        return self.needs_user and self.run.app_only

    def sibling(self, kind: type[S]) -> S:
        """Return another stream of the same tap."""
        return next(s for s in self._partner_tap.streams.values() if isinstance(s, kind))

    # Requests

    @classmethod
    def cost(cls) -> str:
        """Return how many requests the stream makes."""
        return f"1 request for {cls.page_size} records" if cls.page_size else "1 request"

    @cached_property
    @override
    def url_base(self) -> str:
        url = requests.Request("GET", f"{self.run.settings.api_url}/v1").prepare().url
        assert url is not None  # noqa: S101 - it was given
        return url

    @override
    def get_url(self, context: Context | None) -> str:
        segments = {name: quote(str(value), safe="") for name, value in (context or {}).items()}
        return self.url_base + self.path.format_map(segments)

    @override
    def get_url_params(self, context: Context | None, next_page_token: object) -> dict[str, Any]:
        """Return the query of the first page; a continuation has its own."""
        if self.page_size is None:
            return {**self.params}
        return {"size": min(self.page_size, self.run.settings.page_size), **self.params}

    @override
    def get_new_paginator(self, start: Continuation | None = None) -> LinkPaginator:
        return self.paginator_class(self.run.settings.api_url, start)

    # Pages

    def pages(self, context: Context | None, start: Continuation | None = None) -> Pages:
        """Return a reader of a partition or customer, which begins at `start` or the first page."""
        collection = Collection(
            stream=self.name,
            path=self.path,
            url=self.get_url(context),
            params=self.get_url_params(context, None),
            context=context or {},
            place=self.place,
            next_place=self.next_place,
            single=self.single,
            lacks_user=self.lacks_user,
            enrolment=self.enrolment,
            shard_key=self.shard_key,
        )
        return Pages(self.run.client, collection, self.get_new_paginator, start)

    def first_page(self) -> Page | None:
        """Read only the first page, None if there is none."""
        return self.pages(None).read()

    def look_ahead(self, sources: Callable[[], Source[T] | None], *, capacity: int) -> LookAhead[T]:
        """Read ahead on the threads of the run."""
        return LookAhead(self.run.pool, sources, capacity=capacity, on_idle=self._on_idle)

    def _on_idle(self) -> None:
        """Write what has been collected while nothing arrives, and log progress when it is due."""
        self._partner_tap.message_writer.flush()
        self.run.report.progress()

    def prepare(self) -> None:
        """Read ahead while an earlier stream is finishing.

        Failures are reported when it is this stream's turn.
        """

    @cached_property
    def next_stream(self) -> PartnerCenterStream | None:
        """The root stream after this one."""
        streams = iter(self._partner_tap.streams.values())
        # This advances the iterator to this stream; what is left comes after it.
        any(stream is self for stream in streams)
        roots = (s for s in streams if s.selected and s.parent_stream_type is None)
        return cast("PartnerCenterStream | None", next(roots, None))

    # Records

    @override
    def request_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        pages = self.pages(context)
        while not pages.finished:
            yield from pages.read().records

    @override
    def generate_child_contexts(self, record: Record, context: Context | None) -> Iterable[Context]:
        """Return none: streams with children read them a page at a time."""
        return ()

    @cached_property
    def key_fields(self) -> tuple[str, ...]:
        """The fields that every key needs, whatever key a catalog sets."""
        return tuple(self.primary_keys)

    @cached_property
    def shape(self) -> Shape:
        """The fields to keep: those of the catalog if there is one, otherwise of the schema."""
        return Shape(self.effective_schema)

    @override
    def post_process(self, row: dict[str, Any], context: Context | None = None) -> dict[str, Any]:
        try:
            if self.copies or self.digests:
                row = {**row, **self._derived(row)}
            record = self.shape.fit(row, self._on_field_issue)
        except RecursionError:
            message = (
                f"{self.name}: the service sent a record that is nested too deeply. Try again "
                "later, or deselect the stream."
            )
            raise PartnerCenterError(message) from None
        for field, default in self.defaults.items():
            record[field] = record.get(field) or default
        for key in self.key_fields:
            value = record.get(key)
            if value.__class__ is not str or not value:
                message = (
                    f"{self.name}: the service sent a record without {key}, which is part of the "
                    "key. Try again later."
                )
                raise PartnerCenterError(message)
            if REPLACEMENT in value:
                # Two keys that differ only in lost characters would become one row.
                message = (
                    f"{self.name}: the service sent a record whose {key}, which is part of the "
                    "key, has a broken character. Try again later."
                )
                raise PartnerCenterError(message)
        self._note_key(hash(tuple([record[key] for key in self.key_fields])))
        return record

    def _note_key(self, key: int) -> None:
        """Count a record that was sent a moment ago: it is one row, but two records.

        When customers are added, pages that the service counts by position shift.
        """
        if key in self._recent or key in self._older:
            self.run.report.repeated(self.name)
            return
        if len(self._recent) == _MAX_RECENT_KEYS:
            self._recent, self._older = set(), self._recent
        self._recent.add(key)

    def _derived(self, row: Record) -> dict[str, Any]:
        """Compute the parts of the key that the service does not send."""
        derived: dict[str, Any] = {}
        for field, path in self.copies.items():
            value: Any = row
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            derived[field] = value
        for field, names in self.digests.items():
            derived[field] = digest([row.get(name) for name in names])
        return derived

    def note_page(self, page: Page) -> None:
        """Report what is odd about a page that is about to be emitted."""
        for path in page.broken:
            self._on_field_issue(FieldIssue.BROKEN, path)
        if page.promised:
            self._on_field_issue(FieldIssue.PROMISED, "totalCount")
        if page.restarted and not self._restarted:
            self._restarted = True
            self.logger.info(
                "%s: the service refused a continuation after a page that does not look like the "
                "last one: reading again from the first page",
                self.name,
            )

    def _on_field_issue(self, issue: FieldIssue, path: str) -> None:
        self.run.report.field_issue(self.name, issue, path)

    def write_state(self) -> None:
        """Write the state of the whole tap."""
        tap = self._partner_tap
        tap.state_writer.write_state(tap.state)

    @override
    def log_sync_costs(self) -> None:
        """Log how many records the stream had; the SDK calls this once, at the end of the run."""
        if self.selected:
            self.log_metrics()
            self.run.report.stream_ended(self.name)
