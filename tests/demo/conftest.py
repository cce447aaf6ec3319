"""Run the demo's command in tests."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from partnercenter_demo.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

STAND_IN = Path(__file__).with_name("stand_in_uv.py")


@dataclass(frozen=True)
class DemoRunner:
    """The command `demo` with its own folder and, by default, a stand-in for uv."""

    folder: Path

    @property
    def data(self) -> Path:
        """The folder passed as --data."""
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which `uv` is the stand-in."""
        return {
            **os.environ,
            "UV": str(self.folder / "uv"),
            "STAND_IN_NOTES": str(self.folder),
            "COLUMNS": "120",
        }

    def command(self, *arguments: str) -> list[str]:
        """The demo's command line."""
        data = ("--data", str(self.data))
        return [sys.executable, "-m", "partnercenter_demo", *data, *arguments]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the demo in this process, which is faster."""
        command = self.command(*arguments)
        out, err = io.StringIO(), io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        with (
            patch.dict(os.environ, {**self.environment, **variables}),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = main(command[3:])
            except SystemExit as refusal:
                code = int(refusal.code or 0)
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())

    def run_apart(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the demo in its own process: for the output of psql, and for other packages."""
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def note(self, command: str) -> dict[str, Any]:
        """Return how the stand-in was called for a Meltano command."""
        found: dict[str, Any] = json.loads((self.folder / f"{command}.json").read_text())
        return found


@pytest.fixture(scope="module")
def finished_demo() -> Iterator[tuple[DemoRunner, subprocess.CompletedProcess[str]]]:
    """A demo of the size that users see, with their variables set, shared by several tests."""
    with tempfile.TemporaryDirectory() as folder:
        runner = _runner(Path(folder))
        runner.data.mkdir(0o755)
        yield (
            runner,
            runner.run(
                TAP_PARTNERCENTER_RESELLER_IDS='["00000000-0000-0000-0000-000000000000"]',
                TAP_PARTNERCENTER_CLIENT_SECRET="the user's own",  # noqa: S106
                TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA="elsewhere",
                DBT_POSTGRES_SCHEMA="elsewhere",
                MELTANO_ENVIRONMENT="prod",
                NO_PROXY="example.com",
            ),
        )


@pytest.fixture
def demo() -> Iterator[DemoRunner]:
    """A demo that has not run yet."""
    with tempfile.TemporaryDirectory() as folder:
        yield _runner(Path(folder))


def _runner(folder: Path) -> DemoRunner:
    # Not tmp_path: as root, the server runs as another user, who may not enter pytest's folders.
    folder.chmod(0o755)
    uv = folder / "uv"
    uv.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    uv.chmod(0o755)
    return DemoRunner(folder)


@pytest.fixture(scope="session")
def uv() -> str:
    """The real uv."""
    found = shutil.which(os.environ.get("UV") or "uv")
    assert found, "these tests need uv"
    return found
