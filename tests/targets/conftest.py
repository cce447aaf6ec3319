"""One PostgreSQL server and one installation of the plugins for all tests of this folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partnercenter_demo import postgres
from partnercenter_demo.meltano import Meltano
from partnercenter_demo.workspace import Workspace
from tests.targets.chain import Pipe, Project

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGINS = ("tap-partnercenter", "target-postgres", "target-jsonl", "target-duckdb")


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """Meltano with its plugins installed, and an empty PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        with workspace.opened() as lock:
            meltano = Meltano(workspace)
            meltano.prepare()
            with meltano.command("install", *PLUGINS, variables={}) as installation:
                postgres.create(workspace)
                with postgres.running(workspace, lock) as server:
                    installation.finish()
                    yield Project(meltano, server)


@pytest.fixture(scope="session")
def pipe(project: Project) -> Pipe:
    """The target of the project's environment, fed by the tap of the test process."""
    return Pipe(project.server, project.program("target-postgres", "target-postgres"))
