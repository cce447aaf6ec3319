"""How each contestant is started."""

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
    from collections.abc import Iterable, Mapping

    from .scenarios import Name

DLT_VERSION = "1.31.0"
_HERE = Path(__file__).parent


class Contestant(Protocol):
    """A program that reads what the emulator holds."""

    def command(
        self, folder: Path, settings: Mapping[str, Any], streams: Iterable[str]
    ) -> list[str]:
        """Return the command of one run; files that it needs may be put into the folder."""

    def count(self, stdout: Path, folder: Path) -> Counted:
        """Count what the run has left in its standard output or in the folder."""


class SingerTap:
    """A tap: a configuration, a catalog, messages."""

    def __init__(self, module: str) -> None:
        """Take the module that starts the tap."""
        self._command = [sys.executable, "-m", module]
        self._catalog: dict[str, Any] | None = None

    def command(
        self, folder: Path, settings: Mapping[str, Any], streams: Iterable[str]
    ) -> list[str]:
        """Select the streams in the tap's own catalog."""
        config, catalog = folder / "config.json", folder / "catalog.json"
        config.write_text(json.dumps(dict(settings)), encoding="utf-8")
        selected = self._discovered(config)
        for stream in selected["streams"]:
            for entry in stream["metadata"]:
                if not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = stream["tap_stream_id"] in streams
        catalog.write_text(json.dumps(selected), encoding="utf-8")
        return [*self._command, "--config", str(config), "--catalog", str(catalog)]

    def count(self, stdout: Path, folder: Path) -> Counted:  # noqa: ARG002
        """Count messages."""
        return _count_file(stdout)

    def _discovered(self, config: Path) -> dict[str, Any]:
        if self._catalog is None:
            found = subprocess.run(  # noqa: S603 - our own command
                [*self._command, "--config", str(config), "--discover"],
                check=True,
                capture_output=True,
            )
            self._catalog = json.loads(found.stdout)
        return self._catalog


class Floor:
    """Bare threads."""

    def command(
        self, folder: Path, settings: Mapping[str, Any], streams: Iterable[str]
    ) -> list[str]:
        """Give settings and streams."""
        config = folder / "config.json"
        config.write_text(json.dumps(dict(settings)), encoding="utf-8")
        module = f"{__package__}.floor"
        return [sys.executable, "-m", module, str(config), ",".join(streams)]

    def count(self, stdout: Path, folder: Path) -> Counted:  # noqa: ARG002
        """Count lines in the shape of messages."""
        return _count_file(stdout)


class Dlt:
    """dlt, in an environment of its own."""

    def __init__(self, environments: Path) -> None:
        """Make the environment below a folder, unless it is there."""
        major, minor = sys.version_info[:2]
        environment = environments / f"dlt-{DLT_VERSION}-python{major}.{minor}"
        self._python = environment / "bin" / "python"
        if not (environment / "ready").exists():
            uv = os.environ.get("UV", "uv")  # what `uv run` says of itself
            for command in (
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
                # msgspec and requests in the same versions as everywhere else; dlt brings the rest.
                [
                    *(uv, "pip", "install", "--quiet", "--python", str(self._python)),
                    *(f"dlt=={DLT_VERSION}", f"requests=={version('requests')}"),
                ],
            ):
                subprocess.run(command, check=True)  # noqa: S603 - fixed
            (environment / "ready").touch()

    def command(
        self, folder: Path, settings: Mapping[str, Any], streams: Iterable[str]
    ) -> list[str]:
        """Give settings, streams and a folder for what is extracted."""
        config = folder / "config.json"
        config.write_text(json.dumps(dict(settings)), encoding="utf-8")
        script = str(_HERE / "dlt_source.py")
        extracted = str(folder / "extracted")
        return [str(self._python), "-I", script, str(config), ",".join(streams), extracted]

    def count(self, stdout: Path, folder: Path) -> Counted:  # noqa: ARG002
        """Count what lies in the folder."""
        return count_extracted(folder / "extracted")


def contestants(names: Iterable[Name], environments: Path) -> dict[Name, Contestant]:
    """Make those that are needed ready to start."""
    makers: dict[Name, Any] = {
        "tap": lambda: SingerTap("tap_partnercenter"),
        "stock": lambda: SingerTap(f"{__package__}.stock"),
        "dlt": lambda: Dlt(environments),
        "floor": Floor,
    }
    return {name: makers[name]() for name in sorted(set(names))}


def _count_file(stdout: Path) -> Counted:
    with stdout.open("rb") as lines:
        return count_messages(lines)
