"""Fails when the SDK moves a private member that `tap_partnercenter.sdk` leans on."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from singer_sdk import RESTStream, Tap, metrics
from singer_sdk.streams.core import Stream

import tap_partnercenter
from tap_partnercenter.clock import Clock
from tap_partnercenter.tap import TapPartnerCenter

PACKAGE = Path(tap_partnercenter.__file__).parent


@pytest.mark.parametrize("name", ["_write_schema_message", "_write_activate_version_message"])
def test_private_methods_are_where_the_tap_expects_them(name: str) -> None:
    """They are methods of every stream."""
    assert callable(getattr(Stream, name))


def test_signals_reach_the_overridden_handler() -> None:
    """Otherwise a stopped run would exit with 0."""
    assert "self._handle_termination" in inspect.getsource(Tap._setup_signal_handlers)  # noqa: SLF001


def test_a_signal_while_the_tap_is_made_ends_it_too() -> None:
    """The SDK sets its handlers before there is a writer to bring to its end."""
    unfinished = TapPartnerCenter.__new__(TapPartnerCenter)
    unfinished.clock = Clock()
    with pytest.raises(SystemExit) as ending:
        unfinished.end_by_signal(15)
    assert ending.value.code == 143


def test_sync_sends_schema_through_the_overridden_method() -> None:
    """Otherwise SCHEMA would come once for each page again."""
    assert "self._write_schema_message()" in inspect.getsource(Stream.sync)


def test_records_take_their_version_from_the_attribute_that_the_tap_sets() -> None:
    """Otherwise records would carry no version, and activation would delete them."""
    assert "version=self._stream_version" in inspect.getsource(Stream)


def test_counters_hold_their_value() -> None:
    """The tap reads the number of records from the SDK's counter."""
    counter = metrics.Counter(metrics.Metric.RECORD_COUNT)
    counter.increment(3)
    assert counter.value == 3


def test_private_members_are_touched_in_one_module() -> None:
    """No other module reaches into the SDK's classes."""
    private = {
        name
        for name in vars(Stream) | vars(RESTStream)
        if name.startswith("_") and not name.startswith("__")
    } | set(inspect.getsource(Stream.__init__).replace("self.", " ").split())
    private = {name for name in private if name.startswith("_") and name.isidentifier()}
    for module in PACKAGE.glob("*.py"):
        if module.name == "sdk.py":
            continue
        tree = ast.parse(module.read_text(encoding="utf-8"))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not (used | defined) & private, module.name
