"""No secret of a setting, a file or the token cache in any output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command_line import FINAL, run_tap
from tests.failures import sampled
from tests.planted import (
    CLIENT_SECRET,
    PASSWORD,
    REFRESH_TOKEN,
    ROTATED,
    assert_no_secrets_in,
    planted,
    run,
)

if TYPE_CHECKING:
    from tests.conftest import Start, Sync

WRONG = [
    CLIENT_SECRET,
    5,
    1.5,
    True,
    [CLIENT_SECRET],
    {"a": CLIENT_SECRET},
    "",
    None,
    f"\n{PASSWORD}",
]


@pytest.mark.parametrize(
    "name",
    [
        "client_secret",
        "refresh_token",
        "client_id",
        "tenant_id",
        "user_agent",
        "cloud",
        "page_size",
        "request_timeout",
        "reseller_ids",
        "emit_activate_version_messages",
        "client_certificate_password",
        "token_cache_key",
    ],
)
def test_wrong_settings_are_named_and_not_repeated(name: str) -> None:
    """A secret given as a list, an object or a number, or for another setting."""
    with planted() as emulator:
        for value in [*WRONG, {"userCredentials": PASSWORD}, [REFRESH_TOKEN]]:
            result = run(emulator, "DEBUG", **{name: value})
            assert PASSWORD not in result.stderr
            assert REFRESH_TOKEN not in result.stderr
            assert CLIENT_SECRET not in result.stderr
            assert "Unexpected" not in result.stderr


@pytest.mark.parametrize("value", [["a", PASSWORD], {"a": PASSWORD}, 12345678901, True])
@pytest.mark.parametrize(
    "name",
    [
        "client_certificate_password",
        "client_secret",
        "refresh_token",
        "token_cache_key",
        "token_cache_path",
    ],
)
def test_a_secret_of_the_wrong_type_is_reported_by_name(name: str, value: object) -> None:
    """The line names the setting but does not quote its value."""
    with planted() as emulator:
        result = run(emulator, "DEBUG", **{name: value})
        assert result.exit_code == FINAL
        (line,) = result.levels("ERROR")
        assert line.startswith(f"{name} must be text")
        assert "12345678901" not in result.stderr
        assert PASSWORD not in result.stderr
        assert emulator.stats().requests == 0


BROKEN = [
    '{"client_secret": "%s", ',
    '["%s"]',
    '"%s"',
    "%s",
    '{"client_secret": "%s"}',
    '{"client_secret": ["%s"]}',
    '{"%s": 1}',
]


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize(("content", "level"), sampled(BROKEN, ["DEBUG", "INFO"]))
def test_a_broken_file_is_not_quoted(
    level: str, option: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configuration, state and catalog files that are truncated or hold something else."""
    monkeypatch.setenv("TAP_PARTNERCENTER_LOGLEVEL", level)
    path = tmp_path / "file.json"
    path.write_text(content % PASSWORD, encoding="utf-8")
    with planted() as emulator:
        config = None if option == "--config" else emulator.tap_config()
        result = run_tap(option, str(path), config=config)
    if content != '{"%s": 1}':
        assert PASSWORD not in result.stderr
    assert "Traceback" not in result.stderr or level == "DEBUG"


def test_about_shows_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tap's description of itself does not depend on its settings."""
    with planted() as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        for form in ("json", "markdown"):
            result = run_tap("--about", f"--format={form}", "--config=ENV")
            assert result.exit_code == 0
            assert "client_secret" in result.stdout
            assert_no_secrets_in(result.stdout + result.stderr)


def test_the_token_cache_is_not_logged(start: Start, sync: Sync, tmp_path: Path) -> None:
    """A file that is not a cache: the log has its path, not its content."""
    cache = tmp_path / "cache"
    cache.touch(mode=0o600)
    cache.write_text(f'{{"refresh_token": "{ROTATED}", "origin": ')
    result = sync(start(), token_cache_path=str(cache))
    assert result.exit_code == 1
    assert ROTATED not in result.stderr


def test_there_is_no_token_cache_in_the_checkout() -> None:
    """A manual run once left one there, and it was committed."""
    files = [path for path in Path(__file__).parent.parent.iterdir() if path.is_file()]
    assert len(files) > 5
    assert [path.name for path in files if b'{"origin": "' in path.read_bytes()] == []
