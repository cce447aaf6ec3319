"""Fixtures for the tests of orchestrate/: a warehouse, an installed Meltano, and Airflow."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
import yaml

from partnercenter_demo import postgres
from partnercenter_demo.meltano import MELTANO, find_uv
from partnercenter_demo.workspace import PROJECT
from partnercenter_emulator import Emulator, Fault, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from partnercenter_demo.meltano import Meltano
    from partnercenter_demo.postgres import Server
    from tests.warehouse import Project

ORCHESTRATE = PROJECT / "orchestrate"


def without_settings() -> dict[str, str]:
    """The environment, without the user's settings, proxies and coverage."""
    prefixes = ("AIRFLOW", "COVERAGE_", "MELTANO_", "TAP_PARTNERCENTER_", "TARGET_", "VIRTUAL_ENV")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(prefixes)}
    return {**kept, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Chain:
    """A warehouse, and Meltano with the plugins that load it."""

    server: Server
    meltano: Meltano
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """Variables with which `meltano` is this one, from any folder."""
        system = self.meltano.workspace.meltano
        return {
            **without_settings(),
            "PATH": os.pathsep.join([str(self.folder), os.environ["PATH"]]),
            "MELTANO_PROJECT_ROOT": str(PROJECT),
            "MELTANO_SYS_DIR_ROOT": str(system),
            "MELTANO_DATABASE_URI": f"sqlite:///{system / 'meltano.db'}",
            "XDG_STATE_HOME": str(system / "logs"),
        }


@pytest.fixture(scope="session")
def chain(project: Project) -> Iterator[Chain]:
    """The project's Meltano as a program named `meltano`, and its warehouse."""
    with tempfile.TemporaryDirectory() as name:
        script = Path(name, "meltano")
        command = f"{find_uv()} tool run --quiet --python {sys.executable} --from {MELTANO}"
        script.write_text(f'#!/bin/sh\nexec {command} meltano "$@"\n')
        script.chmod(0o755)
        yield Chain(project.server, project.meltano, Path(name))


@dataclass(frozen=True)
class Partners:
    """A distributor's emulated tenants, and the plan for loading them."""

    emulators: dict[str, Emulator]
    plan: dict[str, Any]
    settings: dict[str, dict[str, Any]]
    """The tap's settings, for some tenants."""
    logins: dict[str, dict[str, str]]
    """Credentials that replace the emulator's."""

    def connections(self, server: Server) -> dict[str, str]:
        """Airflow's connections to them and to the warehouse, as variables."""
        found = {}
        for name, emulator in self.emulators.items():
            settings = emulator.tap_config()
            login = {"login": settings.pop("client_id"), "password": settings.pop("client_secret")}
            login |= self.logins.get(name, {})
            settings |= self.settings.get(name, {})
            found[f"AIRFLOW_CONN_PARTNERCENTER_{name.upper()}"] = json.dumps(
                {"conn_type": "generic", **login, "extra": settings}
            )
        place = f"host={quote(str(server.sockets), safe='')}&port={postgres.PORT}"
        found["AIRFLOW_CONN_WAREHOUSE"] = (
            f"postgres://{postgres.SUPERUSER}@/{postgres.DATABASE}?{place}"
        )
        return found


@pytest.fixture(scope="session")
def partners() -> Iterator[Partners]:
    """One tenant in four shards, one in a single shard, and one with a wrong secret.

    The first lists a customer twice, as after a shift of pages, and is read in part between weeks.
    """
    with ExitStack() as running:
        emulators = {
            name: running.enter_context(
                Emulator(Options(customers=size, resellers=5, seed=seed, audit_per_day=0))
            )
            for seed, (name, size) in enumerate({"de": 90, "fr": 20, "lu": 5}.items(), start=1)
        }
        emulators["de"].faults = [Fault(place="customers", duplicate_first_item=True)]
        plan = {
            "meltano_environment": "dev",
            "tenants": [
                {
                    "name": "de",
                    "schema": "partnercenter_de",
                    "shards": 4,
                    "at_once": 3,
                    "requests_per_minute": 60_000,
                },
                {"name": "fr", "schema": "partnercenter_fr"},
                {"name": "lu", "schema": "partnercenter_lu"},
            ],
        }
        wrong = {"lu": {"password": "wrong"}}
        yield Partners(emulators, plan, {"de": {"full_refresh_days": 7}}, wrong)


@dataclass(frozen=True)
class Night:
    """The result of a DAG run."""

    tasks: dict[str, tuple[str, int]]
    """State and number of attempts of each task; mapped tasks have their index."""
    log: str


@dataclass(frozen=True)
class Airflow:
    """Airflow in its own environment, with the DAG in a subfolder of its DAG folder."""

    environment: Path
    variables: Mapping[str, str]
    metadata: str
    """The URL of its own database."""

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the environment; `stdout` has its output."""
        program, *arguments = command
        return subprocess.run(
            [self.environment / "bin" / program, *arguments],
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    @contextmanager
    def scheduling(self) -> Iterator[None]:
        """Let the scheduler start tasks that are due, as processes on this machine."""
        programs = (
            ("api-server", "--workers=1", f"--port={self.port}"),
            ("scheduler",),
            ("dag-processor",),
        )
        started = []
        try:
            for program in programs:
                with self.log(program[0]).open("wb") as log:
                    started.append(
                        subprocess.Popen(
                            [self.environment / "bin" / "airflow", *program],
                            env=self.variables,
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                        )
                    )
            yield
        finally:
            for process in started:
                process.terminate()
            for process in started:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @property
    def port(self) -> str:
        """The port to which the tasks report."""
        return self.variables["AIRFLOW__API__PORT"]

    def log(self, name: str) -> Path:
        """The log of one of Airflow's programs."""
        return Path(self.variables["AIRFLOW_HOME"], f"{name}.log")

    def night(self, name: str) -> Night:
        """Start the DAG, and wait until it ends or a task waits for a retry."""
        began = self.run("airflow", "dags", "trigger", "partnercenter", f"--run-id={name}")
        assert began.returncode == 0, began.stdout
        query = "select task_id, map_index, state, try_number from task_instance where run_id = %s"
        patience = time.monotonic() + 900
        while True:
            with psycopg.connect(self.metadata) as database:
                tasks = {
                    f"{task}{'' if index < 0 else index}": (state, attempt)
                    for task, index, state, attempt in database.execute(query, [name])
                }
                run = database.execute(
                    "select state from dag_run where run_id = %s", [name]
                ).fetchone()
            if run in {("success",), ("failed",)} or ("up_for_retry", 1) in tasks.values():
                break
            assert time.monotonic() < patience, (run, tasks, self.said(name)[-5000:])
            time.sleep(1)
        return Night(tasks, self.said(name))

    def said(self, name: str) -> str:
        """The output of a run's tasks, and of Airflow's programs."""
        logs = Path(self.variables["AIRFLOW_HOME"], "logs")
        files = [
            *sorted(logs.rglob(f"run_id={name}/**/*.log")),
            *self.log("x").parent.glob("*.log"),
        ]
        return "\n".join(path.read_text(encoding="utf-8") for path in files)

    def python(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script that may import the DAG's modules."""
        folder = str(ORCHESTRATE / "dags")
        path = f"import sys; sys.path.append({folder!r})\n"
        return self.run("python", "-W", "ignore", "-c", path + script)


@pytest.fixture(scope="session")
def airflow(chain: Chain, partners: Partners) -> Iterator[Airflow]:
    """Airflow, installed as in orchestrate/README.md, ready for the tenants."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = folder / "environment"
        requirements = str(ORCHESTRATE / "requirements.txt")
        for arguments in (
            ["venv", "--quiet", "--python", sys.executable, str(environment)],
            ["pip", "install", "--quiet", "--python", str(environment), "-r", requirements],
        ):
            subprocess.run([find_uv(), *arguments], check=True)
        tenants = folder / "tenants.yaml"
        tenants.write_text(yaml.safe_dump(partners.plan))
        with chain.server.connect() as database:
            database.execute("create database airflow")
        place = f"{postgres.SUPERUSER}@/airflow?host={quote(str(chain.server.sockets), safe='')}"
        metadata = f"postgresql://{place}&port={postgres.PORT}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        airflow = Airflow(
            environment,
            {
                **chain.variables,
                **partners.connections(chain.server),
                "AIRFLOW_HOME": str(folder / "home"),
                "AIRFLOW__API__PORT": str(port),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(),
                "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
                "AIRFLOW__CORE__DAGS_FOLDER": str(ORCHESTRATE),
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
                "AIRFLOW__CORE__PARALLELISM": "6",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
                "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
                "PARTNERCENTER_TENANTS": str(tenants),
            },
            metadata,
        )
        migrated = airflow.run("airflow", "db", "migrate")
        assert migrated.returncode == 0, migrated.stdout
        yield airflow
