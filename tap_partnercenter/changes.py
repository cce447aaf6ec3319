"""Streams of changes: read a day at a time, with a bookmark that only moves forward."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from tap_partnercenter.stream import PartnerCenterStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context

    from tap_partnercenter.lookahead import LookAhead
    from tap_partnercenter.pages import Page, Pages

_DAY = dt.timedelta(days=1)


class ChangeStream(PartnerCenterStream):
    """A root stream of dated records; each run reads the days since the previous one.

    Its bookmark, `replication_key_value`, is the start of the first day that was not read
    completely: today at most, because more records may follow. It never moves back, unless it is in
    the future. The stream never has a version, because rows that a run does not read still exist.
    """

    #: Days before today that the service keeps.
    max_days_back: ClassVar[int]
    #: Days before the bookmark to read again: rows may arrive late or be replaced.
    overlap: ClassVar[int]
    #: Parameters that name the first and the last day of a request, both included.
    day_params: ClassVar[tuple[str, str]]

    @classmethod
    @override
    def cost(cls) -> str:
        return f"{super().cost()}, at least 1 for each day"

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        self.stream_state  # noqa: B018 - creates the bookmark: it is the stream's turn
        for day in self._days:
            for page in self._ahead.take():
                self.note_page(page)
                if day == self._days[-1] and page.following is None and self.next_stream:
                    self.next_stream.prepare()
                yield from page.records
                self.run.report.emitted(self.name, self.records_written, f"({day})")
            self._complete(day)

    @override
    def prepare(self) -> None:
        self._ahead.begin()

    @override
    def first_page(self) -> Page:
        return self.pages({"day": self._days[-1].isoformat()}).read()

    @override
    def get_url_params(self, context: Context | None, next_page_token: object) -> dict[str, Any]:
        query = super().get_url_params(context, None)
        return {**query, **dict.fromkeys(self.day_params, (context or {})["day"])}

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """Return none: the bookmark depends on days, not on records."""

    @cached_property
    def _ahead(self) -> LookAhead[Page]:
        days = iter(self._days)

        def following() -> Pages | None:
            day = next(days, None)
            return None if day is None else self.pages({"day": day.isoformat()})

        return self.look_ahead(following, capacity=2 * self.run.settings.max_concurrent_requests)

    @cached_property
    def _days(self) -> list[dt.date]:
        """The days to read: fixed once, so that a run that passes midnight reads them all."""
        today = self._today
        oldest = today - self.max_days_back * _DAY
        first = oldest
        if self._stored is not None and self._bookmark is None:
            self.logger.warning(
                "%s: the bookmark in the state, %s, is in the future, so all days that the service "
                "keeps are read again",
                self.name,
                self._stored,
            )
        if self._bookmark is not None:
            first = min(self._bookmark, today) - self.overlap * _DAY
            if self._bookmark < oldest:
                self.logger.warning(
                    "%s: the service keeps only %d days of records. Those from %s to %s were not "
                    "read and are no longer available",
                    self.name,
                    self.max_days_back + 1,
                    self._bookmark,
                    oldest - _DAY,
                )
        first = max(first, oldest)
        return [first + number * _DAY for number in range((today - first).days + 1)]

    @cached_property
    def _today(self) -> dt.date:
        return dt.datetime.fromtimestamp(self.run.clock.now(), dt.UTC).date()

    @property
    def _bookmark(self) -> dt.date | None:
        """The first day that was not read completely, None without an earlier run.

        A bookmark of tomorrow may come from another clock, and the overlap makes up for it. A later
        one says nothing about which days were read.
        """
        stored = self._stored
        return None if stored is None or stored > self._today + _DAY else stored

    @property
    def _stored(self) -> dt.date | None:
        """The bookmark in the state, None if there is none."""
        bookmarks = self.tap_state.get("bookmarks", {})
        value: Any = bookmarks.get(self.name, {}).get("replication_key_value")
        try:
            return dt.date.fromisoformat(str(value)[:10])
        except ValueError:
            # State may be edited by hand or written by other versions: ignore what cannot be read.
            return None

    def _complete(self, day: dt.date) -> None:
        """Move the bookmark past a day that was read, unless it is not over."""
        reached = min(day + _DAY, self._days[-1])
        if self._bookmark is None or reached > self._bookmark:
            self.stream_state["replication_key"] = self.replication_key
            self.stream_state["replication_key_value"] = f"{reached}T00:00:00Z"
        self.write_state()
