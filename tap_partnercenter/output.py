"""Writes messages: many lines at once, and whole lines only, however the run ends.

A pipe accepts up to `PIPE_BUF` bytes completely or not at all (POSIX, `write`). So lines are
written in pieces of that size, each when there is room for it: a signal that arrives while the
target does not read finds the tap waiting between two lines.
"""

from __future__ import annotations

import atexit
import os
import select
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.singerlib import StateMessage
from typing_extensions import override

from tap_partnercenter.clock import record_time
from tap_partnercenter.errors import PartnerCenterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import RawIOBase
    from typing import TextIO

    from singer_sdk.singerlib.encoding.simple import Message

#: Bytes after which a block is written.
BLOCK = 64 * 1024
#: Bytes that a pipe with room accepts at once; on Windows there is no way to wait for room.
PIECE: int = getattr(select, "PIPE_BUF", BLOCK)
#: Milliseconds after a signal in which the target may accept the rest of a longer line, and
#: between two checks for a signal.
GRACE, POLL_INTERVAL = 1000, 50


class OutputError(PartnerCenterError):
    """Standard output cannot be written."""


class _WouldBlockError(Exception):
    """The target does not read, and the run must end."""


def check_output() -> None:
    """Check that there is a standard output, and do without an unusable standard error.

    Raises:
        OutputError: If standard output is closed.
    """
    if sys.stderr is None:
        # The progress display needs one, and a connection would take over its file descriptor.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    atexit.register(_drop_log)
    if sys.stdout is None:
        message = "standard output is closed (`>&-`): pipe it to a target or a file."
        raise OutputError(message)


def _drop_log() -> None:
    """Keep a full disk below the log from changing the exit code: Python's flush would fail."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Keep Python's flush of a stream at exit from failing again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def printing() -> Iterator[None]:
    """Print something other than messages.

    Raises:
        OutputError: If it cannot be written.
    """
    check_output()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard(sys.stdout)
        raise _refused(error, "run again") from error


def _refused(error: OSError, then: str) -> OutputError:
    return OutputError(
        f"cannot write to standard output: {error.strerror or type(error).__name__}. Check the "
        f"file, disk or device behind it, then {then}."
    )


class BlockWriter(MsgSpecWriter):
    """Collects messages and writes them when there are enough, and after each STATE.

    For the main thread only: the SDK encodes into a shared buffer.
    """

    def __init__(self) -> None:
        super().__init__()
        self._block = bytearray()
        self._writing = False
        self._waiting = False
        self._ending = False
        self._interruption: BaseException | None = None

    @override
    def write_message(self, message: Message) -> None:
        self._block += self.format_message(message)
        if len(self._block) >= BLOCK or isinstance(message, StateMessage):
            self.flush()

    def write_record(self, stream: str, record: dict[str, Any], version: int | None) -> None:
        """Collect a record without creating a message object first."""
        message: dict[str, Any] = {"type": "RECORD", "stream": stream, "record": record}
        if version is not None:
            message["version"] = version
        message["time_extracted"] = record_time()
        encoder.encode_into(message, self._block, -1)
        self._block += b"\n"
        if len(self._block) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write what was collected; after a signal, only as much as the target accepts immediately.

        Raises:
            BrokenPipeError: If the target no longer reads.
            OutputError: If it cannot be written.
        """
        # A signal may have cut the last message short.
        lines = bytes(self._block[: self._block.rfind(b"\n") + 1])
        self._writing = True
        try:
            self._write(lines)
        except _WouldBlockError:
            pass
        finally:
            # What was not written now is dropped: nothing may follow a gap.
            self._block.clear()
            self._writing = False
        if self._interruption is not None:
            interruption, self._interruption = self._interruption, None
            raise interruption

    def interrupt(self, interruption: BaseException) -> None:
        """Raise from a signal handler, but not in the middle of a line.

        Raises:
            BaseException: The interruption, now or from :meth:`flush`.
        """
        again, self._ending = self._ending, True
        if again or self._waiting or not self._writing:
            raise interruption
        self._interruption = interruption

    def _write(self, lines: bytes) -> None:
        # Bypass Python's own buffer, which does not reveal how much of it was written.
        buffer = sys.stdout.buffer
        output = cast("RawIOBase", getattr(buffer, "raw", buffer))
        poller = _poller(output)
        written = 0
        try:
            while written < len(lines):
                piece = lines[written:]
                if poller is not None:
                    end = lines.rfind(b"\n", written, written + PIECE) + 1 or written + PIECE
                    piece = lines[written:end]
                    self._wait(poller, between_lines=lines[written - 1 : written] in {b"", b"\n"})
                written += output.write(piece) or 0
        except ConnectionError as error:
            raise BrokenPipeError from error
        except OSError as error:
            _truncate(output, written - lines.rfind(b"\n", 0, written) - 1)
            raise _refused(error, "run again with the last state") from error

    def _wait(self, poller: select.poll, *, between_lines: bool) -> None:
        """Wait until a piece can be written; between two lines, a signal ends the wait at once."""
        if not between_lines:
            grace = GRACE
            while not poller.poll(POLL_INTERVAL):
                grace -= POLL_INTERVAL if self._ending else 0
                if grace < 0:
                    raise _WouldBlockError
            return
        # From here on a signal raises; one that arrived just before has set `_ending`.
        self._waiting = True
        try:
            if not poller.poll(0 if self._ending else None):
                raise _WouldBlockError
        finally:
            self._waiting = False


def _poller(output: RawIOBase) -> select.poll | None:
    """Return a poll object if writing may have to wait for a reader."""
    try:
        mode = os.fstat(output.fileno()).st_mode
    except OSError:
        # Not a real file, but a test's.
        return None
    if not hasattr(select, "poll") or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    poller = select.poll()
    poller.register(output, select.POLLOUT)
    return poller


def _truncate(output: RawIOBase, size: int) -> None:
    """Remove half a line from the end of a file."""
    with suppress(OSError, ValueError):
        end = output.tell()
        # Not if something else was appended since.
        if os.fstat(output.fileno()).st_size == end:
            output.seek(end - size)
            output.truncate()
