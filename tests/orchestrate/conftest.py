"""What the tests of orchestrate/ share: a warehouse, an installed Meltano, and Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import yaml

from partnercenter_demo import postgres
from partnercenter_demo.meltano import MELTANO, find_uv
from partnercenter_demo.workspace import PROJECT
from partnercenter_emulator import Emulator, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from partnercenter_demo.meltano import Meltano
    from partnercenter_demo.postgres import Server
    from tests.warehouse import Project

ORCHESTRATE = PROJECT / "orchestrate"


def without_settings() -> dict[str, str]:
    """The environment, without the settings, proxies and coverage of whoever runs the tests."""
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
        """Variables under which `meltano` is this one, from any folder."""
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
    """The emulated tenants of a distributor, and the plan to load them."""

    emulators: dict[str, Emulator]
    plan: dict[str, Any]

    def connections(self, server: Server) -> dict[str, str]:
        """Airflow's connections to them and to the warehouse, as variables."""
        found = {}
        for name, emulator in self.emulators.items():
            settings = emulator.tap_config()
            login = {"login": settings.pop("client_id"), "password": settings.pop("client_secret")}
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
    """One tenant in four shards, and one in a single shard."""
    with ExitStack() as running:
        emulators = {
            name: running.enter_context(Emulator(Options(customers=size, resellers=5, seed=seed)))
            for seed, (name, size) in enumerate({"de": 90, "fr": 20}.items(), start=1)
        }
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
            ],
        }
        yield Partners(emulators, plan)


@dataclass(frozen=True)
class Airflow:
    """Airflow in an environment of its own, with the DAG folder of this repository."""

    environment: Path
    variables: Mapping[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment to its end; what it says is in `stdout`."""
        program, *arguments = command
        return subprocess.run(
            [self.environment / "bin" / program, *arguments],
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def python(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script that may import the DAG's modules."""
        folder = self.variables["AIRFLOW__CORE__DAGS_FOLDER"]
        path = f"import sys; sys.path.append({folder!r})\n"
        return self.run("python", "-W", "ignore", "-c", path + script)


@pytest.fixture(scope="session")
def airflow(chain: Chain, partners: Partners) -> Iterator[Airflow]:
    """Airflow as orchestrate/README.md has it installed, ready for the tenants."""
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
        airflow = Airflow(
            environment,
            {
                **chain.variables,
                **partners.connections(chain.server),
                "AIRFLOW_HOME": str(folder / "home"),
                "AIRFLOW__CORE__DAGS_FOLDER": str(ORCHESTRATE / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
                "PARTNERCENTER_TENANTS": str(tenants),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        migrated = airflow.run("airflow", "db", "migrate")
        assert migrated.returncode == 0, migrated.stdout
        yield airflow
