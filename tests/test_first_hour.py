"""The README's commands for newcomers: on machines with other Pythons, and in new projects."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from partnercenter_demo.meltano import LOADER, MELTANO, find_uv
from tests.targets.rows import assert_equal
from tests.truth import assert_all_records, held

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.warehouse import Project

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.e2e


def uv(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # nox sets UV_PYTHON in its sessions; a newcomer has no such variable.
    newcomer = {name: value for name, value in os.environ.items() if name != "UV_PYTHON"}
    return subprocess.run(
        [find_uv(), *arguments],
        cwd=ROOT,
        env={**newcomer, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def checks(pythons: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """List the checks as on a machine with only some Pythons."""
    code = f"""
import python_discovery, sys
python_discovery.get_interpreter = lambda version, **_: version in {pythons!r} or None
sys.argv = ["nox", "--list"]
from nox.__main__ import main
main()
"""
    variables = {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")}
    return uv("run", "--quiet", "--only-group", "nox", "python", "-c", code, **variables)


@pytest.mark.parametrize("pythons", [["3.12"], ["3.10", "3.12", "3.14"], ["3.11", "3.13"]])
def test_every_check_runs_on_the_pythons_that_are_there(pythons: list[str], tmp_path: Path) -> None:
    """No check is left out because a version is missing, and none is chosen only to be skipped."""
    listed = checks(pythons, tmp_path)
    assert listed.returncode == 0, listed.stderr
    chosen = [line.split()[1] for line in listed.stdout.splitlines() if line.startswith("* ")]
    supported = [python for python in pythons if python != "3.10"]
    kinds = [[f"{kind}-{python}" for python in supported] for kind in ("types", "tests")]
    assert chosen == ["lint", "docs", *kinds[0], *kinds[1], "chains"]


def test_without_a_supported_python_the_checks_fail_in_one_line(tmp_path: Path) -> None:
    """Nothing would have been checked, which must not look like success."""
    ended = checks(["3.10"], tmp_path)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "3.11, 3.12, 3.13, 3.14" in line


def test_uv_chooses_a_python_that_the_demos_postgresql_supports(tmp_path: Path) -> None:
    """Without any Python, uv would download the newest one allowed."""
    nowhere = {
        "UV_PYTHON_INSTALL_DIR": str(tmp_path),
        "UV_PROJECT_ENVIRONMENT": str(tmp_path / "v"),
    }
    refused = uv("run", "--managed-python", "--no-python-downloads", "demo", **nowhere)
    assert refused.returncode == 2
    assert "Python >=3.11, <3.15" in refused.stderr


def printed(heading: str) -> str:
    """The commands that the README shows below a heading."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split(f"\n### {heading}\n", 1)[1]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


class Newcomer:
    """Someone with a checkout next to their own folder, who types the README's commands."""

    def __init__(self, place: Path) -> None:
        """Create the folder, and the programs that the README requires."""
        self.folder = place / "project"
        self.folder.mkdir()
        (place / "tap-partnercenter").symlink_to(ROOT)
        self.programs = place / "bin"
        self.programs.mkdir()
        self.has(
            "meltano",
            f'"{find_uv()}" tool run --python "{sys.executable}" --from {MELTANO} meltano',
        )
        own = ("MELTANO_", "TAP_PARTNERCENTER_", "TARGET_", "VIRTUAL_ENV")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(own)},
            "PATH": f"{self.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(place / "state"),
        }

    def has(self, name: str, command: str) -> None:
        """Add a program to the PATH."""
        program = self.programs / name
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        program.chmod(0o755)

    def types(self, commands: str, **variables: str) -> str:
        """Run commands in a shell; the first failure ends the test."""
        ended = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", commands],  # noqa: S607 - whichever there is
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


def test_the_readme_leads_a_meltano_project_to_a_loaded_table(
    start: Start, project: Project, tmp_path: Path
) -> None:
    """The plugin is this tap, not a namesake, with all its settings; secrets are in .env."""
    emulator = start(customers=40, resellers=3)
    newcomer = Newcomer(tmp_path)
    newcomer.types("meltano init . --force")
    path = newcomer.folder / "meltano.yml"
    ours = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    theirs = yaml.safe_load(path.read_text(encoding="utf-8"))
    (loader,) = (one for one in ours["plugins"]["loaders"] if one["name"] == LOADER)
    path.write_text(yaml.safe_dump({**theirs, "plugins": {"loaders": [loader]}}), encoding="utf-8")

    # Environment variables take precedence over the README's settings and name the emulator.
    newcomer.types(
        printed("In a Meltano project"),
        **emulator.environment(),
        TARGET_POSTGRES_SQLALCHEMY_URL=project.server.sqlalchemy_url,
        TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA="newcomer",
    )
    assert_equal(project.server, "newcomer", emulator)
    (added,) = yaml.safe_load(path.read_text(encoding="utf-8"))["plugins"]["extractors"]
    assert added["settings"] == ours["plugins"]["extractors"][0]["settings"]
    assert set(added["config"]) == {"tenant_id", "client_id"}
    secrets = (newcomer.folder / ".env").read_text(encoding="utf-8")
    assert re.findall(r"^TAP_PARTNERCENTER_(\w+)=", secrets, re.MULTILINE) == [
        "CLIENT_SECRET",
        "REFRESH_TOKEN",
    ]


def test_the_readme_leads_to_a_singer_pipe(start: Start, project: Project, tmp_path: Path) -> None:
    """Only Python, the checkout and a target are needed; the next run can use the state."""
    emulator = start(customers=40, resellers=3)
    newcomer = Newcomer(tmp_path)
    newcomer.has("target-jsonl", project.program("target-jsonl", "target-jsonl"))
    config = json.dumps(emulator.tap_config())
    (newcomer.folder / "config.json").write_text(config, encoding="utf-8")
    newcomer.types(printed("With any Singer target"))
    for stream, keys in held(emulator).items():
        (file,) = newcomer.folder.glob(f"{stream}-*.jsonl")
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) == len(keys)
    again = "tap/bin/tap-partnercenter --config config.json --catalog catalog.json"
    assert_all_records(newcomer.types(f"{again} --state state.json").splitlines(), emulator)
