"""The command line: what each option does, and how a run ends with a line and an exit code."""

from __future__ import annotations

import json
import sys
import traceback
from abc import abstractmethod
from contextlib import contextmanager, nullcontext, suppress
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self, cast

import click
from singer_sdk.exceptions import ConfigurationError, ConfigValidationError, MappingError
from tqdm.contrib.logging import logging_redirect_tqdm
from typing_extensions import override

from tap_partnercenter.connection_check import try_streams
from tap_partnercenter.environment import check_environment, unknown_variables
from tap_partnercenter.errors import PartnerCenterError
from tap_partnercenter.output import OutputError, check_output, printing
from tap_partnercenter.run import tuned
from tap_partnercenter.sdk import PlainTap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_partnercenter.sdk import PlainStream


#: The exit code of a failure that no retry can help: EX_CONFIG of sysexits.h, on every system.
FINAL = 78


class CommandLine(PlainTap):
    """A tap that reports every failure in one line, before or during a run."""

    #: Whether this is a connection test.
    testing = False

    @abstractmethod
    def announce(self) -> None:
        """Log what is about to be read, and with which credentials."""

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
        if about:
            with cls._printing():
                cls.print_about(about_format)
            return
        bookmarks = json_object(state, is_state=True)
        if state is not None and bookmarks is None:
            cls.logger.warning(
                "%s: the state file is empty, so everything is read from the start", state.name
            )
        with cls._running(config, state=bookmarks, catalog=json_object(catalog)) as tap:
            tap.sync_all()

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        """Read the configuration files, with one line about one that cannot be read."""
        try:
            found = super().cb_config(ctx, param, value)
            # Half of a surrogate pair is valid JSON, but cannot be encoded.
            json.dumps(found.config, default=str, ensure_ascii=False).encode()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            reason = "it does not contain a JSON object"
            if isinstance(error, OSError):
                # The SDK's own error has no number.
                reason = error.strerror or "there is no such file"
            message = f"{', '.join(value)}: {reason}"
            raise click.BadParameter(message, ctx, param) from None
        return found

    @classmethod
    @override
    def cb_discover(cls, ctx: click.Context, param: click.Option, value: bool) -> None:
        if value:
            with cls._printing():
                super().cb_discover(ctx, param, value)

    @classmethod
    @contextmanager
    def _printing(cls) -> Iterator[None]:
        """Report errors while printing in one line."""
        try:
            with printing():
                yield
        except OutputError as error:
            cls._fail(error)

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        if value == "disabled":
            return
        config, catalog = ctx.params.get("config"), json_object(ctx.params.get("catalog"))
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
            # `--test` uses it, wherever it appears.
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
    ) -> Iterator[Self]:
        """Create a tap, and end its run with a summary and an exit code."""
        tap = cls._make(config, **kwargs)
        tap.testing = testing
        try:
            tap.announce()
            # Log lines go above the progress bar, if there is one.
            with tuned(), logging_redirect_tqdm() if sys.stderr.isatty() else nullcontext():
                yield tap
            tap.message_writer.flush()
            tap.run.authenticator.close()
        except SystemExit:
            tap.stop("interrupted")
            raise
        except Exception as error:  # noqa: BLE001 - every failure gets its line
            tap.run.authenticator.close()
            tap.stop("failed")
            cls._fail(error)
        finally:
            tap.run.close()
        tap.run.report.summary("complete")

    def stop(self, outcome: str) -> None:
        """End an incomplete run: stop all waits, and lose nothing that was collected."""
        self.run.clock.cancel()
        with suppress(BrokenPipeError, OutputError):
            self.message_writer.flush()
        for stream in cast("Iterable[PlainStream]", self.streams.values()):
            # The last page may be unfinished.
            self.run.report.written(stream.name, stream.records_written)
        self.run.report.summary(outcome)

    @classmethod
    def _make(
        cls,
        config: Any,  # noqa: ANN401 - a private class of the SDK
        **kwargs: Any,  # noqa: ANN401 - the SDK's
    ) -> Self:
        """Create a tap, or exit if the configuration is not valid."""
        try:
            check_output()
            try:
                return cls(config=config.config, parse_env_config=config.parse_env, **kwargs)
            finally:
                # By now, the SDK has loaded a file `.env`, if there is one.
                if config.parse_env:
                    check_environment(cls.config_jsonschema)
                    for name in unknown_variables(cls.config_jsonschema["properties"]):
                        cls.logger.warning("There is no setting for %s: it has no effect.", name)
        except ConfigValidationError as error:
            for line in error.errors:
                cls.logger.error(" ".join(line.split()))  # noqa: TRY400
            raise SystemExit(FINAL) from None
        except (ConfigurationError, MappingError) as error:
            cls._fail(error, final=True)
        except Exception as error:  # noqa: BLE001 - every failure gets its line
            cls._fail(error)

    @classmethod
    def _fail(cls, error: Exception, *, final: bool = False) -> NoReturn:
        cls.logger.error(_one_line(error))
        cls.logger.debug("%s", _traceback(error))
        final = final or (isinstance(error, PartnerCenterError) and error.final)
        raise SystemExit(FINAL if final else 1) from None


def json_object(file: IO[str] | None, *, is_state: bool = False) -> dict[str, Any] | None:
    """Read a configuration, state or catalog file.

    Args:
        file: To read, if any.
        is_state: Whether an empty file counts as none: `… | tail -1 > state.json` leaves one when
            the target dies before its first STATE.

    Raises:
        click.UsageError: If it does not contain a JSON object.
    """
    if file is None:
        return None
    try:
        # `--test` ends the program before click would close it.
        with file:
            text = file.read()
        if is_state and not text.strip():
            return None
        content = json.loads(text)
        # Half of a surrogate pair is valid JSON, but cannot be encoded.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        advice = ". If it has several lines, keep only the last" if is_state else ""
        message = f"{file.name}: it does not contain a JSON object{advice}"
        raise click.UsageError(message)
    return content


def _one_line(error: Exception) -> str:
    """Format an error as one line, without the message of an unexpected one."""
    if isinstance(error, BrokenPipeError):
        return "The target stopped reading: see its own log for the reason."
    if isinstance(error, (PartnerCenterError, ConfigurationError, MappingError)):
        return " ".join(str(error).split())
    return (
        f"Unexpected {type(error).__name__}. Run again with TAP_PARTNERCENTER_LOGLEVEL=DEBUG to "
        "get a traceback, and report it."
    )


def _traceback(error: BaseException) -> str:
    """Format the traceback of an error and its causes, without any messages.

    A message may quote a record, a URL or a header.
    """
    lines = ["Traceback (most recent call last), without messages:\n"]
    current: BaseException | None = error
    while current is not None:
        lines += [f"{type(current).__name__}\n", *traceback.format_tb(current.__traceback__)]
        current = current.__cause__ or current.__context__
    return "".join(lines)
