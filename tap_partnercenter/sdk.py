"""Every private member of the SDK that the tap uses, each with its reason.

`tests/test_sdk.py` fails when one of them disappears or changes its meaning.
"""

from __future__ import annotations

import logging
import signal
import threading
from abc import abstractmethod
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk import RESTStream, Tap, metrics
from singer_sdk.exceptions import MapExpressionError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import CustomStreamMap, RemoveRecordTransform, SameRecordTransform
from typing_extensions import override

from tap_partnercenter.clock import record_time
from tap_partnercenter.validation import refuse

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from types import FrameType

    from singer_sdk.singerlib import RecordMessage

    from tap_partnercenter.output import BlockWriter
    from tap_partnercenter.run import Run


class _Quiet:
    """A metric that is not logged when a child stream ends, which happens once for each page."""

    def __exit__(self, *_: object) -> None:
        """Keep the value: :meth:`PlainStream.log_metrics` logs that of the whole stream."""

    def with_context(self, value: object) -> None:
        """Ignore the context: it would log a line for each customer."""


class _QuietCounter(_Quiet, metrics.Counter):
    @override
    def increment(self, value: int = 1) -> None:
        """Count, without the SDK's clock reading for each record."""
        self.value += value


class _QuietTimer(_Quiet, metrics.Timer):
    pass


def _should_log(record: logging.LogRecord) -> bool:
    """Reject the SDK's lines about each child stream and about each deselected stream."""
    return record.module != "tap_base" or record.levelno > logging.INFO


class PlainTap(Tap):
    """A tap that knows all of its settings, and exits with a code of its own on a signal.

    The SDK's handlers exit with 0, as if everything had been read.
    """

    def __init_subclass__(cls) -> None:
        """Add the SDK's own settings to the tap's.

        The SDK adds them to this schema when it creates a tap, and from 0.55 on to a copy of it.
        """
        super().__init_subclass__()
        if "config_jsonschema" in vars(cls):
            cls.append_builtin_config(cls.config_jsonschema)
            cls.logger.addFilter(_should_log)

    message_writer: BlockWriter

    @abstractmethod
    def config_problems(self) -> list[str]:
        """List what is wrong with the configuration, one line each, without secrets."""

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        # The SDK quotes values, which can be secrets, and fails on its own schema of `__else__`.
        for name, field in self.config_jsonschema["properties"].items():
            if "default" in field:
                self._config.setdefault(name, field["default"])
        errors = self.config_problems()
        if raise_errors:
            refuse(errors)
        return errors

    @property
    @abstractmethod
    def run(self) -> Run:
        """The objects that live for one run."""

    @override
    def _setup_signal_handlers(self) -> None:
        super()._setup_signal_handlers()
        # Closing the terminal ends the run as well, unless `nohup` started it.
        hangup = getattr(signal, "SIGHUP", None)
        main = threading.current_thread() is threading.main_thread()
        if main and hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
            signal.signal(hangup, self._handle_termination)

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        # Replacing the SDK's handlers afterwards would leave a gap while the tap is created.
        # Take no lock here: the interrupted code may hold it.
        ending = SystemExit(128 + signum)
        # The writer is created last; before that nothing was written.
        if (writer := vars(self).get("message_writer")) is None:
            raise ending
        writer.interrupt(ending)


@contextmanager
def _add_stream_to_errors(stream: str) -> Iterator[None]:
    """Add the stream and setting to the error when an expression fails on a record."""
    try:
        yield
    except MapExpressionError as error:
        message = f"{stream}: stream_maps: {error}"
        raise MapExpressionError(message) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The SDK catches invalid expressions, but not errors while they are evaluated.
        message = (
            f"{stream}: stream_maps: an expression failed on a record ({type(error).__name__}). "
            "A field may be missing or null: read it with get(), or test for it first."
        )
        raise MapExpressionError(message) from error


def _spread_null_objects(
    record: dict[str, Any], columns: Mapping[str, Any], separator: str
) -> None:
    """Replace a null object with null in each of its columns."""
    for name in [name for name, value in record.items() if value is None and name not in columns]:
        del record[name]
        inside = f"{name}{separator}"
        record.update({column: None for column in columns if column.startswith(inside)})


class PlainStream(RESTStream[Any]):
    """A stream that writes records quickly, sends SCHEMA once, and its version last.

    The SDK sends SCHEMA, metrics and a log line each time a child stream is synced, and
    ACTIVATE_VERSION before the first record: a target that acts on it deletes the old rows first,
    so an interrupted run leaves a table half empty.
    """

    def __init__(self, tap: PlainTap) -> None:
        super().__init__(tap)
        self._writer = tap.message_writer
        self._schema_sent = False
        self._counter = _QuietCounter(metrics.Metric.RECORD_COUNT, {metrics.Tag.STREAM: self.name})
        self._timer = _QuietTimer(metrics.Metric.SYNC_DURATION, {metrics.Tag.STREAM: self.name})

    #: Records already conform to their schema (`records.Shape`).
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        """Return None: the SDK would read a stream once for each partition in the state."""
        return None

    @override
    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Return None: the tap has no BATCH messages, whose records would have no version.

        The SDK writes them for a `batch_config`, even if the tap has no such setting.
        """

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **kwargs: Any) -> None:
        """Log the SDK's own lines at DEBUG; the tap's lines go to `self.logger`."""
        super().log(message, *args, level=min(level, logging.DEBUG), **kwargs)

    @override
    def get_record_counter(self, **_: Any) -> metrics.Counter:
        return self._counter

    @override
    def get_sync_timer(self) -> metrics.Timer:
        return self._timer

    @property
    def records_written(self) -> int:
        """How many records the stream has written."""
        return self._counter.value

    def log_metrics(self) -> None:
        """Log the SDK's two metrics of this stream once."""
        for kind, meter, value in (
            ("counter", self._counter, self._counter.value),
            ("timer", self._timer, self._timer.elapsed()),
        ):
            metrics.log(
                self.metrics_logger, point=metrics.Point(kind, meter.metric, value, meter.tags)
            )

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        """Keep the SDK from activating a version too early: :meth:`activate_version` does it."""
        return False

    def use_version(self, version: int) -> None:
        """Add a version to the records that follow."""
        # The SDK has no public way to set the version that it writes into RECORD messages.
        self._stream_version = version

    def activate_version(self, version: int) -> None:
        """Tell the target that all rows of a version were sent, so that it can delete others."""
        self.ensure_schema_sent()
        # Only the setting that sends the message too early is public.
        self._write_activate_version_message(version)

    def ensure_schema_sent(self) -> None:
        """Send SCHEMA unless it was sent, so that a stream without records still gets a table."""
        self._write_schema_message()

    @cached_property
    def is_unmapped(self) -> bool:
        """Whether records are written unchanged: no field is deselected and there is no map."""
        (stream_map, *more) = self.stream_maps
        return (
            all(self.mask.values())
            and not more
            and isinstance(stream_map, SameRecordTransform)
            and not stream_map.flattening_enabled
        )

    @cached_property
    def _alias(self) -> str:
        return self.stream_maps[0].stream_alias

    def passes_map(self, record: dict[str, Any]) -> bool:
        """Return whether the filter of the stream map keeps a record."""
        with self._mapping:
            return self.stream_maps[0].get_filter_result(record)

    @property
    def is_loaded(self) -> bool:
        """Whether the stream's records are written: it is selected, and no map removes it."""
        return self.selected and not isinstance(self.stream_maps[0], RemoveRecordTransform)

    @property
    def _mapping(self) -> AbstractContextManager[None]:
        mapped = isinstance(self.stream_maps[0], CustomStreamMap)
        return _add_stream_to_errors(self.name) if mapped else nullcontext()

    @override
    def _write_record_message(self, record: dict[str, Any]) -> None:
        # The SDK searches each record for deselected fields, copies it for its maps and creates
        # an object from it, which takes longer than everything else.
        if not self.is_unmapped:
            with self._mapping:
                super()._write_record_message(record)
            return
        self._writer.write_record(self._alias, record, self._stream_version)
        self.state_manager.is_flushed = False

    @cached_property
    def _flat(self) -> dict[str, tuple[Mapping[str, Any], str]]:
        """The columns of each flattened stream, and the separator in their names."""
        return {
            stream_map.stream_alias: (
                stream_map.transformed_schema["properties"],
                stream_map.flattening_options.separator,
            )
            for stream_map in self.stream_maps
            if stream_map.flattening_options and stream_map.flattening_enabled
        }

    @override
    def _generate_record_messages(
        self, record: dict[str, Any]
    ) -> Generator[RecordMessage, None, None]:
        # The SDK only flattens objects, so a null one keeps a name that is not in the SCHEMA.
        for message in super()._generate_record_messages(record):
            message.time_extracted = record_time()
            if message.stream in self._flat:
                _spread_null_objects(message.record, *self._flat[message.stream])
            yield message

    @override
    def _increment_stream_state(self, *_: Any, **__: Any) -> None:
        """Leave the bookmark alone: the SDK advances it with records, we do after whole days."""

    @override
    def _write_schema_message(self) -> None:
        # `sync` calls this for each page of the parent; some targets flush all tables each time.
        if not self._schema_sent:
            self._schema_sent = True
            super()._write_schema_message()
