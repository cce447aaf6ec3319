"""How each contestant is started, and how its records are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .counting import extracted, messages

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from .cases import Name
    from .counting import Record

DLT_VERSION = "1.31.0"


@dataclass(frozen=True)
class Contestant:
    """A program that reads the emulator's data.

    `command` returns the command of one run, from a folder for its files and the streams. The
    settings of a tap are in the folder's `config.json`. `records` reads the output in that folder;
    standard output is the file `stdout`.
    """

    command: Callable[[Path, Sequence[str]], list[str]]
    records: Callable[[Path], Iterator[tuple[str, Record]]] = messages


def contestants(names: Container[Name]) -> dict[Name, Contestant]:
    """Return the contestants; dlt only if it is asked for, since uv has to install it."""
    found: dict[Name, Contestant] = {
        "tap": Contestant(partial(_tap, ["tap_partnercenter"])),
        "stock": Contestant(partial(_tap, [f"{__package__}.stock", "stock"])),
        "naive": Contestant(partial(_tap, [f"{__package__}.stock", "naive"])),
        "floor": Contestant(partial(_script, sys.executable, "floor.py")),
    }
    if "dlt" in names:
        found["dlt"] = Contestant(partial(_script, _dlt_python(), "dlt_source.py"), extracted)
    return found


def _tap(module: Sequence[str], folder: Path, streams: Sequence[str]) -> list[str]:
    """Select the streams in the tap's own catalog."""
    command = [sys.executable, "-m", *module, "--config", str(folder / "config.json")]
    found = subprocess.run([*command, "--discover"], check=True, capture_output=True)  # noqa: S603
    selected = json.loads(found.stdout)
    for stream in selected["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["tap_stream_id"] in streams
    catalog = folder / "catalog.json"
    catalog.write_text(json.dumps(selected), encoding="utf-8")
    return [*command, "--catalog", str(catalog)]


def _script(python: str, name: str, folder: Path, streams: Sequence[str]) -> list[str]:
    return [python, "-I", str(Path(__file__).with_name(name)), str(folder), ",".join(streams)]


def _dlt_python() -> str:
    """Return the Python of an environment with dlt, which uv keeps in its cache."""
    uv = os.environ.get("UV", "uv")  # set by `uv run`
    # requests in the same version as everywhere else; dlt installs the rest.
    wanted = [f"--from=dlt=={DLT_VERSION}", f"--with=requests=={version('requests')}"]
    command = [uv, "tool", "run", "--quiet", f"--python={sys.executable}", *wanted]
    asked = [*command, "python", "-c", "import sys; print(sys.executable)"]
    return subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()  # noqa: S603
