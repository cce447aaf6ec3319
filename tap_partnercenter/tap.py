"""The tap: its settings, its streams, and how a run begins and ends."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import Tap
from typing_extensions import override

from tap_partnercenter.catalog import check_shape, completed
from tap_partnercenter.clock import Clock
from tap_partnercenter.command_line import CommandLine
from tap_partnercenter.output import BlockWriter
from tap_partnercenter.run import Run
from tap_partnercenter.settings import (
    CONFIG_JSONSCHEMA,
    TAP_VERSION,
    Settings,
    problems,
    unknown_settings,
)
from tap_partnercenter.stream_maps import checked_mapper, shape_problems
from tap_partnercenter.streams import STREAMS, costs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.singerlib import Catalog

    from tap_partnercenter.stream import PartnerCenterStream


class TapPartnerCenter(CommandLine):
    """Singer tap for the Microsoft Partner Center REST API."""

    # `--about` prints it.
    __doc__ = f"{__doc__} {costs()}"
    name = "tap-partnercenter"
    # A copy: `PlainTap` adds the SDK's own settings to it.
    config_jsonschema: ClassVar[dict[str, Any]] = copy.deepcopy(CONFIG_JSONSCHEMA)
    # BATCH would write one file for each page of a child stream. START_DATE, which the SDK has
    # since 0.55, is for incremental streams.
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        capability
        for capability in Tap.capabilities
        if capability.value not in {"batch", "start-date"}
    ]
    message_writer_class = BlockWriter
    message_writer: BlockWriter
    #: Reads the time and waits; tests replace it.
    clock_class: type[Clock] = Clock

    def __init__(
        self,
        *,
        catalog: dict[str, Any] | None = None,
        validate_config: bool = True,
        **kwargs: Any,  # noqa: ANN401 - the SDK's
    ) -> None:
        """Create a tap.

        Raises:
            InvalidInput: With one line for each invalid setting or catalog entry.
        """
        self.clock = self.clock_class()
        if catalog is not None:
            check_shape(catalog)
        super().__init__(catalog=catalog, validate_config=validate_config, **kwargs)

    @override
    def config_problems(self) -> list[str]:
        maps = shape_problems(self.config.get("stream_maps"))
        return [*problems(self.config, self.config_jsonschema), *maps]

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

    @cached_property
    def run(self) -> Run:
        """The objects that live for one run."""
        settings = Settings.from_config(self.config)
        if self.testing:
            settings = settings.for_test()
        return Run(settings, clock=self.clock, logger=self.logger)

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Load the bookmarks of an earlier run; ignore anything else.

        The SDK expects the value of a STATE message, without a word about anything else.
        """
        value = state.get("value")
        if state.get("type") == "STATE" and isinstance(value, dict):
            # A whole message, as the tap writes it.
            state = value
        bookmarks = state.get("bookmarks")
        if state and not isinstance(bookmarks, dict):
            self.logger.warning(
                "The state has no bookmarks, so everything is read from the start. Pass the value "
                "of a STATE message."
            )
        entries = bookmarks.items() if isinstance(bookmarks, dict) else ()
        # Bookmark members that the SDK would use come from another tap: no stream of this one has
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
    def announce(self) -> None:
        for name in unknown_settings(self.config, self.config_jsonschema["properties"]):
            self.logger.warning("There is no setting %s: it has no effect.", name)
        if not any(stream.selected for stream in self.streams.values()):
            self.logger.warning(
                "No stream is selected, so nothing is read. Select streams in the catalog or, with "
                "Meltano, under `select`.",
            )
        run = self.run
        shard = run.settings.shard
        self.logger.info(
            "%s %s: cloud %s, %s credentials, %sstreams %s, MS-CorrelationId %s",
            self.name,
            TAP_VERSION,
            self.config["cloud"],
            "app-only" if run.app_only else "App+User",
            f"shard_index {shard.index} of {shard.count}, " if shard.count > 1 else "",
            ", ".join(stream.name for stream in self.streams.values() if stream.selected),
            run.correlation_id,
        )
        streams = cast("Iterable[PartnerCenterStream]", self.streams.values())
        if refused := [s.name for s in streams if s.selected and s.lacks_user]:
            self.logger.warning(
                "Without refresh_token (App+User credentials) the service refuses %s. Set it, or "
                "deselect these streams.",
                ", ".join(refused),
            )
