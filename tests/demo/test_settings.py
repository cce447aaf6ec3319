"""meltano.yml and .env.example agree with the tap about its settings."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / ".env.example"
PREFIX = "TAP_PARTNERCENTER_"
OF_THE_SDK = {
    "faker_config",
    "flattening_enabled",
    "flattening_max_depth",
    "flattening_max_key_length",
    "flattening_separator",
    "stream_map_config",
    "stream_maps",
}
KINDS = {
    "array": {"array"},
    "boolean": {"boolean"},
    "integer": {"integer"},
    "object": {"object"},
    "string": {"file", "options", "string"},
}


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    """The tap's description of itself."""
    command = [sys.executable, "-m", "tap_partnercenter", "--about", "--format=json"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.fixture(scope="module")
def tap_settings(about: dict[str, Any]) -> dict[str, Any]:
    """The tap's settings, by name."""
    found: dict[str, Any] = about["settings"]["properties"]
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The Meltano project."""
    found: dict[str, Any] = yaml.safe_load((PROJECT / "meltano.yml").read_text())
    return found


@pytest.fixture(scope="module")
def extractor(project: dict[str, Any]) -> dict[str, Any]:
    """The tap's entry in the Meltano project."""
    (found,) = project["plugins"]["extractors"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def meltano_settings(extractor: dict[str, Any]) -> dict[str, Any]:
    """The tap's settings in the Meltano project, by name."""
    return {setting["name"]: setting for setting in extractor["settings"]}


@pytest.fixture(scope="module")
def example() -> dict[str, tuple[bool, str, str]]:
    """The variables in .env.example: whether they are active, their value, their comment."""
    found = {}
    comment = ""
    for line in EXAMPLE.read_text().splitlines():
        name, equals, value = line.removeprefix("# ").partition("=")
        if equals and name.isupper():
            found[name] = (not line.startswith("#"), "".join(shlex.split(value)), comment)
        comment = line.removeprefix("# ") if line.startswith("# ") else ""
    return found


def test_meltano_knows_every_setting_in_the_taps_order(
    meltano_settings: dict[str, Any], tap_settings: dict[str, Any]
) -> None:
    own = [name for name in tap_settings if name not in OF_THE_SDK]
    assert list(meltano_settings)[: len(own)] == own
    assert set(meltano_settings) == set(tap_settings)


def test_labels_are_the_taps_titles(
    meltano_settings: dict[str, Any], tap_settings: dict[str, Any]
) -> None:
    labels = {name: setting["label"] for name, setting in meltano_settings.items()}
    assert labels == {name: setting["title"] for name, setting in tap_settings.items()}


def test_descriptions_are_the_taps_own(
    meltano_settings: dict[str, Any], tap_settings: dict[str, Any]
) -> None:
    described = {
        name: setting["description"]
        for name, setting in meltano_settings.items()
        if name not in OF_THE_SDK
    }
    assert described == {name: tap_settings[name]["description"] for name in described}


def test_every_setting_of_the_sdk_is_described(meltano_settings: dict[str, Any]) -> None:
    assert all(meltano_settings[name]["description"].strip() for name in OF_THE_SDK)


def test_kinds_fit_the_taps_types(
    meltano_settings: dict[str, Any], tap_settings: dict[str, Any]
) -> None:
    for name, setting in meltano_settings.items():
        (declared,) = {*_types(tap_settings[name])} - {"null"}
        assert setting["kind"] in KINDS[declared], name


def test_options_are_the_values_the_tap_allows(
    meltano_settings: dict[str, Any], tap_settings: dict[str, Any]
) -> None:
    allowed = {name: setting["enum"] for name, setting in tap_settings.items() if "enum" in setting}
    offered = {
        name: [option["value"] for option in setting["options"]]
        for name, setting in meltano_settings.items()
        if setting["kind"] == "options"
    }
    assert offered == allowed
    assert "cloud" in offered


def test_defaults_are_the_taps(
    meltano_settings: dict[str, Any], tap_settings: dict[str, Any]
) -> None:
    """The user agent's default contains the tap's version, so only the tap has it."""
    assert "value" not in meltano_settings["user_agent"]
    defaults = {
        name: setting["default"]
        for name, setting in tap_settings.items()
        if setting.get("default") is not None and name != "user_agent"
    }
    values = {
        name: setting["value"] for name, setting in meltano_settings.items() if "value" in setting
    }
    assert values == defaults


def test_secrets_are_sensitive_and_nothing_else(
    meltano_settings: dict[str, Any], tap_settings: dict[str, Any]
) -> None:
    secret = {name for name, setting in tap_settings.items() if setting.get("secret")}
    sensitive = {name for name, setting in meltano_settings.items() if setting.get("sensitive")}
    assert sensitive == secret
    assert secret == {
        "client_certificate_password",
        "client_secret",
        "refresh_token",
        "token_cache_key",
        # A database URL contains a password.
        "token_cache_path",
    }


def test_required_settings_are_in_each_validation_group(
    extractor: dict[str, Any], about: dict[str, Any]
) -> None:
    """Either with the app's secret or with its certificate."""
    required = {*about["settings"]["required"]}
    groups = [required | {name} for name in ("client_secret", "client_certificate_path")]
    assert [{*group} for group in extractor["settings_group_validation"]] == groups


def test_capabilities_are_the_taps(extractor: dict[str, Any], about: dict[str, Any]) -> None:
    assert sorted(extractor["capabilities"]) == sorted(about["capabilities"])


def test_every_plugin_is_written_out(project: dict[str, Any]) -> None:
    """Without `namespace`, or with `variant`, Meltano would query its Hub."""
    plugins = [plugin for kind in project["plugins"].values() for plugin in kind]
    for plugin in plugins:
        assert {"namespace", "pip_url", "executable", "settings"} <= set(plugin)
        assert "variant" not in plugin


def test_the_example_has_a_line_for_every_setting(
    example: dict[str, tuple[bool, str, str]], tap_settings: dict[str, Any]
) -> None:
    names = [name for name in example if name.startswith(PREFIX)]
    assert names == [PREFIX + name.upper() for name in tap_settings]


def test_the_example_explains_every_line(example: dict[str, tuple[bool, str, str]]) -> None:
    assert [name for name, (_, _, comment) in example.items() if len(comment) < 10] == []


def test_only_required_settings_are_uncommented_in_the_example(
    example: dict[str, tuple[bool, str, str]], about: dict[str, Any]
) -> None:
    in_force = {name: value for name, (active, value, _) in example.items() if active}
    names = [*about["settings"]["required"], "client_secret"]
    assert in_force == {PREFIX + name.upper(): "" for name in names}


def test_every_example_can_be_uncommented(
    example: dict[str, tuple[bool, str, str]],
    meltano_settings: dict[str, Any],
    tap_settings: dict[str, Any],
) -> None:
    """Meltano cannot read an empty number, list or object, and reads lists and objects as JSON."""
    for name, setting in meltano_settings.items():
        active, value, _ = example[PREFIX + name.upper()]
        if setting["kind"] in {"array", "boolean", "integer", "object"}:
            types = {"array": list, "boolean": bool, "integer": int, "object": dict}
            assert isinstance(json.loads(value), types[setting["kind"]]), name
        elif setting["kind"] == "options":
            assert value in tap_settings[name]["enum"]
        else:
            assert active or value


def _types(setting: dict[str, Any]) -> list[str]:
    declared = setting["type"]
    return [declared] if isinstance(declared, str) else declared
