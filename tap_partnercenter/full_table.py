"""Reads a whole table: resumed where it was interrupted, activated once complete."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform
from typing_extensions import override

from tap_partnercenter.audit import AuditStream
from tap_partnercenter.checkpoint import Checkpoint, Position, scope_digest
from tap_partnercenter.children import Children, ChildStream
from tap_partnercenter.errors import ExpiredCheckpoint
from tap_partnercenter.passes import PassStream
from tap_partnercenter.refresh_plan import RefreshPlan, RefreshPlanner
from tap_partnercenter.refresh_streams import CustomerRefreshStream, ListRefreshStream, utc_now
from tap_partnercenter.settings import CONFIG_JSONSCHEMA
from tap_partnercenter.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.lookahead import LookAhead
    from tap_partnercenter.pages import Page, Pages
    from tap_partnercenter.pagination import Continuation
    from tap_partnercenter.sdk import PlainTap


#: Records of later partitions that may wait for the earlier ones, some 15 to 30 MB.
_RECORDS_AHEAD = 10_000


class FullTable(PassStream):
    """A root stream: a pass over all of its partitions, page by page, with a checkpoint per page.

    The pass has a version, which is kept when the pass is resumed, and activated only if the pass
    was read in one go. Children belong to the pass: the checkpoint moves past a page once its
    children are written too.
    """

    def __init_subclass__(cls) -> None:
        """Refuse a replication key.

        Raises:
            TypeError: A run would emit only what changed, and its version would delete the rest.
        """
        super().__init_subclass__()
        if cls.__dict__.get("replication_key"):
            message = f"{cls.__name__} has a replication key: make it a ChangeStream."
            raise TypeError(message)

    def __init__(self, tap: PlainTap) -> None:
        super().__init__(tap)
        self._version: int | None = None
        self._on_last_page = False
        #: The first partition that this run reads; an earlier run read those before it.
        self._first = 0
        #: When the current reading began: anything extracted earlier is not part of it.
        self._since = ""
        #: Whether it started in the middle of a partition, where an earlier run was interrupted.
        self._resumed_midway = False
        #: Parts of the list that were read in one go and not yet reported, and when each began.
        self._whole: list[tuple[Context | None, str]] = []
        #: Records of the page that are written, but whose children are not.
        self._parents: list[str] = []

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        """Read the table, or one partition of it, from where an earlier run was interrupted."""
        self.stream_state  # noqa: B018 - creates the bookmark: it is the stream's turn
        if self._version is None:
            self._begin(self._checkpoint.position(self.run.clock.now()))
        if self._place(context) < self._first:
            return  # the earlier run read it
        try:
            yield from self._read_pages(context)
        except ExpiredCheckpoint as error:
            self.logger.info("%s: %s; the stream is read from the start", self.name, error.reason)
            self._begin(None)
            for earlier in self._contexts[: self._place(context) + 1]:
                yield from self._read_pages(earlier)

    @override
    def finalize_state_progress_markers(self, state: dict[str, Any] | None = None) -> None:
        """End the pass. The tap calls this after a root stream was read completely."""
        self._checkpoint.clear()
        version = self._version or self._begin(None)
        if self.children.streams:
            self._refresh_planner.complete(self.refresh_plan, version, resumed=self.resumed)
        for stream in self._pass_streams:
            stream.end_pass(version)
        if self.partitions is None:
            self._note_whole(None)
        if self.may_report:
            self._report_whole()
        super().finalize_state_progress_markers(state)

    @override
    def prepare(self) -> None:
        if self._version is None:
            self._begin(self._checkpoint.position(self.run.clock.now()))
        self._ahead.begin()

    # Children

    @cached_property
    def children(self) -> Children:
        """The selected child streams."""
        streams = (stream for stream in self.child_streams if isinstance(stream, ChildStream))
        return Children([stream for stream in streams if stream.selected], self)

    @override
    def generate_child_contexts(self, record: Record, context: Context | None) -> Iterable[Context]:
        # Children are read a page at a time: the SDK's way, one by one, costs a SCHEMA, three log
        # lines and a growing STATE for each customer. A customer that a stream map filters out
        # has no children; where a map drops the whole table, they are wanted without it.
        if (
            self.children.streams
            and (
                self.is_unmapped
                or isinstance(self.stream_maps[0], RemoveRecordTransform)
                or self.passes_map(record)
            )
            and self.refresh_plan.reason(record["id"])
        ):
            self._parents.append(record["id"])
        return ()

    def upcoming_ids(self) -> list[str] | None:
        """Return the ids on the next page once it has arrived, None before."""
        page = self._ahead.peek()
        # A stream map may filter customers out, which shows only when they are emitted.
        if page is None or not isinstance(self.stream_maps[0], SameRecordTransform):
            return None
        ids: list[Any] = [record.get("id") for record in page.records]
        # An id of another kind becomes text, or ends the run, when its record is emitted.
        if not all(isinstance(identity, str) for identity in ids):
            return None
        return [identity for identity in ids if self.refresh_plan.reason(identity)]

    def all_started(self) -> None:
        """Start reading the next root stream ahead, if nothing of this one is left to start."""
        if self._on_last_page and self.next_stream is not None:
            self.next_stream.prepare()

    # The pass

    def _read_pages(self, context: Context | None) -> Iterator[dict[str, Any]]:
        self.run.report.reading(self.name, self._share(context))
        rows_before = {stream: stream.rows_read for stream in self._pass_streams}
        for page in self._ahead.take():
            if page.restarted:
                self._since, self._resumed_midway = utc_now(), False
                for stream in self._pass_streams:
                    stream.rows_read = rows_before[stream]
            self.note_page(page)
            self._on_last_page = page.following is None and context == self._contexts[-1]
            # Children come first: they report when all of them are started.
            if not self.children.streams:
                self.all_started()
            # Not in `post_process`: its context is the SDK's, which differs from the one being read
            # after an expired checkpoint.
            for record in page.records:
                yield {**record, **page.context} if page.context else record
            parents, self._parents = self._parents, []
            self.children.sync(parents)
            self.sibling(CustomerRefreshStream).write_refresh(
                self.children.streams, self.refresh_plan.reason, self._since
            )
            if context and page.following is None:
                self._note_whole(context)
                if not self.run.settings.delete_vanished:
                    self._report_whole()
            share = self._share(context)
            for stream in self._pass_streams:
                self.run.report.emitted(stream.name, stream.records_written, share)
            self._save(context, page.following)

    def _note_whole(self, context: Context | None) -> None:
        """Note that a part of the list was read to its end, for `list_refreshes`."""
        if not self._resumed_midway:
            self._whole.append((context, self._since))
        self._resumed_midway = False

    def _report_whole(self) -> None:
        """Report what was read in one go: rows extracted earlier are not among today's."""
        whole, self._whole = self._whole, []
        self.sibling(ListRefreshStream).write_refresh(self, whole)

    def _share(self, context: Context | None) -> str:
        """Describe how much of the stream is read: partitions are known, but not their sizes."""
        if context is None:
            return ""
        partitions = counted(len(self._contexts), "partition")
        return f"({self._place(context) + 1} of {partitions})"

    def _place(self, context: Context | None) -> int:
        return self._places[_partition(context)]

    @cached_property
    def _places(self) -> dict[str | None, int]:
        """The index of each partition, in order."""
        return {_partition(context): place for place, context in enumerate(self._contexts)}

    @cached_property
    def _pass_streams(self) -> list[PassStream]:
        """The streams whose tables the pass fills: this one and its children, if selected."""
        return [*([self] if self.selected else []), *self.children.streams]

    @cached_property
    def _contexts(self) -> list[Context | None]:
        """The partitions in order; a single None for a stream without partitions."""
        return [*self.partitions] if self.partitions else [None]

    @cached_property
    def refresh_plan(self) -> RefreshPlan:
        """Which customers' children this run reads."""
        run = self.run
        if not self.children.streams:
            return RefreshPlan(1, dt.date.min)
        return self._refresh_planner.plan(run.clock.now(), self.sibling(AuditStream), self.logger)

    @cached_property
    def _refresh_planner(self) -> RefreshPlanner:
        bookmarks = self.tap_state.setdefault("bookmarks", {})
        days = self.run.settings.full_refresh_days
        return RefreshPlanner(bookmarks, self.name, days, scope_digest([days, *self._scope]))

    @cached_property
    def _scope(self) -> list[Any]:
        """What must be unchanged for an earlier run's position to be used."""
        settings = self.run.settings
        return [
            settings.tenant_id,
            settings.delete_vanished,
            [settings.shard.count, settings.shard.index],
            # Settings of the SDK change what a record looks like, and which records there are.
            {k: v for k, v in self.config.items() if k not in CONFIG_JSONSCHEMA["properties"]},
            # So do the catalog's schema and selection.
            {
                stream.name: [stream.effective_schema, _selection(stream)]
                for stream in self._pass_streams
            },
        ]

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        partitions = [*self._places]
        scope = scope_digest([*self._scope, partitions, self.refresh_plan.scope])
        # Not `stream_state`: a stream that is started early has no bookmark before its turn.
        bookmarks = self.tap_state.setdefault("bookmarks", {})
        url = self.url_base + self.path
        return Checkpoint(bookmarks, self.name, url, partitions, scope, self.logger)

    def _sources(self, start: Continuation | None) -> Callable[[], Pages | None]:
        """Return a function for the next partition to read; lazily, as there may be thousands."""
        contexts = self._contexts[self._first :]
        readers = (
            self.pages(context, None if place else start) for place, context in enumerate(contexts)
        )
        return lambda: next(readers, None)

    def _begin(self, position: Position | None) -> int:
        """Start a pass, or resume an interrupted one."""
        if position is not None:
            self.logger.info(
                "%s: resumed where an earlier run was interrupted. Deletes are disabled for this "
                "run, and rows that moved in the meantime may be missing until a run reads the "
                "stream in one go",
                self.name,
            )
        version = position.version if position else int(self.run.clock.now())
        self._version = version
        self._since = utc_now()
        self._resumed_midway = position is not None and position.continuation is not None
        self._first = self._places[position.partition] if position else 0
        settings = self.run.settings
        # Pages of one partition arrive one after another: while a large partition is read, the
        # others need room to continue alongside it.
        room = max(_RECORDS_AHEAD // settings.page_size, 2 * settings.max_concurrent_requests)
        self._ahead: LookAhead[Page] = self.look_ahead(
            self._sources(position.continuation if position else None),
            capacity=2 if len(self._contexts) == 1 else room,
        )
        for stream in self._pass_streams:
            skipped = position.skipped.get(stream.name, 0) if position else 0
            stream.begin_pass(version, resumed=position is not None, skipped=skipped)
        return version

    def _save(self, context: Context | None, following: Continuation | None) -> None:
        """Move the checkpoint past a page whose records and children are written."""
        if following is None:
            later = self._place(context) + 1
            if later == len(self._contexts):
                return  # the end of the pass clears the checkpoint
            context = self._contexts[later]
        skipped = {s.name: s.skipped for s in self.children.streams if s.skipped}
        assert self._version is not None  # noqa: S101 - `_read_pages` runs within a pass
        self._checkpoint.save(Position(self._version, _partition(context), following, skipped))
        self.write_state()


def _selection(stream: PassStream) -> list[str]:
    return sorted(".".join(field) for field, selected in stream.mask.items() if selected)


def _partition(context: Context | None) -> str | None:
    """Name a partition: its context has one key."""
    return next(iter(context.values())) if context else None
