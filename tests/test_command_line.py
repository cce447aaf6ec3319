"""Options and files of the command line, and settings from the environment."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import singer_sdk

from tap_partnercenter.streams import STREAMS
from tests.command_line import FINAL, GOOD, run_tap
from tests.truth import assert_complete

if TYPE_CHECKING:
    from tests.conftest import Start, Sync


@pytest.mark.parametrize(
    ("variable", "reported"),
    [
        ("PAGE_SISE", "TAP_PARTNERCENTER_PAGE_SISE (did you mean TAP_PARTNERCENTER_PAGE_SIZE?)"),
        ("REFRESHTOKEN", "TAP_PARTNERCENTER_REFRESHTOKEN (did you mean TAP_PARTNERCENTER_REFRESH"),
        ("LOG_LEVEL", "TAP_PARTNERCENTER_LOG_LEVEL (did you mean TAP_PARTNERCENTER_LOGLEVEL?)"),
        ("FOO", "TAP_PARTNERCENTER_FOO: it has no effect"),
        ("LOGLEVEL", None),
        ("_SELECT", None),
        ("STREAM_MAPS_CUSTOMERS", None),
        ("SERVICE_HOST", None),
        ("PORT_80_TCP", None),
    ],
)
def test_a_misspelt_variable_causes_a_warning(
    variable: str, reported: str | None, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sets nothing, and its value may be a secret. Other programs' variables are ignored."""
    for name, value in start(customers=1).environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(f"TAP_PARTNERCENTER_{variable}", "info")
    result = run_tap("--config", "ENV")
    assert result.exit_code == 0
    warnings = result.levels("WARNING")
    assert len(warnings) == bool(reported)
    assert all(line.startswith(f"There is no setting for {reported}") for line in warnings)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PAGE_SIZE", "many", "must be a whole number"),
        ("PAGE_SIZE", "", "must be a whole number"),
        ("FLATTENING_MAX_DEPTH", "x", "must be a whole number"),
        ("EMIT_ACTIVATE_VERSION_MESSAGES", "ture", "must be true or false"),
        ("STREAM_MAPS", "{", "must be JSON"),
        ("RESELLER_IDS", "", "must be JSON"),
    ],
)
def test_a_wrong_variable_is_reported_by_name(
    variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--config ENV` the line names the variable."""
    monkeypatch.setenv(f"TAP_PARTNERCENTER_{variable}", value)
    result = run_tap("--config", "ENV")
    assert result.exit_code == FINAL
    assert result.error.startswith(f"TAP_PARTNERCENTER_{variable} {reason}")


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PAGE_SIZE", "many", "must be a whole number"),
        ("EMIT_ACTIVATE_VERSION_MESSAGES", "ture", "must be true or false"),
        ("PAGESIZE", "3", "There is no setting for TAP_PARTNERCENTER_PAGESIZE (did you mean"),
    ],
)
def test_a_wrong_variable_in_a_file_is_reported_by_name(
    variable: str, value: str, reason: str, tmp_path: Path
) -> None:
    """The SDK loads the `.env` above its own folder; the next version, that of the current one."""
    (tmp_path / "singer_sdk").symlink_to(Path(singer_sdk.__file__).parent)
    (tmp_path / ".env").write_text(f"TAP_PARTNERCENTER_{variable}={value}\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "tap_partnercenter", "--config", "ENV"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == FINAL
    assert ended.stdout == ""
    assert variable in ended.stderr
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_settings_come_from_the_environment(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of setting can be given as a variable."""
    emulator = start(customers=4)
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TAP_PARTNERCENTER_PAGE_SIZE", "2")
    monkeypatch.setenv("TAP_PARTNERCENTER_EMIT_ACTIVATE_VERSION_MESSAGES", "true")
    monkeypatch.setenv("TAP_PARTNERCENTER_RESELLER_IDS", "[]")
    result = run_tap("--config", "ENV")
    assert result.exit_code == 0
    assert result.counts["ACTIVATE_VERSION"] == 4
    assert emulator.stats().by_place["continuation"] == {"200": 1}


@pytest.mark.parametrize("content", [None, "no json", "[1]"])
def test_a_configuration_file_that_cannot_be_read(content: str | None, tmp_path: Path) -> None:
    """One line says which file and why."""
    path = tmp_path / "settings.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    result = run_tap("--config", str(path))
    assert result.exit_code == 2
    assert str(path) in result.stderr.splitlines()[-1]
    assert "None" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("content", ["", "\n", " \n\n"])
def test_an_empty_state_file_is_no_state(
    content: str, start: Start, sync: Sync, tmp_path: Path
) -> None:
    """`… | tail -1 > state.json` leaves one when the target dies: the next run must still work."""
    path = tmp_path / "state.json"
    path.write_text(content, encoding="utf-8")
    emulator = start()
    result = sync(emulator, "--state", str(path))
    assert_complete(result, emulator)
    assert result.levels("WARNING") == [
        f"{path}: the state file is empty, so everything is read from the start",
    ]


@pytest.mark.parametrize(
    ("option", "content"),
    [
        *itertools.product(["--state", "--catalog"], ["{", "[1]"]),
        ("--catalog", ""),
        ("--state", '{"bookmarks": {}}\n{"bookmarks": {}}\n'),
    ],
)
def test_a_file_that_is_not_json(option: str, content: str, tmp_path: Path) -> None:
    """State and catalog are read before any request."""
    path = tmp_path / "broken.json"
    path.write_text(content, encoding="utf-8")
    result = run_tap(option, str(path), config=GOOD)
    assert result.exit_code == 2
    advice = ". If it has several lines, keep only the last" if option == "--state" else ""
    assert result.stderr.endswith(f"{path}: it does not contain a JSON object{advice}\n")


def test_about_and_discover_need_no_configuration() -> None:
    """Meltano runs both before any setting exists."""
    about = run_tap("--about", "--format=json")
    assert about.exit_code == 0
    assert '"max_concurrent_requests"' in about.stdout
    discover = run_tap("--discover")
    assert discover.exit_code == 0
    assert discover.stdout.count('"tap_stream_id"') == len(STREAMS)


def test_schemas_can_be_printed(start: Start, sync: Sync) -> None:
    """`--test=schema` prints the schemas and sends no request."""
    emulator = start()
    result = sync(emulator, "--test=schema")
    assert result.exit_code == 0
    assert result.counts == {"SCHEMA": len(STREAMS)}
    assert emulator.requests == []
