"""Meltano in an environment of its own, isolated from the user's project state and variables."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from partnercenter_demo.failure import DemoError
from partnercenter_demo.screen import shown
from partnercenter_demo.workspace import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from partnercenter_demo.workspace import Workspace

MELTANO = "meltano==4.4.1"
EXTRACTOR = "tap-partnercenter"
LOADER = "target-postgres"
TRANSFORMER = "dbt-postgres"
SCHEMA = "tap_partnercenter"
"""The extractor's namespace, which meltano.yml uses as the schema of the loaded tables."""
MODELS = "partnercenter"
"""The default schema of the models that dbt builds from them."""

OF_THE_USER = ("DBT_", "MELTANO_", "TAP_PARTNERCENTER_", "TARGET_POSTGRES_", "VIRTUAL_ENV")
"""Prefixes of variables that must not reach the demo's Meltano."""

STOP_SECONDS = 10.0
POLL_SECONDS = 0.1
SHOWN_LINES = 15
SHOWN_LENGTH = 240


@dataclass(frozen=True)
class Job:
    """A running Meltano command."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    log_start: int
    verbose: bool

    def finish(self) -> None:
        """Wait until it ends; with `verbose`, show its output in the meantime.

        Raises:
            DemoError: It failed.
        """
        with self.log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self.log_start)
            output = ""
            while True:
                ended = self._wait()
                new_output = log.read()
                output += new_output
                if self.verbose:
                    sys.stderr.write(new_output)
                if ended:
                    break
        if self.process.returncode:
            lines = [line[:SHOWN_LENGTH] for line in output.splitlines() if line.strip()]
            message = (
                f"`{self.name}` failed with exit code {self.process.returncode}: "
                f"its last lines are above, and the whole log is in {self.log}"
            )
            raise DemoError(message, "" if self.verbose else "\n".join(lines[-SHOWN_LINES:]))

    def _wait(self) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(POLL_SECONDS)
        return self.process.returncode is not None


@dataclass(frozen=True)
class Meltano:
    """Runs Meltano's commands for one workspace and collects their output in one log."""

    workspace: Workspace
    verbose: bool = False
    """Show all output as it arrives."""
    fresh: bool = False
    """Reinstall the plugins, even if nothing has changed."""

    def prepare(self) -> None:
        """Delete the runs of earlier demos, including state and locks."""
        folder = self.workspace.meltano
        if self.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        for database in folder.glob("meltano.db*"):
            database.unlink()
        shutil.rmtree(folder / "run", ignore_errors=True)
        self.workspace.meltano_log.unlink(missing_ok=True)

    @property
    def is_installed(self) -> bool:
        """Whether the plugins are installed as this checkout requires."""
        return self._stamp.is_file() and self._stamp.read_text() == self._wanted()

    def note_installed(self) -> None:
        """Remember that the plugins are installed as this checkout requires."""
        self._stamp.write_text(self._wanted())

    @contextmanager
    def command(self, *arguments: str, variables: Mapping[str, str]) -> Iterator[Job]:
        """Start a Meltano command; none of its processes outlives the block.

        Args:
            arguments: The arguments of `meltano`.
            variables: Environment variables for it, in addition to those of the user that are not
                for Meltano or the plugins.

        Yields:
            The running command, to be finished inside the block.
        """
        with self.workspace.meltano_log.open("ab") as log:
            start = log.tell()
            process = subprocess.Popen(  # noqa: S603 - a fixed command
                [
                    *(find_uv(), "tool", "run", "--quiet", "--python", sys.executable),
                    *("--from", MELTANO, "meltano", "--log-format=uncolored"),
                    # No variable of a user's .env reaches the plugins.
                    *(f"--cwd={PROJECT}", f"--env-file={os.devnull}"),
                    *arguments,
                ],
                env={**self._environment(), **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # one group, so that all of it can be ended
            )
        try:
            name = " ".join(("meltano", *arguments))
            yield Job(name, process, self.workspace.meltano_log, start, self.verbose)
        finally:
            _end(process)

    def _environment(self) -> dict[str, str]:
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(OF_THE_USER)
        }
        no_proxy = own.get("NO_PROXY") or own.get("no_proxy")
        own["NO_PROXY"] = own["no_proxy"] = f"{no_proxy},127.0.0.1" if no_proxy else "127.0.0.1"
        own["NO_COLOR"] = "1"
        own["MELTANO_SYS_DIR_ROOT"] = str(self.workspace.meltano)
        own["MELTANO_DATABASE_URI"] = f"sqlite:///{self.workspace.meltano / 'meltano.db'}"
        own["XDG_STATE_HOME"] = str(self.workspace.meltano / "logs")
        own["DBT_POSTGRES_TARGET_PATH"] = str(self.workspace.meltano / "dbt")
        own["DBT_LOG_PATH"] = str(self.workspace.meltano / "logs" / "dbt")
        own["DBT_USE_COLORS"] = "false"
        return own

    @property
    def _stamp(self) -> Path:
        return self.workspace.meltano / "installed"

    def _wanted(self) -> str:
        digest = hashlib.sha256(f"{MELTANO} {sys.executable} {sys.version} {PROJECT}".encode())
        for name in ("meltano.yml", "pyproject.toml"):
            digest.update((PROJECT / name).read_bytes())
        return digest.hexdigest()


def find_uv() -> str:
    """Find uv: as set by `uv run`, on the PATH, or in the Python package of that name.

    Raises:
        DemoError: It was not found.
    """
    found = shutil.which(os.environ.get("UV") or "uv")
    if found:
        return found
    with suppress(ImportError, FileNotFoundError):
        return str(import_module("uv").find_uv_bin())
    message = (
        "uv is needed to run Meltano and is not found: `python3 -m pip install --target .uv uv` "
        "installs it, and `.uv/bin/uv run demo` uses it"
    )
    raise DemoError(message)


def demo_command() -> str:
    """Return how the demo was called: `uv run demo`, or with the path of a uv not on the PATH."""
    uv = os.environ.get("UV")
    return f"{shown(Path(uv)) if uv and not shutil.which('uv') else 'uv'} run demo"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode == 0:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
