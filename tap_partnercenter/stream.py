"""The base of all streams: what is asked, and how a record leaves."""

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
from tap_partnercenter.report import Oddity
from tap_partnercenter.sdk import PlainStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.lookahead import Source
    from tap_partnercenter.run import Run
    from tap_partnercenter.sdk import PlainTap

#: Keys to tell a repeated record by; ten times a page, since children of a page's customers count.
_REMEMBERED = 5_000

T = TypeVar("T")
S = TypeVar("S", bound="PartnerCenterStream")


class PartnerCenterStream(PlainStream):
    """A collection of the API, read page by page.

    A subclass is a declaration: a name, a path, a key, and what the request adds to each record.
    """

    schema = SCHEMAS
    #: One bookmark for the whole stream, so that STATE does not grow with partitions or customers.
    state_partitioning_keys = ()
    #: Most records in a page, None where the service takes no size. The setting may ask for less.
    page_size: ClassVar[int | None] = None
    #: Query of the first page, besides its size.
    params: ClassVar[Mapping[str, Any]] = {}
    #: What stands for a field that the service may leave out.
    defaults: ClassVar[Mapping[str, str]] = {}
    #: Fields of a record that become fields of their own, since they are part of the key.
    copies: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: Keys that the service does not give: digests of these fields.
    digests: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: The field by which shards divide the records, None where they divide what comes before.
    shard_key: ClassVar[str | None] = None
    #: Whether the service refuses it to app-only credentials.
    needs_user: ClassVar[bool] = True
    #: Which partners have such records, and what the others do, as a sentence; empty: all have.
    enrolment: ClassVar[str] = ""
    #: Whether the answer is one record, in place of a page of records.
    single: ClassVar[bool] = False
    #: How the next page is found.
    paginator_class: ClassVar[type[LinkPaginator]] = SeekPaginator
    #: What the table of failures calls the first page, and a later one.
    place: ClassVar[Place] = Place.FIRST
    next_place: ClassVar[Place] = Place.NEXT

    def __init__(self, tap: PlainTap) -> None:
        """Make the stream of a tap."""
        super().__init__(tap)
        self._partner_tap = tap
        self._begun_again = False
        #: Keys of the last records, and of those before them.
        self._recent, self._older = set[int](), set[int]()

    @property
    def run(self) -> Run:
        """The objects that live for one run, shared by all streams."""
        return self._partner_tap.run

    @property
    def lacks_user(self) -> bool:
        """Whether the run has no user where the service wants one."""
        return self.needs_user and self.run.app_only

    def sibling(self, kind: type[S]) -> S:
        """Return another stream of the same tap."""
        return next(s for s in self._partner_tap.streams.values() if isinstance(s, kind))

    # What is asked

    @classmethod
    def cost(cls) -> str:
        """Say how many requests the stream takes."""
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
        """Return the query of the first page; a continuation brings its own."""
        if self.page_size is None:
            return {**self.params}
        return {"size": min(self.page_size, self.run.settings.page_size), **self.params}

    @override
    def get_new_paginator(self, start: Continuation | None = None) -> LinkPaginator:
        return self.paginator_class(self.run.settings.api_url, start)

    # Page after page

    def pages(self, context: Context | None, start: Continuation | None = None) -> Pages:
        """Return a reader of a collection.

        Args:
            context: Partition or customer.
            start: Where to go on, in place of the first page.
        """
        collection = Collection(
            self.name,
            self.path,
            self.get_url(context),
            self.get_url_params(context, None),
            context or {},
            self.place,
            self.next_place,
            self.single,
            self.lacks_user,
            self.enrolment,
            self.shard_key,
        )
        return Pages(self.run.client, collection, self.get_new_paginator, start)

    def first_page(self) -> Page | None:
        """Read the first page alone, None where there is none to read."""
        return self.pages(None).read()

    def look_ahead(self, sources: Callable[[], Source[T] | None], *, held: int) -> LookAhead[T]:
        """Read ahead on the threads of the run."""
        return LookAhead(self.run.pool, sources, held=held, on_idle=self._on_idle)

    def _on_idle(self) -> None:
        """Pass on what is collected while nothing comes, and say in due time that nothing does."""
        self._partner_tap.message_writer.flush()
        self.run.report.progress()

    def prepare(self) -> None:
        """Read ahead while an earlier stream comes to its end.

        What cannot be read is reported when this stream's turn comes.
        """

    @cached_property
    def follower(self) -> PartnerCenterStream | None:
        """The root stream whose turn comes after this one."""
        streams = iter(self._partner_tap.streams.values())
        # Up to this one; what is left comes after it.
        any(stream is self for stream in streams)
        roots = (s for s in streams if s.selected and s.parent_stream_type is None)
        return cast("PartnerCenterStream | None", next(roots, None))

    # Record after record

    @override
    def request_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        pages = self.pages(context)
        while not pages.finished:
            yield from pages.read().records

    @override
    def generate_child_contexts(
        self,
        record: Record,
        context: Context | None,
    ) -> Iterable[Context]:
        """Return none: who has children reads them a page at a time."""
        return ()

    @cached_property
    def key_fields(self) -> tuple[str, ...]:
        """The fields without which a record has no key, whatever key a catalog asks for."""
        return tuple(self.primary_keys)

    @cached_property
    def shape(self) -> Shape:
        """The fields to keep: those of the catalog that the tap was given, or of the schema."""
        return Shape(self.effective_schema)

    @override
    def post_process(
        self,
        row: dict[str, Any],
        context: Context | None = None,
    ) -> dict[str, Any]:
        if self.copies or self.digests:
            row = {**row, **self._derived(row)}
        record = self.shape.fit(row, self._on_odd_field)
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
                # Two keys that differ in what was lost would become one row.
                message = (
                    f"{self.name}: the service sent a record whose {key}, which is part of the "
                    "key, has a broken character. Try again later."
                )
                raise PartnerCenterError(message)
        self._note_key(hash(tuple([record[key] for key in self.key_fields])))
        return record

    def _note_key(self, key: int) -> None:
        """Count a record that came a moment ago: one row, though two records.

        While customers come, pages that the service counts by position shift.
        """
        if key in self._recent or key in self._older:
            self.run.report.repeated(self.name)
            return
        if len(self._recent) == _REMEMBERED:
            self._recent, self._older = set(), self._recent
        self._recent.add(key)

    def _derived(self, row: Record) -> dict[str, Any]:
        """Make the parts of the key that the service does not send."""
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
        """Say what is odd about a page that is about to be emitted."""
        for path in page.broken:
            self._on_odd_field(Oddity.BROKEN, path)
        if page.promised:
            self._on_odd_field(Oddity.PROMISED, "totalCount")
        if page.again and not self._begun_again:
            self._begun_again = True
            self.logger.info(
                "%s: the service refused a continuation after a page that does not look like the "
                "last one: reading again from the first page",
                self.name,
            )

    def _on_odd_field(self, oddity: Oddity, path: str) -> None:
        self.run.report.odd_field(self.name, oddity, path)

    def write_state(self) -> None:
        """Send the state of the whole tap."""
        tap = self._partner_tap
        tap.state_writer.write_state(tap.state)

    @override
    def log_sync_costs(self) -> None:
        """Say how much the stream had; the SDK calls this once, at the end of the run."""
        if self.selected:
            self.log_metrics()
            self.run.report.stream_ended(self.name)
