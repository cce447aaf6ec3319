"""Requests a page and judges the response. Knows HTTP, but not the SDK."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

import requests

from tap_partnercenter.errors import (
    ConnectionFailed,
    ExpiredCheckpoint,
    Refused,
    RefusedContinuation,
    SkippedCustomer,
    TryAgain,
)
from tap_partnercenter.outcomes import (
    APP_AND_USER,
    NO_COLLECTION,
    NOT_ENROLLED,
    Outcome,
    Place,
    rule_for,
)
from tap_partnercenter.pagination import TOKEN_HEADER, UnusableContinuation
from tap_partnercenter.responses import ApiResponse, code_of, is_collection, is_entity, support_ids
from tap_partnercenter.transport import UnreadableBody, decode_repaired, is_blank, read_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_partnercenter.auth import TokenAuthenticator
    from tap_partnercenter.outcomes import Rule
    from tap_partnercenter.pacing import Gate
    from tap_partnercenter.pagination import Continuation, LinkPaginator
    from tap_partnercenter.report import Report
    from tap_partnercenter.retry import RetryPolicy
    from tap_partnercenter.settings import Settings
    from tap_partnercenter.shard import Shard
    from tap_partnercenter.transport import Transport

_REQUEST_ID, _CORRELATION_ID = "MS-RequestId", "MS-CorrelationId"
#: Length of the last group of an id and its hyphen: the same in all ids of a run.
_GROUP = 13


@dataclass(frozen=True, slots=True)
class Collection:
    """What a stream requests.

    Attributes:
        stream: Name of the stream, for messages.
        path: Below `/v1`, with names in braces instead of ids, for messages.
        url: Absolute address of the first page, without its query.
        params: Query of the first page; a continuation brings its own.
        context: Partition or customer: the fields that each record gets.
        place: The place of the first page in the table of failures …
        next_place: … and of later pages.
        single: Whether the response is one record instead of a page of records.
        lacks_user: Whether the service requires a user and the run has none.
        enrolment: Which partners have it, and what others should do, as a sentence; empty for all.
        shard_key: The field by which shards divide the records, None if they do not.
    """

    stream: str
    path: str
    url: str
    params: Mapping[str, Any]
    context: Mapping[str, str]
    place: Place
    next_place: Place
    single: bool
    lacks_user: bool
    enrolment: str
    shard_key: str | None

    def for_shard(self, records: list[dict[str, Any]], shard: Shard) -> list[dict[str, Any]]:
        """Keep the records that belong to this process."""
        key = self.shard_key
        if key is None or shard.count == 1:
            return records
        return [record for record in records if shard.owns(str(record.get(key)))]


@dataclass(frozen=True, slots=True)
class _PageRequest:
    """A request for one page, and its place in the table of failures."""

    collection: Collection
    place: Place
    prepared: requests.PreparedRequest

    def line(self, what: str, ids_and_attempts: str, remedy: str) -> str:
        """Compose the one line that an operator reads. It contains no query and no body."""
        path = self.prepared.path_url.partition("?")[0]
        if TOKEN_HEADER in self.prepared.headers:
            # The URL of a continuation comes from the service: it may contain anything.
            path = f"a continuation of /v1{self.collection.path}"
        at = f"{self.prepared.method} {path}"
        return f"{self.collection.stream}: {what}, at {at}. {remedy} {ids_and_attempts}"


class Client:
    """Requests the pages of a run, from any thread."""

    def __init__(  # noqa: PLR0913 - the objects of the run
        self,
        settings: Settings,
        headers: Mapping[str, str],
        *,
        authenticator: TokenAuthenticator,
        gate: Gate,
        retry_policy: RetryPolicy,
        report: Report,
        transport: Transport,
    ) -> None:
        self.settings = settings
        self._headers = headers
        self._authenticator = authenticator
        self._gate = gate
        self._report = report
        self._transport = transport
        self._requested_pause = retry_policy.requested_pause
        self._fetch_with_retries = retry_policy.with_retries(self._fetch)

    def read(
        self,
        collection: Collection,
        paginator: LinkPaginator,
        *,
        resumed: bool = False,
        page_size: int | None = None,
    ) -> ApiResponse:
        """Read the current page of a paginator, and advance it.

        Args:
            collection: What to read.
            paginator: Where in it.
            resumed: Whether an earlier run stored the continuation.
            page_size: Records to request on a first page, instead of the collection's number.

        Raises:
            PartnerCenterError: If the page cannot be read.
        """
        continuation = paginator.current_value
        place = collection.place if continuation is None else collection.next_place
        if continuation is not None and continuation.computed:
            place = Place.COMPUTED
        if resumed:
            place = Place.RESUMED
        page = _PageRequest(collection, place, self._prepare(collection, continuation, page_size))
        try:
            response = self._fetch_with_retries(page)
            paginator.advance(response)
        except TryAgain as error:
            self._give_up(error, page)
        except UnusableContinuation as error:
            message = page.line(str(error), "Not retried.", "Try again later.")
            raise UnusableContinuation(message) from None
        return response

    def _prepare(
        self, collection: Collection, continuation: Continuation | None, page_size: int | None
    ) -> requests.PreparedRequest:
        """Prepare a request with a new id.

        `Request.prepare` would take three times as long: it looks for cookies, files and
        credentials, and parses a URL that was just built.
        """
        request = requests.PreparedRequest()
        request.method, request.url = "GET", collection.url
        continuation_headers: dict[str, str] = {}
        if continuation is not None:
            request.prepare_url(continuation.url, None)
            continuation_headers = dict(continuation.headers)
        elif collection.params:
            size = {} if page_size is None else {"size": page_size}
            request.prepare_url(collection.url, {**collection.params, **size})
        # Ours come last: no response may change the ids that Microsoft support needs.
        request.prepare_headers(
            {**continuation_headers, **self._headers, _REQUEST_ID: _new_id(self._headers)}
        )
        return request

    def _fetch(self, page: _PageRequest) -> ApiResponse:
        """Request a page once and judge the response."""
        self._authenticator(page.prepared)
        with self._gate.attempt() as ticket:
            # A pause at the gate may outlast a token.
            signed = self._authenticator(page.prepared)
            self._report.requested()
            response = self._transport.send(signed, "api_url")
            if _is_of_another_request(response):
                # Dropped with its connection: the response to this request may follow there.
                response.close()
                reason = f"HTTP {response.status_code} in response to another request"
                raise TryAgain(NO_COLLECTION, reason, support_ids=support_ids(response))
            if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                ticket.refuse(self._requested_pause(response))
            try:
                body = read_body(response)
                blank = (
                    page.place in {Place.CUSTOMER, Place.DIRECTORY, Place.COMPUTED}
                    and response.status_code in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}
                    and is_blank(body, response)
                )
            except UnreadableBody as error:
                reason = f"HTTP {response.status_code} with {error}"
                raise _try_again(response, NO_COLLECTION, reason) from None
        if blank:
            # There are none: according to Microsoft support, the service then returns null.
            response.document = {}
            return response
        try:
            response.document, response.broken = decode_repaired(body)
        except UnreadableBody as error:
            response.document = {}
            if response.status_code == HTTPStatus.OK:
                raise _try_again(response, NO_COLLECTION, f"HTTP 200 with {error}") from None
        if response.status_code != HTTPStatus.OK:
            self._raise_for_response(response, page, ticket.pause)
        single = page.collection.single
        if single and is_entity(response.document):
            response.document = {"items": [response.document]}
        if not is_collection(response.document):
            kind = "record" if single else "collection of records"
            reason = f"HTTP 200 with JSON that is not a {kind}"
            raise _try_again(response, NO_COLLECTION, reason)
        return response

    def _raise_for_response(
        self, response: ApiResponse, page: _PageRequest, pause: float | None
    ) -> NoReturn:
        """Raise what the table says about a response other than 200."""
        code = code_of(response.document)
        rule = rule_for(response.status_code, code, page.place)
        numbers = f"HTTP {response.status_code}" + (f", code {code}" if code else "")
        what = f"{numbers}: {rule.meaning}"
        if rule.outcome in {Outcome.RETRY, Outcome.WAIT, Outcome.REFRESH}:
            if rule.outcome is Outcome.RETRY:
                pause = self._requested_pause(response)
            if rule.outcome is Outcome.REFRESH:
                self._authenticator.reject(page.prepared)
            if rule.intermittent:
                self._report.intermittent(what, rule.remedy)
            raise _try_again(response, rule, what, pause)
        kind: type[Refused] = {
            Outcome.SKIP: SkippedCustomer,
            Outcome.RESTART: ExpiredCheckpoint,
            Outcome.END: RefusedContinuation,
        }.get(rule.outcome, Refused)
        remedy, summary = rule.remedy, ""
        if response.status_code == HTTPStatus.FORBIDDEN and page.collection.lacks_user:
            remedy, summary = APP_AND_USER, "; set refresh_token"
        elif code == NOT_ENROLLED:
            remedy = page.collection.enrolment or remedy
        tried = "Not retried."
        if rule.outcome is Outcome.END:
            tried = "Refused again after restarting the stream."
        line = page.line(what, support_ids(response) + tried, remedy)
        raise kind(line, rule, what + summary)

    def _give_up(self, error: TryAgain, page: _PageRequest) -> NoReturn:
        limit, name = self.settings.max_retry_seconds, self.settings.retry_limit
        if error.rule.outcome is Outcome.REFRESH:
            tried = "Refused again with a new token."
        elif (error.retry_after or 0) > limit:
            tried = (
                f"The service asks for a pause of {error.retry_after:.0f} s; {name} allows {limit}."
            )
        else:
            tried = f"Gave up after retrying for up to {limit} s ({name})."
        ids = error.support_ids or f"MS-RequestId {page.prepared.headers[_REQUEST_ID]}. "
        what = f"{error.reason} ({page.place.value})"
        silent = error.rule.outcome is Outcome.RETRY and not error.support_ids
        line = page.line(what, ids + tried, error.rule.remedy)
        if page.place is Place.RESUMED and error.rule.outcome is Outcome.RETRY and not silent:
            # A service may fail on a continuation that it no longer knows.
            raise ExpiredCheckpoint(
                line, error.rule, f"{error.reason}, after all retries"
            ) from None
        raise ConnectionFailed(line, silent=silent) from None


def _try_again(
    response: ApiResponse, rule: Rule, reason: str, pause: float | None = None
) -> TryAgain:
    """Return the error for an unusable response.

    A request that got a response has a new id when it is sent again; one that did not keeps its own
    ("Partner Center REST headers").
    """
    ids = support_ids(response)
    response.request.headers[_REQUEST_ID] = _new_id(response.request.headers)
    return TryAgain(rule, reason, retry_after=pause, support_ids=ids)


def _new_id(headers: Mapping[str, str]) -> str:
    """Return a GUID for a request; its last group is that of the run's correlation id."""
    return str(uuid.uuid4())[:-_GROUP] + headers[_CORRELATION_ID][-_GROUP:]


def _is_of_another_request(response: ApiResponse) -> bool:
    """Return whether a response repeats the id of another request of this run.

    It does if the responses on a connection were mixed up. Any other id is up to the service.
    """
    sent = response.request.headers
    repeated = response.headers.get(_REQUEST_ID, "").lower()
    return repeated != sent[_REQUEST_ID] and repeated.endswith(sent[_CORRELATION_ID][-_GROUP:])
