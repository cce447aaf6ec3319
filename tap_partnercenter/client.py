"""The base of all streams: how a page is asked for, judged, and turned into records."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, cast
from urllib.parse import quote

import requests
from singer_sdk.streams.rest import HTTPRequest, PageContext
from typing_extensions import override

from tap_partnercenter.answers import Answer, code_of, is_collection, support_ids
from tap_partnercenter.errors import (
    APP_AND_USER,
    NO_COLLECTION,
    ConnectionFailed,
    ExpiredCheckpoint,
    Outcome,
    PartnerCenterError,
    Place,
    Refused,
    RefusedContinuation,
    SkippedCustomer,
    TryAgain,
    rule_for,
)
from tap_partnercenter.lookahead import LookAhead, Pool
from tap_partnercenter.pacing import PauseTooLong
from tap_partnercenter.pages import Page, Pages
from tap_partnercenter.pagination import (
    TOKEN_HEADER,
    Continuation,
    SeekPaginator,
    UnusableContinuation,
)
from tap_partnercenter.records import SCHEMAS, Shape
from tap_partnercenter.repair import REPLACEMENT
from tap_partnercenter.report import Oddity
from tap_partnercenter.retry import seconds_to_wait
from tap_partnercenter.sdk import PlainStream
from tap_partnercenter.transport import UnreadableBody, decode_repaired, read_body, says_nothing

P = ParamSpec("P")
T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from requests.auth import AuthBase
    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.errors import Rule
    from tap_partnercenter.lookahead import Source
    from tap_partnercenter.pacing import Passage
    from tap_partnercenter.run import Run
    from tap_partnercenter.tap import TapPartnerCenter


_REQUEST_ID = "MS-RequestId"


class PartnerCenterStream(PlainStream):
    """A collection of the API: a full table, read page by page.

    A subclass is a declaration: a name, a path, a key, and what the request adds to each record.
    """

    schema = SCHEMAS
    #: One bookmark for the whole stream, so that STATE does not grow with partitions or customers.
    state_partitioning_keys = ()
    #: The field by which shards divide the records, None where they divide what comes before.
    shard_key: str | None = None
    #: Whether the service refuses it to app-only credentials.
    needs_user = True
    #: Customers that the pass had to leave out. A pass with gaps must not delete rows.
    skipped = 0
    #: Whether an earlier run read the first pages of the pass.
    resumed = False
    #: Rows that the pass has read, before any stream map.
    held = 0
    #: Whether the pass held so few rows that the service is to be doubted.
    shrunk = False

    def __init__(self, tap: TapPartnerCenter) -> None:
        """Make the stream of a tap."""
        super().__init__(tap)
        self._partner_tap = tap
        self._begun_again = False

    @property
    def run(self) -> Run:
        """The objects that live for one run, shared by all streams."""
        return self._partner_tap.run

    @property
    def lacks_user(self) -> bool:
        """Whether the run has no user where the service wants one."""
        return self.needs_user and self.run.settings.app_only

    def sibling(self, name: str) -> PartnerCenterStream:
        """Return another stream of the same tap."""
        return cast("PartnerCenterStream", self._partner_tap.streams[name])

    # What is asked

    @cached_property
    @override
    def url_base(self) -> str:
        url = requests.Request("GET", f"{self.run.settings.api_url}/v1").prepare().url
        assert url is not None  # noqa: S101 - it was given
        return url

    @property
    @override
    def authenticator(self) -> AuthBase:
        return self.run.authenticator

    @property
    @override
    def http_headers(self) -> dict[str, str]:
        """Headers of a new request ("Partner Center REST headers").

        The request id is new for each request, and kept until there is an answer; the correlation
        id is one for the run, so that Microsoft support can find all of it.
        """
        return {**self.run.headers, _REQUEST_ID: str(uuid.uuid4())}

    @override
    def get_url(self, context: Context | None) -> str:
        segments = {name: quote(str(value), safe="") for name, value in (context or {}).items()}
        return self.url_base + self.path.format_map(segments)

    @override
    def get_url_params(
        self,
        context: Context | None,
        next_page_token: Continuation | None,
    ) -> dict[str, Any]:
        """Return the query of the first page; a continuation brings its own."""
        return {}

    @override
    def get_http_request(self, *, page: PageContext[Continuation | None]) -> HTTPRequest:
        continuation = page.next_page_token
        if continuation is None:
            return HTTPRequest(
                url=self.get_url(page.stream_context),
                params=self.get_url_params(page.stream_context, None),
                headers=self.http_headers,
            )
        return HTTPRequest(
            url=continuation.url,
            # Ours come last: no answer may change the ids by which support finds the run.
            headers={**dict(continuation.headers), **self.http_headers},
        )

    @override
    def get_new_paginator(
        self,
        start: Continuation | None = None,
    ) -> SeekPaginator:
        return SeekPaginator(self.run.settings.api_url, start)

    @override
    def request_decorator(self, func: Callable[P, T]) -> Callable[P, T]:
        """Make a call patient: retried as :mod:`tap_partnercenter.errors` says."""
        return self.run.patience.with_retries(func, self.logger)

    # Page after page

    def pages(self, context: Context | None, start: Continuation | None = None) -> Pages:
        """Return a reader of a collection.

        Args:
            context: Partition or customer.
            start: Where to go on, in place of the first page.
        """
        return Pages(self, context, start)

    def read_page(
        self,
        context: Context | None,
        paginator: SeekPaginator,
        *,
        resumed: bool,
        page_size: int | None = None,
    ) -> Answer:
        """Read the page at which a paginator stands, and move it on. Runs in any thread.

        Args:
            context: Partition or customer.
            paginator: Where to read.
            resumed: Whether an earlier run was told of the page.
            page_size: Records to ask for on a first page, in place of the stream's number.

        Raises:
            PartnerCenterError: If the page cannot be had.
        """
        here = paginator.current_value
        page = self.get_http_request(page=PageContext(context, here))
        if page_size is not None and here is None:
            page.params["size"] = page_size
        # In one go, `Request.prepare`, this would take three times as long: it looks for cookies,
        # files and credentials, and takes an address apart that was just put together.
        request = requests.PreparedRequest()
        request.method, request.url = page.method, page.url
        if here is not None or page.params:
            request.prepare_url(page.url, page.encode_params())
        request.prepare_headers(page.headers)
        place = self.place_of(here, resumed=resumed)
        try:
            answer = self._patient_fetch(request, place)
            paginator.advance(answer)
        except TryAgain as error:
            self._give_up(error, request, place)
        except UnusableContinuation as error:
            message = self._line(request, str(error), "Not retried.", "Try again later.")
            raise UnusableContinuation(message) from None
        return answer

    def own(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Keep the records that belong to this process."""
        shard = self.run.settings.shard
        if self.shard_key is None or shard.count == 1:
            return records
        return [record for record in records if shard.takes(str(record.get(self.shard_key)))]

    def look_ahead(self, sources: Callable[[], Source[T] | None], *, held: int) -> LookAhead[T]:
        """Read ahead on the threads of the run; a connection test asks for nothing in advance."""
        pool = self.run.pool if self.ABORT_AT_RECORD_COUNT is None else Pool(1)
        return LookAhead(pool, sources, held=held, on_idle=self._on_idle)

    def _on_idle(self) -> None:
        """Pass on what is collected while nothing comes, and say in due time that nothing does."""
        self._partner_tap.message_writer.flush()
        self.run.report.progress()

    @cached_property
    def _patient_fetch(self) -> Callable[[requests.PreparedRequest, Place], Answer]:
        return self.request_decorator(self.fetch)

    def place_of(self, continuation: Continuation | None, *, resumed: bool) -> Place:
        """Tell where a request stands: the same answer means different things in each place."""
        if continuation is None:
            return Place.FIRST
        if resumed:
            return Place.RESUMED
        return Place.NEXT

    def fetch(self, request: requests.PreparedRequest, place: Place) -> Answer:
        """Ask for a page once and judge the answer. Runs in any thread.

        Raises:
            TryAgain: If another attempt may help.
            Refused: If not.
        """
        run = self.run
        self.authenticator(request)
        with self._passage() as passage:
            # A pause at the gate may be longer than a token lives.
            signed = self.authenticator(request)
            run.report.requested()
            answer = run.transport.send(signed, "api_url")
            if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                passage.refuse(self._retry_after(answer))
            try:
                body = read_body(answer)
            except UnreadableBody as error:
                reason = f"HTTP {answer.status_code} with {error}"
                raise _ask_again(answer, NO_COLLECTION, reason) from None
        if (
            place is Place.CUSTOMER
            and answer.status_code in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}
            and says_nothing(body)
        ):
            # The customer has no relationships: Microsoft's support says that it returns null then.
            answer.document = {}
            return answer
        try:
            answer.document, answer.broken = decode_repaired(body)
        except UnreadableBody as error:
            answer.document = {}
            if answer.status_code == HTTPStatus.OK:
                raise _ask_again(answer, NO_COLLECTION, f"HTTP 200 with {error}") from None
        if answer.status_code != HTTPStatus.OK:
            self._judge(answer, request, place, passage.pause)
        elif not is_collection(answer.document):
            reason = "HTTP 200 with JSON that is no collection of records"
            raise _ask_again(answer, NO_COLLECTION, reason)
        return answer

    @contextmanager
    def _passage(self) -> Iterator[Passage]:
        try:
            with self.run.gate.passage() as passage:
                yield passage
        except PauseTooLong as pause:
            rule = rule_for(HTTPStatus.TOO_MANY_REQUESTS, None, Place.FIRST)
            reason = f"HTTP 429 to another request: {rule.meaning}"
            raise TryAgain(rule, reason, retry_after=pause.seconds) from None

    def _retry_after(self, answer: requests.Response) -> float | None:
        return seconds_to_wait(answer.headers.get("Retry-After"), self.run.clock.now())

    def _judge(
        self,
        answer: Answer,
        request: requests.PreparedRequest,
        place: Place,
        pause: float | None,
    ) -> NoReturn:
        """Act on an answer other than 200.

        Raises:
            TryAgain: If another attempt may help.
            Refused: If not.
        """
        code = code_of(answer.document)
        rule = rule_for(answer.status_code, code, place)
        reason = f"HTTP {answer.status_code}" + (f", code {code}" if code else "")
        if rule.outcome in {Outcome.RETRY, Outcome.WAIT, Outcome.REFRESH}:
            if rule.outcome is Outcome.RETRY:
                pause = self._retry_after(answer)
            if rule.outcome is Outcome.REFRESH:
                self.run.authenticator.reject(request)
            if rule.sign:
                self.run.report.sign(f"{reason}: {rule.meaning}", rule.remedy)
            raise _ask_again(answer, rule, f"{reason}: {rule.meaning}", pause)
        kind: type[Refused] = {
            Outcome.SKIP: SkippedCustomer,
            Outcome.RESTART: ExpiredCheckpoint,
            Outcome.END: RefusedContinuation,
        }.get(rule.outcome, Refused)
        what, remedy, summary = f"{reason}: {rule.meaning}", rule.remedy, ""
        if answer.status_code == HTTPStatus.FORBIDDEN and self.lacks_user:
            remedy, summary = APP_AND_USER, "; set refresh_token"
        tried = (
            "Refused again after a new start." if rule.outcome is Outcome.END else "Not retried."
        )
        line = self._line(request, what, support_ids(answer) + tried, remedy)
        raise kind(line, rule, what + summary)

    def _give_up(
        self,
        error: TryAgain,
        request: requests.PreparedRequest,
        place: Place,
    ) -> NoReturn:
        patience = self.run.settings.max_retry_seconds
        if error.rule.outcome is Outcome.REFRESH:
            tried = "Refused again with a new token."
        elif (error.retry_after or 0) > patience:
            tried = (
                f"The service wants a pause of {error.retry_after:.0f} s, max_retry_seconds allows "
                f"{patience}."
            )
        else:
            tried = "Retried until patience ended."
        told = error.told or f"MS-RequestId {request.headers[_REQUEST_ID]}. "
        raise ConnectionFailed(
            self._line(request, f"{error.reason} ({place.value})", told + tried, error.rule.remedy),
        ) from None

    def _line(self, request: requests.PreparedRequest, what: str, told: str, remedy: str) -> str:
        """Compose the one line that an operator reads. It holds no query and no body."""
        path = request.path_url.partition("?")[0]
        if TOKEN_HEADER in request.headers:
            # The address of a continuation is the service's: it may hold anything.
            path = f"a continuation of /v1{self.path}"
        return f"{self.name}: {what}, at {request.method} {path}. {remedy} {told}"

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
        record = self.shape.fit(row, self._on_odd_field)
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
        return record

    def note_page(self, page: Page) -> None:
        """Count what a page holds that is about to be emitted, and say what is odd about it."""
        self.held += len(page.records)
        for path in page.broken:
            self._on_odd_field(Oddity.BROKEN, path)
        if page.again and not self._begun_again:
            self._begun_again = True
            self.logger.info(
                "%s: the service refused a continuation behind a page that does not look like the "
                "last: read again from the first page",
                self.name,
            )

    def _on_odd_field(self, oddity: Oddity, path: str) -> None:
        self.run.report.odd_field(self.name, oddity, path)

    def write_state(self) -> None:
        """Send the state of the whole tap."""
        tap = self._partner_tap
        tap.state_writer.write_state(tap.state)

    # The end

    def end_pass(self, version: int) -> None:
        """Close a complete pass over the table: the target may drop what the pass did not hold."""
        self.ensure_schema_sent()
        deletes = self.run.settings.delete_vanished
        if gap := self.gap():
            # Of a resumed pass it was said when it was resumed.
            if deletes and not self.resumed:
                self.logger.info("%s: %s, so no rows vanish", self.name, gap)
        elif not self._has_shrunk() and deletes:
            self.activate_version(version)

    def gap(self) -> str | None:
        """Say why the pass may not have held all that the table should hold, None if it did."""
        if self.resumed:
            # Its first pages are up to a day old, and where the service counts by position, rows
            # that left meanwhile have moved others over to the pages that were read.
            return "the pass was resumed"
        if self.skipped:
            return f"{self.skipped} customers were skipped"
        return None

    def _has_shrunk(self) -> bool:
        """Compare the rows with those of the last complete pass, whose number the bookmark has.

        A number that causes doubt is not kept: the next pass is compared with the same one.
        """
        settings = self.run.settings
        if settings.shard.count > 1:
            return False  # a part of the rows, and never a version
        bookmark = self.tap_state.setdefault("bookmarks", {}).setdefault(self.name, {})
        before, most = bookmark.get("rows"), settings.max_vanished_percent
        self.shrunk = (
            settings.delete_vanished
            # State is edited by hand, too.
            and type(before) is int
            and (before - self.held) * 100 > most * before
        )
        if self.shrunk:
            self.logger.warning(
                "%s: %d rows, %d in the last complete pass: more than max_vanished_percent (%d) "
                "are gone, so no rows vanish. If they have left indeed, run once with a higher "
                "max_vanished_percent, 100 for no guard",
                self.name,
                self.held,
                before,
                most,
            )
        else:
            bookmark["rows"] = self.held
        return self.shrunk

    @override
    def log_sync_costs(self) -> None:
        """Say how much the stream had; the SDK calls this once, at the end of the run."""
        self.log_metrics()
        if self.selected:
            self.run.report.stream_ended(self.name)


def _ask_again(
    answer: Answer,
    rule: Rule,
    reason: str,
    pause: float | None = None,
) -> TryAgain:
    """Return what an answer of no use raises.

    A request that was answered has a new id when it is sent again; one that was not keeps its own
    ("Partner Center REST headers").
    """
    told = support_ids(answer)
    answer.request.headers[_REQUEST_ID] = str(uuid.uuid4())
    return TryAgain(rule, reason, retry_after=pause, told=told)
