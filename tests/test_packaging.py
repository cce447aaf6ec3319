"""The wheel, installed alone in an empty environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partnercenter_demo.meltano import find_uv
from tap_partnercenter.streams import STREAMS

if TYPE_CHECKING:
    from tests.conftest import Start

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [find_uv(), "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)],
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command, in an environment that has nothing else."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    uv = find_uv()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, *constraints, wheel],
        check=True,
    )
    return environment / "bin" / "tap-partnercenter"


def run(command: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # An empty folder and environment: nothing of the checkout may be found by chance.
    return subprocess.run(
        [command, *arguments],
        cwd=command.parent,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_the_package_its_schemas_and_nothing_else(wheel: Path) -> None:
    """No tests, no emulator, no demo."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"tap_partnercenter", "tap_partnercenter-0.1.0.dist-info"}
    assert "tap_partnercenter/schemas/customers.json" in names
    assert "tap_partnercenter/py.typed" in names


def test_about_and_discover_work_without_configuration(command: Path) -> None:
    """As Meltano and the Hub call them."""
    about = run(command, "--about", "--format=json")
    assert json.loads(about.stdout)["name"] == "tap-partnercenter"
    discover = run(command, "--discover")
    assert len(json.loads(discover.stdout)["streams"]) == len(STREAMS)


def test_test_and_sync_work(command: Path, start: Start) -> None:
    """With nothing but the wheel and its dependencies."""
    emulator = start(customers=30)
    variables = emulator.environment()
    test = run(command, "--config", "ENV", "--test", **variables)
    assert test.returncode == 0, test.stderr
    sync = run(command, "--config", "ENV", **variables)
    assert sync.returncode == 0, sync.stderr
    records = [json.loads(line) for line in sync.stdout.splitlines()]
    assert sum(r["type"] == "RECORD" and r["stream"] == "customers" for r in records) == 30
