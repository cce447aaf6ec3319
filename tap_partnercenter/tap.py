"""The tap: its settings, its streams, and how a run begins and ends."""

from __future__ import annotations

import copy
import json
import sys
import traceback
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, NoReturn, cast

import click
from singer_sdk import Tap
from singer_sdk.exceptions import ConfigurationError, ConfigValidationError, MappingError
from tqdm.contrib.logging import logging_redirect_tqdm
from typing_extensions import override

from tap_partnercenter.catalog import check_shape, completed
from tap_partnercenter.clock import Clock
from tap_partnercenter.connection import try_streams
from tap_partnercenter.environment import environment_problems, unknown_variables
from tap_partnercenter.errors import PartnerCenterError
from tap_partnercenter.output import BlockWriter, OutputError, check_output, printing
from tap_partnercenter.run import Run, tuned
from tap_partnercenter.sdk import PlainTap
from tap_partnercenter.settings import (
    CONFIG_JSONSCHEMA,
    TAP_VERSION,
    Settings,
    Unusable,
    problems,
    sdk_problem,
    unknown_settings,
)
from tap_partnercenter.stream_maps import checked_mapper, shape_problems
from tap_partnercenter.streams import STREAMS, costs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.singerlib import Catalog

    from tap_partnercenter.stream import PartnerCenterStream


class TapPartnerCenter(PlainTap):
    """Singer tap for the Microsoft Partner Center REST API."""

    # `--about` prints it.
    __doc__ = f"{__doc__} {costs()}"
    name = "tap-partnercenter"
    # A copy: `PlainTap` adds the SDK's own settings to it.
    config_jsonschema: ClassVar[dict[str, Any]] = copy.deepcopy(CONFIG_JSONSCHEMA)
    # BATCH would write one file for each page of the child stream. START_DATE, which the SDK has
    # from 0.55 on, is for incremental streams.
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        capability
        for capability in Tap.capabilities
        if capability.value not in {"batch", "start-date"}
    ]
    message_writer_class = BlockWriter
    message_writer: BlockWriter
    #: How the tap tells the time and waits; a test puts a clock of its own here.
    clock_class: type[Clock] = Clock
    #: Whether this is a connection test.
    testing = False

    def __init__(
        self,
        *,
        catalog: dict[str, Any] | None = None,
        validate_config: bool = True,
        **kwargs: Any,  # noqa: ANN401 - the SDK's
    ) -> None:
        """Make a tap.

        Raises:
            Unusable: With one line for each wrong setting, or place in the catalog.
        """
        self.clock = self.clock_class()
        if catalog is not None:
            check_shape(catalog)
        refused: list[str] | None = None
        try:
            super().__init__(catalog=catalog, validate_config=validate_config, **kwargs)
        except Unusable as error:
            refused = error.errors
        except ConfigValidationError as error:
            refused = [*filter(None, map(sdk_problem, error.errors))]
        except AttributeError:
            # The SDK's own schema of `__else__` is malformed, and fails where the value is wrong.
            if not [*shape_problems(self.config.get("stream_maps"))]:
                raise
        wrong = [
            *problems(self.config),
            *shape_problems(self.config.get("stream_maps")),
            *(refused or []),
        ]
        if validate_config and wrong:
            raise Unusable([*dict.fromkeys(wrong)]) from None
        if refused is not None:
            # Whatever the SDK refused ended its preparations: such a tap must not run.
            raise Unusable(refused or ["The configuration is not usable."]) from None

    @override
    def discover_streams(self) -> Sequence[PartnerCenterStream]:
        return [stream(self) for stream in STREAMS]

    @cached_property
    @override
    def input_catalog(self) -> Catalog | None:
        given = super().input_catalog
        return None if given is None else completed(given, self.discover_streams(), self.logger)

    @override
    def setup_mapper(self) -> None:
        self.mapper = checked_mapper(self.config, self.catalog, self.streams, self.logger)

    @property
    def root_streams(self) -> list[PartnerCenterStream]:
        """The streams that are not read as children of another, in their order."""
        streams = cast("Iterable[PartnerCenterStream]", self.streams.values())
        return [stream for stream in streams if stream.parent_stream_type is None]

    @cached_property
    def run(self) -> Run:
        """The objects that live for one run."""
        settings = Settings.from_config(self.config)
        if self.testing:
            settings = settings.for_test()
        return Run(settings, clock=self.clock, logger=self.logger)

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Take the bookmarks of an earlier run; what is none is ignored."""
        bookmarks = state.get("bookmarks")
        entries = bookmarks.items() if isinstance(bookmarks, dict) else ()
        # What the SDK would read from a bookmark comes from another tap: no stream of this one has
        # partitions of its own in the state.
        foreign = {"partitions", "progress_markers"}
        super().load_state(
            {
                "bookmarks": {
                    stream: {k: v for k, v in bookmark.items() if k not in foreign}
                    for stream, bookmark in entries
                    if isinstance(bookmark, dict)
                },
            },
        )

    @override
    def end_by_signal(self, number: int) -> None:
        """End the run with the exit code that a shell gives to a signal."""
        # Nothing here takes a lock: what the signal interrupted may hold it. `stop` follows.
        ending = SystemExit(128 + number)
        # The writer comes last when a tap is made; before that nothing was written.
        if (writer := vars(self).get("message_writer")) is None:
            raise ending
        writer.interrupt(ending)

    # The command line

    @classmethod
    @override
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
    ) -> None:
        """Print what the tap is, or read everything."""
        if about:
            with cls._printing():
                cls.print_about(about_format)
            return
        bookmarks = _json(state, or_empty=True)
        if state is not None and bookmarks is None:
            cls.logger.warning(
                "%s: the state file is empty, so everything is read from the start",
                state.name,
            )
        with cls._running(config, state=bookmarks, catalog=_json(catalog)) as tap:
            tap.sync_all()

    @classmethod
    @override
    def cb_config(
        cls,
        ctx: click.Context,
        param: click.Option,
        value: tuple[str, ...],
    ) -> Any:
        """Read the configuration files, with one line about one that cannot be read."""
        try:
            found = super().cb_config(ctx, param, value)
            # Half of a surrogate pair is JSON, but cannot be sent.
            json.dumps(found.config, default=str, ensure_ascii=False).encode()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            reason = "it holds no JSON object"
            if isinstance(error, OSError):
                # The SDK's own error has no number.
                reason = error.strerror or "there is no such file"
            message = f"{', '.join(value)}: {reason}"
            raise click.BadParameter(message, ctx, param) from None
        return found

    @classmethod
    @override
    def cb_discover(cls, ctx: click.Context, param: click.Option, value: bool) -> None:
        """Print the catalog."""
        if value:
            with cls._printing():
                super().cb_discover(ctx, param, value)

    @classmethod
    @contextmanager
    def _printing(cls) -> Iterator[None]:
        """Print something; who reads it no more is the command line's to say.

        Raises:
            SystemExit: If it cannot be written.
        """
        try:
            with printing():
                yield
        except OutputError as error:
            cls._fail(error)

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Try each stream, or print the schemas."""
        if value == "disabled":
            return
        config, catalog = ctx.params.get("config"), _json(ctx.params.get("catalog"))
        if value == "schema":
            with cls._running(config, catalog=catalog) as tap:
                tap.write_schemas()
        else:
            with cls._running(config, testing=True, catalog=catalog) as tap:
                try_streams(tap)
        ctx.exit()

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        for option in command.params:
            # `--test` looks at it, wherever it stands.
            option.is_eager = option.is_eager or option.name == "catalog"
        return command

    @classmethod
    @contextmanager
    def _running(
        cls,
        config: Any,  # noqa: ANN401 - a private class of the SDK
        *,
        testing: bool = False,
        **kwargs: Any,  # noqa: ANN401 - the SDK's
    ) -> Iterator[TapPartnerCenter]:
        """Make a tap, and end its run with a line and an exit code that tell the truth.

        Raises:
            SystemExit: If the run did not end well.
        """
        tap = cls._make(config, **kwargs)
        tap.testing = testing
        try:
            tap.announce()
            # Lines of the log go above the bar, where there is one.
            with tuned(), logging_redirect_tqdm() if sys.stderr.isatty() else nullcontext():
                yield tap
            tap.message_writer.flush()
        except SystemExit:
            tap.stop("interrupted")
            raise
        except Exception as error:  # noqa: BLE001 - every failure gets its line
            tap.stop("failed")
            cls._fail(error)
        finally:
            tap.run.close()
        tap.run.report.summary("complete")

    @classmethod
    def _make(
        cls,
        config: Any,  # noqa: ANN401 - a private class of the SDK
        **kwargs: Any,  # noqa: ANN401 - the SDK's
    ) -> TapPartnerCenter:
        """Make a tap.

        Raises:
            SystemExit: If the configuration does not allow it.
        """
        try:
            check_output()
            if config.parse_env:
                _check_environment(cls.config_jsonschema)
                for name in unknown_variables(cls.config_jsonschema["properties"]):
                    cls.logger.warning("There is no setting for %s: it has no effect.", name)
            return cls(config=config.config, parse_env_config=config.parse_env, **kwargs)
        except ConfigValidationError as error:
            for line in error.errors:
                cls.logger.error(" ".join(line.split()))  # noqa: TRY400
            raise SystemExit(1) from None
        except Exception as error:  # noqa: BLE001 - every failure gets its line
            cls._fail(error)

    @classmethod
    def _fail(cls, error: Exception) -> NoReturn:
        cls.logger.error(_one_line(error))
        cls.logger.debug("%s", _traceback(error))
        raise SystemExit(1) from None

    def announce(self) -> None:
        """Say what is about to be read, and with what."""
        for name in unknown_settings(self.config, self.config_jsonschema["properties"]):
            self.logger.warning("There is no setting %s: it has no effect.", name)
        run = self.run
        shard = run.settings.shard
        self.logger.info(
            "%s %s: cloud %s, %s credentials, %sstreams %s, MS-CorrelationId %s",
            self.name,
            TAP_VERSION,
            self.config["cloud"],
            "app-only" if run.settings.app_only else "App+User",
            f"shard_index {shard.index} of {shard.count}, " if shard.count > 1 else "",
            ", ".join(stream.name for stream in self.streams.values() if stream.selected),
            run.correlation_id,
        )
        streams = cast("Iterable[PartnerCenterStream]", self.streams.values())
        if refused := [s.name for s in streams if s.selected and s.lacks_user]:
            self.logger.warning(
                "Without refresh_token (App+User credentials) the service refuses %s. Set it, or "
                "deselect what it is missing for.",
                ", ".join(refused),
            )

    def stop(self, outcome: str) -> None:
        """End a run that is not complete: nothing waits any more, nothing collected is lost."""
        self.clock.cancel()
        with suppress(BrokenPipeError, OutputError):
            self.message_writer.flush()
        self.run.report.summary(outcome)


def _check_environment(schema: Mapping[str, Any]) -> None:
    """Tell all variables at once that the SDK would stumble over one by one.

    Raises:
        Unusable: With one line for each.
    """
    if wrong := environment_problems(schema):
        raise Unusable(wrong)


def _json(file: IO[str] | None, *, or_empty: bool = False) -> dict[str, Any] | None:
    """Read a state or catalog file.

    Args:
        file: To read, if any.
        or_empty: Whether an empty file counts as none: `… | tail -1 > state.json` leaves one when
            the target dies before its first STATE.

    Raises:
        click.UsageError: If it holds no JSON object.
    """
    if file is None:
        return None
    try:
        text = file.read()
        if or_empty and not text.strip():
            return None
        content = json.loads(text)
        # Half of a surrogate pair is JSON, but cannot be sent.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        message = f"{file.name}: it holds no JSON object"
        raise click.UsageError(message)
    return content


def _one_line(error: Exception) -> str:
    """Tell an error in one line, without what may stand in the message of an unforeseen one."""
    if isinstance(error, BrokenPipeError):
        return "The target stopped reading: look for the reason in its own log."
    if isinstance(error, (PartnerCenterError, ConfigurationError, MappingError)):
        return " ".join(str(error).split())
    return (
        f"Unforeseen {type(error).__name__}. Run again with TAP_PARTNERCENTER_LOGLEVEL=DEBUG for "
        "the traceback, and report it."
    )


def _traceback(error: BaseException) -> str:
    """Tell where an error came from, and from which others, without the messages of any.

    What a message quotes can be a record, an address or a header.
    """
    lines = ["Traceback (most recent call last), without messages:\n"]
    told: BaseException | None = error
    while told is not None:
        lines += [f"{type(told).__name__}\n", *traceback.format_tb(told.__traceback__)]
        told = told.__cause__ or told.__context__
    return "".join(lines)
