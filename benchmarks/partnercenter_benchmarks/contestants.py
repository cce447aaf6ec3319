"""How each contestant is started, and how its records are counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .counting import Counted, count_extracted, count_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .cases import Name

DLT_VERSION = "1.31.0"


@dataclass(frozen=True)
class Contestant:
    """A program that reads the emulator's data.

    `command` returns the command of one run, from a folder for its files, the settings of a tap,
    and the streams. `count` counts the output in that folder; standard output is the file `stdout`.
    """

    command: Callable[[Path, Mapping[str, Any], Sequence[str]], list[str]]
    count: Callable[[Path], Counted] = count_messages


def contestants(names: Iterable[Name], environments: Path) -> dict[Name, Contestant]:
    """Prepare the contestants; dlt's environment is created in a folder."""
    makers: dict[Name, Callable[[], Contestant]] = {
        "tap": lambda: Contestant(partial(_tap, "tap_partnercenter")),
        "stock": lambda: Contestant(partial(_tap, f"{__package__}.stock")),
        "naive": lambda: Contestant(partial(_tap, f"{__package__}.naive")),
        "dlt": lambda: Contestant(partial(_dlt, _dlt_python(environments)), count_extracted),
        "floor": lambda: Contestant(_floor),
    }
    return {name: makers[name]() for name in set(names)}


def _tap(
    module: str, folder: Path, settings: Mapping[str, Any], streams: Sequence[str]
) -> list[str]:
    """Select the streams in the tap's own catalog."""
    command = [sys.executable, "-m", module, "--config", _configured(folder, settings)]
    found = subprocess.run([*command, "--discover"], check=True, capture_output=True)  # noqa: S603
    selected = json.loads(found.stdout)
    for stream in selected["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["tap_stream_id"] in streams
    catalog = folder / "catalog.json"
    catalog.write_text(json.dumps(selected), encoding="utf-8")
    return [*command, "--catalog", str(catalog)]


def _floor(folder: Path, settings: Mapping[str, Any], streams: Sequence[str]) -> list[str]:
    module = f"{__package__}.floor"
    return [sys.executable, "-m", module, _configured(folder, settings), ",".join(streams)]


def _dlt(
    python: str, folder: Path, settings: Mapping[str, Any], streams: Sequence[str]
) -> list[str]:
    script = str(Path(__file__).with_name("dlt_source.py"))
    return [python, "-I", script, _configured(folder, settings), ",".join(streams), str(folder)]


def _dlt_python(environments: Path) -> str:
    """Create an environment for dlt, unless it exists, and return its Python."""
    major, minor = sys.version_info[:2]
    environment = environments / f"dlt-{DLT_VERSION}-python{major}.{minor}"
    python = str(environment / "bin" / "python")
    if not (environment / "ready").exists():
        uv = os.environ.get("UV", "uv")  # set by `uv run`
        # requests in the same version as everywhere else; dlt installs the rest.
        wanted = [f"dlt=={DLT_VERSION}", f"requests=={version('requests')}"]
        for command in (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
            [uv, "pip", "install", "--quiet", "--python", python, *wanted],
        ):
            subprocess.run(command, check=True)  # noqa: S603 - fixed
        (environment / "ready").touch()
    return python


def _configured(folder: Path, settings: Mapping[str, Any]) -> str:
    config = folder / "config.json"
    config.write_text(json.dumps(dict(settings)), encoding="utf-8")
    return str(config)
