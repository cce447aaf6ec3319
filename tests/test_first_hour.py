"""What the README has a newcomer type, typed: on machines with other Pythons, in new projects."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from partnercenter_demo.meltano import find_uv

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.e2e


def uv(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_uv(), *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def checks(pythons: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """List the checks as on a machine that has some Pythons only."""
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
    """None is left out for want of a certain one, and none is chosen that would be skipped."""
    listed = checks(pythons, tmp_path)
    assert listed.returncode == 0, listed.stderr
    chosen = [line.split()[1] for line in listed.stdout.splitlines() if line.startswith("* ")]
    supported = [python for python in pythons if python != "3.10"]
    kinds = [[f"{kind}-{python}" for python in supported] for kind in ("types", "tests")]
    assert chosen == ["lint", *kinds[0], *kinds[1], "chains"]


def test_without_a_supported_python_the_checks_fail_in_one_line(tmp_path: Path) -> None:
    """Nothing would have been checked, which must not look like success."""
    ended = checks(["3.10"], tmp_path)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "3.11, 3.12, 3.13, 3.14" in line


def test_uv_takes_no_python_that_the_demos_postgresql_lacks(tmp_path: Path) -> None:
    """Where there is none yet, uv would fetch the newest that is allowed."""
    nowhere = {
        "UV_PYTHON_INSTALL_DIR": str(tmp_path),
        "UV_PROJECT_ENVIRONMENT": str(tmp_path / "v"),
    }
    refused = uv("run", "--managed-python", "--no-python-downloads", "demo", **nowhere)
    assert refused.returncode == 2
    assert "Python >=3.11, <3.15" in refused.stderr
