"""Two ways into a warehouse: through Meltano, or directly into the target, which is faster."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_demo import postgres
from partnercenter_demo.meltano import Meltano
from partnercenter_demo.workspace import Workspace
from tests.command_line import Result, run_tap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from partnercenter_demo.postgres import Server
    from partnercenter_emulator import Emulator

#: meltano.yml gives target-duckdb this Python, because its DuckDB has no wheels for newer ones.
NO_DUCKDB = shutil.which("python3.11") is None
needs_duckdb = pytest.mark.skipif(NO_DUCKDB, reason="python3.11 not found, see the end")
PLUGINS = (
    *("tap-partnercenter", "target-postgres", "target-jsonl"),
    *([] if NO_DUCKDB else ["target-duckdb"]),
)
DELETES: dict[str, Any] = {"emit_activate_version_messages": True}


@dataclass(frozen=True)
class Project:
    """The project's own meltano.yml, with plugins, state and logs in a test folder."""

    meltano: Meltano
    server: Server

    def run(  # noqa: PLR0913 - what to run, on what, and how
        self,
        emulator: Emulator,
        loader: str,
        name: str,
        *options: str,
        select: Sequence[str] | None = None,
        target: dict[str, str] | None = None,
        then: Sequence[str] = (),
        **settings: Any,
    ) -> str:
        """Run `meltano run` and return its output.

        Args:
            emulator: The source.
            loader: The target.
            name: The schema to load, which also separates this state from other tests'.
            options: Options of `meltano run`.
            select: The streams to read, if not all.
            target: Variables of the target, besides address and schema.
            then: What to run after the loader.
            settings: Settings of the tap.

        Raises:
            DemoError: The run failed.
        """
        variables = {
            **emulator.environment(),
            "TARGET_POSTGRES_SQLALCHEMY_URL": self.server.sqlalchemy_url,
            "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": name,
            **(target or {}),
        }
        for setting, value in settings.items():
            variables[f"TAP_PARTNERCENTER_{setting.upper()}"] = json.dumps(value)
        if select is not None:
            variables["TAP_PARTNERCENTER__SELECT"] = json.dumps(select)
        arguments = ("run", "--no-install", f"--state-id-suffix={name}", *options)
        plugins = ("tap-partnercenter", loader, *then)
        log = self.meltano.workspace.meltano_log
        start = log.stat().st_size
        with self.meltano.command(
            "--environment=dev", *arguments, *plugins, variables=variables
        ) as job:
            job.finish()
        return log.read_bytes()[start:].decode(errors="replace")

    def program(self, plugin: str, name: str, kind: str = "loaders") -> str:
        """A program in a plugin's environment."""
        path = self.meltano.workspace.meltano / kind / plugin / "venv" / "bin" / name
        assert path.exists()
        return str(path)


@contextmanager
def installed() -> Iterator[Project]:
    """Meltano with its plugins, and an empty PostgreSQL, both removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        # As root, the server runs as another user, and without access would put its data elsewhere.
        Path(folder).chmod(0o711)
        workspace = Workspace(Path(folder))
        with workspace.opened() as lock:
            meltano = Meltano(workspace)
            meltano.prepare()
            with meltano.command("install", *PLUGINS, variables={}) as installation:
                postgres.create(workspace)
                with postgres.running(workspace, lock) as server:
                    installation.finish()
                    yield Project(meltano, server)


@dataclass(frozen=True)
class Pipe:
    """Tap and target-postgres without Meltano; the tap runs in the test process."""

    server: Server
    target: str

    def load(
        self,
        emulator: Emulator,
        schema: str,
        *,
        hard_delete: bool = False,
        catalog: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Result:
        """Load a schema with the target's settings in meltano.yml."""
        began = int(time.time())
        config = {**emulator.tap_config(), **settings}
        result = run_tap(config=config, catalog=catalog, state=state)
        assert result.exit_code == 0, result.stderr
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "config.json")
            own = {"default_target_schema": schema, "hard_delete": hard_delete, "use_copy": True}
            path.write_text(json.dumps({"sqlalchemy_url": self.server.sqlalchemy_url, **own}))
            ended = subprocess.run(
                [self.target, "--config", str(path)],
                input=result.stdout,
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=False,
            )
        assert ended.returncode == 0, ended.stderr
        # A pass's version is its start in whole seconds: the next one must differ.
        while int(time.time()) == began:
            time.sleep(0.02)
        return result
