"""The archives of tap and emulator: built from a tag, and used without the source."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partnercenter_demo.meltano import find_uv
from tap_partnercenter.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import Start

ROOT = Path(__file__).parent.parent
VERSIONS = {"tap_partnercenter": "7.8.9", "partnercenter_emulator": "4.5.6"}
FOLDERS = {"tap_partnercenter": ".", "partnercenter_emulator": "emulator"}
pytestmark = pytest.mark.e2e


def build(folder: Path, out: Path, *options: str) -> None:
    """Build an sdist, and a wheel from that."""
    subprocess.run(
        [find_uv(), "build", "--quiet", *options, "--out-dir", str(out), str(folder)], check=True
    )


def copy(to: Path) -> Path:
    """The files of the repository, without its history."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "output", "tests")
    return Path(shutil.copytree(ROOT, to, ignore=ignored))


def commit(folder: Path, *tags: str) -> None:
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", "-C", str(folder)]
    commands: list[Sequence[str]] = [["init"], ["add", "."], ["commit", "--message", "All of it"]]
    for command in [*commands, *(["tag", tag] for tag in tags)]:
        subprocess.run([*git, *command], check=True, capture_output=True)


@dataclass(frozen=True)
class Archives:
    """The files uploaded for one package."""

    package: str
    wheel: Path
    sdist: Path

    @property
    def stem(self) -> str:
        return f"{self.package}-{VERSIONS[self.package]}"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Archives]:
    """Both packages, as built from a tag. Their source has been deleted."""
    folder = tmp_path_factory.mktemp("released")
    source = copy(folder / "source")
    commit(source, *("v7.8.9", "emulator-v4.5.6"))
    found = {}
    for package, path in FOLDERS.items():
        out = folder / package
        build(source / path, out)
        (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
        found[package] = Archives(package, wheel, sdist)
    shutil.rmtree(source)
    return found


@pytest.fixture(scope="module")
def scripts(
    released: dict[str, Archives], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The commands of each package, in an environment with nothing else."""
    found = {}
    for package, archives in released.items():
        environment = tmp_path_factory.mktemp("environment") / "venv"
        uv = find_uv()
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
        python = environment / "bin" / "python"
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", python, *constraints, archives.wheel],
            check=True,
        )
        found[package] = environment / "bin" / package.replace("_", "-")
    return found


@pytest.fixture(params=FOLDERS)
def archives(request: pytest.FixtureRequest, released: dict[str, Archives]) -> Archives:
    return released[request.param]


@pytest.fixture
def command(scripts: dict[str, Path]) -> Path:
    return scripts["tap_partnercenter"]


def run(
    command: Path, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    # An empty folder and environment: nothing from the checkout may be found by chance.
    return subprocess.run(
        [command, *arguments],
        cwd=command.parent,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_the_package_and_nothing_else(archives: Archives) -> None:
    """No tests, no demo; only types, licence and, for the tap, the schemas."""
    names = zipfile.ZipFile(archives.wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {archives.package, f"{archives.stem}.dist-info"}
    assert f"{archives.package}/py.typed" in names
    assert f"{archives.stem}.dist-info/licenses/LICENSE" in names
    schemas = {Path(name).stem for name in names if "/schemas/" in name}
    tap = archives.package == "tap_partnercenter"
    assert schemas == ({path.stem for path in (ROOT / "schemas").iterdir()} if tap else set())


def test_the_sdist_holds_what_the_wheel_is_built_from(archives: Archives) -> None:
    with tarfile.open(archives.sdist) as archive:
        names = [name.removeprefix(f"{archives.stem}/") for name in archive.getnames()]
    tops = {name.split("/")[0] for name in names} - {".gitignore"}
    common = {archives.package, "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    tap = archives.package == "tap_partnercenter"
    assert tops == common | ({"CHANGELOG.md", "schemas"} if tap else set())


def test_the_package_index_accepts_the_archives(archives: Archives) -> None:
    """It also renders the README, whose links lead to the repository."""
    twine = [find_uv(), "tool", "run", "--quiet", "twine", "check", "--strict"]
    checked = subprocess.run(
        [*twine, archives.wheel, archives.sdist], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    metadata = zipfile.ZipFile(archives.wheel).read(f"{archives.stem}.dist-info/METADATA").decode()
    source = urls(archives.package)["Source"]
    links = re.findall(r"\]\(([^)]+)\)", metadata)
    for link in links:
        assert re.match(r"https://|#", link), link
        if link.startswith(source):
            place = re.sub("#.*|/badge.svg", "", link.removeprefix(source))
            path = re.sub("^/(?:blob|raw|tree)/HEAD/|^/actions/(?=workflows/)", "", place)
            folder = ROOT / ".github" if path.startswith("workflows/") else ROOT
            assert (folder / path).exists(), link


def urls(package: str) -> dict[str, str]:
    path = ROOT / FOLDERS[package] / "pyproject.toml"
    found: dict[str, str] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["urls"]
    return found


def test_the_repository_has_one_address() -> None:
    """Everywhere it is the one in [project.urls]."""
    source = urls("tap_partnercenter")["Source"]
    assert urls("partnercenter_emulator")["Source"] == source
    for package, path in FOLDERS.items():
        text = (ROOT / path / "pyproject.toml").read_text(encoding="utf-8")
        assert set(re.findall(r"https://github\.com/[\w-]+/[\w-]+", text)) == {source}
        assert {"Homepage", "Documentation", "Source", "Changelog", "Issues"} == set(urls(package))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (None, r"0\.1\.0\.dev0"),
        ((), r"0\.1\.0\.dev1\+g\w+"),
        (("emulator-v4.5.6",), r"0\.1\.0\.dev1\+g\w+"),
    ],
    ids=["no Git", "no tag", "a tag of the emulator"],
)
def test_without_a_tag_the_version_is_one_before_the_first(
    tags: tuple[str, ...] | None, expected: str, tmp_path: Path
) -> None:
    """A source archive and a shallow clone can be built, too."""
    source = copy(tmp_path / "source")
    if tags is not None:
        commit(source, *tags)
    build(source, tmp_path / "out", "--wheel")
    (wheel,) = (tmp_path / "out").glob("*.whl")
    assert re.fullmatch(expected, wheel.name.split("-")[1])


def test_about_and_discover_work_without_configuration(command: Path) -> None:
    """As Meltano and the Hub call them."""
    about = json.loads(run(command, "--about", "--format=json").stdout)
    assert about["name"] == "tap-partnercenter"
    assert about["version"] == "7.8.9"
    assert "7.8.9" in run(command, "--version").stdout
    discover = run(command, "--discover")
    assert len(json.loads(discover.stdout)["streams"]) == len(STREAMS)


def test_test_and_sync_work(command: Path, start: Start) -> None:
    """With only the wheel and its dependencies."""
    emulator = start(customers=30)
    variables = emulator.environment()
    test = run(command, "--config", "ENV", "--test", **variables)
    assert test.returncode == 0, test.stderr
    sync = run(command, "--config", "ENV", **variables)
    assert sync.returncode == 0, sync.stderr
    assert_customers(sync.stdout, 30)
    assert {one.user_agent for one in emulator.requests} == {"tap-partnercenter/7.8.9"}


def test_the_installed_emulator_serves_the_installed_tap(scripts: dict[str, Path]) -> None:
    """As in another project's CI, without the source of either."""
    tap, emulator = scripts.values()
    around = ["exec", "--customers", "20", "--", str(tap), "--config", "ENV"]
    sync = run(emulator, *around)
    assert sync.returncode == 0, sync.stderr
    assert_customers(sync.stdout, 20)


def assert_customers(output: str, count: int) -> None:
    records = [json.loads(line) for line in output.splitlines()]
    assert sum(r["type"] == "RECORD" and r["stream"] == "customers" for r in records) == count
