"""The connection test, `--test`: does each stream answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from tap_partnercenter.output import BlockWriter

if TYPE_CHECKING:
    from singer_sdk.singerlib.encoding.simple import Message

    from tap_partnercenter.client import PartnerCenterStream
    from tap_partnercenter.tap import TapPartnerCenter


class NoWriter(BlockWriter):
    """Takes messages and writes none: a test is about answers, and records are personal data."""

    @override
    def write_message(self, message: Message) -> None:
        """Take a message."""

    @override
    def write_record(self, stream: str, record: dict[str, Any], version: int | None) -> None:
        """Take a record."""


def try_streams(tap: TapPartnerCenter) -> None:
    """Ask for the first record of each selected stream, and say which of them answered.

    Raises:
        PartnerCenterError: If one does not.
    """
    streams = cast("list[PartnerCenterStream]", [*tap.streams.values()])
    selected = [stream for stream in streams if stream.selected]
    for stream in streams:
        stream.ABORT_AT_RECORD_COUNT = 1  # so that none reads ahead, for itself or for the next
    for root in streams:
        wanted = [stream for stream in selected if stream in {root, *root.descendent_streams}]
        if root.parent_stream_type is None and wanted:
            # A parent is read for its children, selected or not.
            tap.run_sync_dry_run(1, streams={root: None, **dict.fromkeys(wanted)})
            for stream in wanted:
                tap.logger.info("%s: %s", stream.name, _outcome(stream, root))
    tap.logger.info("All streams answered.")


def _outcome(stream: PartnerCenterStream, root: PartnerCenterStream) -> str:
    if stream.records_written:
        return "answered."
    if stream.skipped:
        return "answered, and refused the one customer that was tried."
    if stream is not root and not root.records_written:
        return f"not tried, since there are no {root.name}."
    return "answered, and has no record."
