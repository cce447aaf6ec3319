"""How each contestant is started, and how its records are counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .counting import Counted, count_extracted, count_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .cases import Name

DLT_VERSION = "1.31.0"
_HERE = Path(__file__).parent


class Contestant(Protocol):
    """A program that reads what the emulator holds."""

    def command(
        self, folder: Path, settings: Mapping[str, Any], streams: Iterable[str]
    ) -> list[str]:
        """Return the command of one run; files that it needs may be put into the folder."""

    def count(self, folder: Path) -> Counted:
        """Count what the run has left in the folder; its standard output is the file `stdout`."""


class SingerTap:
    """A tap: a configuration, a catalog, messages."""

    def __init__(self, module: str) -> None:
        """Take the module that starts the tap."""
        self._command = [sys.executable, "-m", module]

    def command(
        self, folder: Path, settings: Mapping[str, Any], streams: Iterable[str]
    ) -> list[str]:
        """Select the streams in the tap's own catalog."""
        command = [*self._command, "--config", _configured(folder, settings)]
        found = subprocess.run([*command, "--discover"], check=True, capture_output=True)  # noqa: S603
        selected = json.loads(found.stdout)
        for stream in selected["streams"]:
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = stream["tap_stream_id"] in streams
        catalog = folder / "catalog.json"
        catalog.write_text(json.dumps(selected), encoding="utf-8")
        return [*command, "--catalog", str(catalog)]

    def count(self, folder: Path) -> Counted:
        """Count messages."""
        return count_messages(folder)


class Floor:
    """Bare threads."""

    def command(
        self, folder: Path, settings: Mapping[str, Any], streams: Iterable[str]
    ) -> list[str]:
        """Give settings and streams."""
        config = _configured(folder, settings)
        return [sys.executable, "-m", f"{__package__}.floor", config, ",".join(streams)]

    def count(self, folder: Path) -> Counted:
        """Count lines in the shape of messages."""
        return count_messages(folder)


class Dlt:
    """dlt, in an environment of its own."""

    def __init__(self, environments: Path) -> None:
        """Make the environment below a folder, unless it is there."""
        major, minor = sys.version_info[:2]
        environment = environments / f"dlt-{DLT_VERSION}-python{major}.{minor}"
        self._python = str(environment / "bin" / "python")
        if not (environment / "ready").exists():
            uv = os.environ.get("UV", "uv")  # what `uv run` says of itself
            # requests in the same version as everywhere else; dlt brings the rest.
            wanted = [f"dlt=={DLT_VERSION}", f"requests=={version('requests')}"]
            for command in (
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
                [uv, "pip", "install", "--quiet", "--python", self._python, *wanted],
            ):
                subprocess.run(command, check=True)  # noqa: S603 - fixed
            (environment / "ready").touch()

    def command(
        self, folder: Path, settings: Mapping[str, Any], streams: Iterable[str]
    ) -> list[str]:
        """Give settings, streams and a folder for what is extracted."""
        script, extracted = str(_HERE / "dlt_source.py"), str(folder / "extracted")
        config = _configured(folder, settings)
        return [self._python, "-I", script, config, ",".join(streams), extracted]

    def count(self, folder: Path) -> Counted:
        """Count what lies in the folder."""
        return count_extracted(folder / "extracted")


def contestants(names: Iterable[Name], environments: Path) -> dict[Name, Contestant]:
    """Make those that are needed ready to start."""
    makers: dict[Name, Callable[[], Contestant]] = {
        "tap": lambda: SingerTap("tap_partnercenter"),
        "stock": lambda: SingerTap(f"{__package__}.stock"),
        "naive": lambda: SingerTap(f"{__package__}.naive"),
        "dlt": lambda: Dlt(environments),
        "floor": Floor,
    }
    return {name: makers[name]() for name in set(names)}


def _configured(folder: Path, settings: Mapping[str, Any]) -> str:
    config = folder / "config.json"
    config.write_text(json.dumps(dict(settings)), encoding="utf-8")
    return str(config)
