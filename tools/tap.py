"""Parts that are derived from the tap's own output and tables."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tap_partnercenter.entra_errors import REMEDIES
from tap_partnercenter.settings import CONFIG_JSONSCHEMA

CONNECTION = Path(__file__).resolve().parents[1] / "tests/golden/connection/with_a_store.txt"


def parts() -> dict[str, str]:
    """Return the table of settings, the table of `--test`, and the remedies by their numbers."""
    return {"settings": _settings(), "test": _test(), "numbers": _numbers()}


def _settings() -> str:
    command = [sys.executable, "-m", "tap_partnercenter", "--about", "--format=json"]
    said = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603
    about = json.loads(said)["settings"]
    own = CONFIG_JSONSCHEMA["properties"]
    rows = [_setting(name, about["properties"][name], about["required"]) for name in own]
    others = ", ".join(f"`{name}`" for name in about["properties"] if name not in own)
    head = ["| setting | kind | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, "", f"The SDK adds {others} (see its documentation)."])


def _setting(name: str, setting: dict[str, Any], required: list[str]) -> str:
    (kind,) = (kind for kind in setting["type"] if kind != "null")
    if "enum" in setting:
        kind = " or ".join(f"`{value}`" for value in setting["enum"])
    if setting.get("secret"):
        kind += ", secret"
    if "minimum" in setting:
        least, most = setting["minimum"], setting.get("maximum")
        kind += f", {least} to {most}" if most else f", at least {least}"
    default = "**required**" if name in required else ""
    if "default" in setting:
        value = json.dumps(setting["default"]).replace(version("tap-partnercenter"), "VERSION")
        default = f"`{value}`".replace('"', "")
    meaning = setting["description"].replace("|", "\\|")
    return f"| `{name}` | {kind} | {default} | {meaning} |"


def _test() -> str:
    """Show the output of a successful connection test."""
    lines = CONNECTION.read_text("utf-8").splitlines()
    text = "\n".join(["```text", *lines[1:-1], "```"])
    return text.replace("DATE UTC", "2026-11-21 19:30 UTC").replace("DATE", "2027-02-19")


def _numbers() -> str:
    """Show the tap's advice for each number."""
    rows = [f"| {n} | {text} |" for n, text in REMEDIES.items() if n.isdigit()]
    return "\n".join(["| AADSTS | what to do |", "|---|---|", *sorted(rows)])
