"""What a run has read completely: rows that the tap itself writes, without a request.

A target that only adds and updates rows keeps those that no longer exist in the API. These rows let
a query find them: whatever was extracted before the last read of its customer or list is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_partnercenter.clock import record_time
from tap_partnercenter.stream import PartnerCenterStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from singer_sdk.helpers.types import Context

    from tap_partnercenter.children import ChildStream
    from tap_partnercenter.pages import Page


def utc_now() -> str:
    """Return the current time as in `time_extracted` of RECORD messages, in UTC.

    A reading begins with this time. Whatever was extracted earlier was not part of that reading.
    """
    return record_time().isoformat(timespec="microseconds").replace("+00:00", "Z")


class RefreshStream(PartnerCenterStream):
    """Rows that other streams supply, each when its part of a table is written.

    They are never deleted and never have a version: a run that does not read a customer keeps the
    row of the run that did.
    """

    path = ""
    needs_user = False
    _rows: Sequence[dict[str, Any]] = ()

    @classmethod
    @override
    def cost(cls) -> str:
        return "no request"

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        """Return the rows that were supplied: none when the stream itself is synced."""
        rows, self._rows = self._rows, ()
        yield from rows

    @override
    def first_page(self) -> Page | None:
        return None

    @override
    def prepare(self) -> None:
        """Let the next stream prepare instead, as there is nothing to read."""
        if self.next_stream is not None:
            self.next_stream.prepare()

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        if self.selected:
            # A stream without rows still gets a table.
            self.ensure_schema_sent()
        if self.selected and rows:
            self._rows = rows
            self.sync({"rows": len(rows)})
            self.run.report.emitted(self.name, self.records_written)


class CustomerRefreshStream(RefreshStream):
    """A row for each customer and child stream: when its records were read completely, and why."""

    def write_refresh(
        self,
        children: Sequence[ChildStream],
        reason: Callable[[str], str | None],
        refreshed_at: str,
    ) -> None:
        """Write the rows of a page of customers, in the order of their records."""
        self._write(
            [
                {
                    "customer_id": customer_id,
                    "stream": child.name,
                    "refreshed_at": refreshed_at,
                    "reason": reason(customer_id),
                }
                for child in children
                for customer_id in child.take_complete()
                if child.is_loaded
            ]
        )


class ListRefreshStream(RefreshStream):
    """A row for each list, or a reseller's part of one: when it was read without interruption."""

    def write_refresh(
        self, stream: PartnerCenterStream, parts: Iterable[tuple[Mapping[str, str] | None, str]]
    ) -> None:
        """Write rows for a list, for this shard's part of it, or for some of its partitions.

        A part is its context, None for all of the list, and when reading it began.
        """
        if not stream.is_loaded:
            return  # its table was not written
        shard = self.run.settings.shard
        rows: list[dict[str, Any]] = []
        for context, refreshed_at in parts:
            # Shards divide the partitions; each partition is read as a whole by one of them.
            count, index = (1, 0) if context else (shard.count, shard.index)
            part = [*(context or {}).values()] or ([f"{index} of {count}"] if count > 1 else [])
            rows.append(
                {
                    "id": " ".join([stream.name, *part]),
                    "stream": stream.name,
                    **(context or {}),
                    "shard_count": count,
                    "shard_index": index,
                    "refreshed_at": refreshed_at,
                }
            )
        self._write(rows)
