"""Writing messages in blocks: one call of the system for many lines, and never half a line."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.singerlib import StateMessage
from typing_extensions import override

if TYPE_CHECKING:
    from singer_sdk.singerlib.encoding.simple import Message

#: Bytes after which a block is written.
BLOCK = 64 * 1024


class BlockWriter(MsgSpecWriter):
    """Collects messages and writes them when there are enough, and after each STATE.

    To be used from the main thread only: the SDK encodes into one buffer.
    """

    def __init__(self) -> None:
        """Start with nothing to write."""
        super().__init__()
        self._block = bytearray()
        self._writing = False
        self._interruption: BaseException | None = None

    @override
    def write_message(self, message: Message) -> None:
        """Take a message."""
        self._block += self.format_message(message)
        if len(self._block) >= BLOCK or isinstance(message, StateMessage):
            self.flush()

    def write_record(self, stream: str, record: dict[str, Any], version: int | None) -> None:
        """Take a record without making a message object of it first."""
        message: dict[str, Any] = {"type": "RECORD", "stream": stream, "record": record}
        if version is not None:
            message["version"] = version
        message["time_extracted"] = datetime.now(UTC)
        encoder.encode_into(message, self._block, -1)
        self._block += b"\n"
        if len(self._block) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write what was collected.

        Raises:
            BrokenPipeError: If nobody reads any more.
        """
        # A signal may have cut the last message short.
        lines = bytes(self._block[: self._block.rfind(b"\n") + 1])
        self._writing = True
        try:
            # With PYTHONUNBUFFERED, a write that a signal interrupts writes a part only.
            while lines:
                lines = lines[sys.stdout.buffer.write(lines) :]
            sys.stdout.buffer.flush()
        finally:
            self._block.clear()
            self._writing = False
        if self._interruption is not None:
            interruption, self._interruption = self._interruption, None
            raise interruption

    def interrupt(self, interruption: BaseException) -> None:
        """Raise from a signal handler, but not while a block is half written.

        Raises:
            BaseException: The interruption, now or at the end of the block.
        """
        if not self._writing or self._interruption is not None:
            # A second signal does not wait for a target that does not read.
            raise interruption
        self._interruption = interruption
