"""A login without a browser: its pages are read over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tap_partnercenter import login
from tests.browser import Browser
from tests.command_line import QuickClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from partnercenter_emulator import Emulator


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    found = Browser()
    monkeypatch.setattr("webbrowser.open", found.open)
    return found


@pytest.fixture
def sign_in(tmp_path: Path, browser: Browser) -> Callable[..., Result]:
    """Return a function that runs the command with an emulator's settings except the token."""

    def run(emulator: Emulator, *arguments: str, **settings: Any) -> Result:
        config = emulator.tap_config(app_only=True)
        config |= {"token_cache_path": str(tmp_path / "tokens"), **settings}
        path = tmp_path / "login.json"
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
        free = [] if "--port" in arguments else ["--port", "0"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(login.Login, "clock_class", QuickClock)
            command = ["--config", str(path), "--timeout", "10", *free, *arguments]
            result = CliRunner().invoke(login.main, command)
        browser.close()
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return result

    return run


def config_of(emulator: Emulator, tmp_path: Path, **settings: Any) -> dict[str, Any]:
    """The settings printed by the command."""
    config: dict[str, Any] = emulator.tap_config(app_only=True)
    return {**config, "token_cache_path": str(tmp_path / "tokens"), **settings}
