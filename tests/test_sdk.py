"""Fail if the SDK moves a private member that `tap_partnercenter.sdk` relies on."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import signal
from pathlib import Path

import pytest
from singer_sdk import RESTStream, Tap, metrics
from singer_sdk.plugin_base import PluginBase
from singer_sdk.streams.core import Stream

import tap_partnercenter
from tap_partnercenter.tap import TapPartnerCenter

PACKAGE = Path(tap_partnercenter.__file__).parent


@pytest.mark.parametrize(
    "name",
    ["_write_schema_message", "_write_activate_version_message", "_generate_record_messages"],
)
def test_private_methods_are_where_the_tap_expects_them(name: str) -> None:
    """They are methods of every stream."""
    assert callable(getattr(Stream, name))


def test_signals_reach_the_overridden_handler() -> None:
    """Otherwise a stopped run would exit with 0."""
    assert "self._handle_termination" in inspect.getsource(Tap._setup_signal_handlers)  # noqa: SLF001


def test_settings_are_checked_by_the_overridden_method() -> None:
    """Otherwise lines about wrong settings would quote secrets."""
    assert "self._validate_config(raise_errors=" in inspect.getsource(PluginBase.__init__)


def test_a_signal_while_the_tap_is_created_ends_it_too() -> None:
    """The SDK installs its handlers before there is a writer to finish."""
    unfinished = TapPartnerCenter.__new__(TapPartnerCenter)
    with pytest.raises(SystemExit) as ending:
        unfinished._handle_termination(signal.SIGTERM, None)  # noqa: SLF001
    assert ending.value.code == 143


def test_sync_sends_schema_through_the_overridden_method() -> None:
    """Otherwise SCHEMA would be sent for each page."""
    assert "self._write_schema_message()" in inspect.getsource(Stream.sync)


def test_records_are_written_through_the_overridden_method() -> None:
    """Otherwise flattened null objects would have columns that the SCHEMA lacks."""
    written = inspect.getsource(Stream._write_record_message)  # noqa: SLF001
    assert "self._generate_record_messages(record)" in written


def test_records_take_their_version_from_the_attribute_that_the_tap_sets() -> None:
    """Otherwise records would have no version, and activation would delete them."""
    assert "version=self._stream_version" in inspect.getsource(Stream)


def test_counters_hold_their_value() -> None:
    """The tap reads the number of records from the SDK's counter."""
    counter = metrics.Counter(metrics.Metric.RECORD_COUNT)
    counter.increment(3)
    assert counter.value == 3


def test_private_members_are_used_in_one_module() -> None:
    """No other module accesses private members of the SDK's classes."""
    private = {
        name
        for owner in {*RESTStream.__mro__, *Tap.__mro__}
        if owner.__module__.startswith("singer_sdk")
        for name in [*vars(owner), *re.findall(r"self\.(\w+)", inspect.getsource(owner))]
        if name.startswith("_") and not name.endswith("__")
    }
    assert {"_logger", "_tap_state", "_config", "_write_record_message"} <= private
    for path in PACKAGE.glob("*.py"):
        if path.name in {"sdk.py", "__main__.py"}:
            continue
        module = importlib.import_module(f"tap_partnercenter.{path.stem}")
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            name = getattr(statement, "name", "")
            assert not touched(statement, vars(module).get(name)) & private, (path.name, name)


def touched(statement: ast.stmt, owner: object) -> set[str]:
    """The members that a statement reads, sets or overrides, except a class's own."""
    nodes = list(ast.walk(statement))
    inherits = not isinstance(owner, type) or issubclass(owner, (Stream, Tap))
    used = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and (inherits or ast.unparse(node.value) != "self")
    }
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    return used | defined if inherits else used
