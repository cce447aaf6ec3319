"""The workflows under `.github` use existing Pythons and checks, and actions pinned by commit."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return found


def lines(path: Path) -> list[str]:
    """All commands in a workflow's steps."""
    steps = [step for job in jobs(path).values() for step in job.get("steps", [])]
    return [step["run"] for step in steps if "run" in step]


def test_every_supported_python_is_tested() -> None:
    """Exactly the versions in the classifiers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    ci = jobs(ROOT / ".github" / "workflows" / "ci.yml")
    tested = ci["tests"]["strategy"]["matrix"]
    assert tested["python"] == supported
    assert {row["python"] for row in tested["include"]} <= set(supported)
    # Plugins and dbt can be too old for the newest Python.
    assert ci["chains"]["strategy"]["matrix"]["python"] == [supported[0], supported[-1]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_checks_that_exist(path: Path) -> None:
    """A renamed session would fail only after the merge."""
    sessions = set(
        re.findall(r"^def ([a-z]\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    )
    called = re.findall(r"--session ([^\n]+?)(?: --|\n|$)", "\n".join(lines(path)))
    names = {name.strip('"').partition("-")[0] for one in called for name in one.split()}
    assert names <= sessions


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_have_least_privilege(path: Path) -> None:
    """No permissions by default."""
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {}
    assert all("permissions" in job for job in jobs(path).values())


@pytest.mark.parametrize(
    "path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_no_action_can_be_changed_by_its_owner(path: Path) -> None:
    """Each is pinned to a commit, or exists in this repository."""
    for used in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
        if used.startswith("$/"):
            place = ROOT / used.removeprefix("$/")
            assert place.is_file() or (place / "action.yml").is_file(), used
        else:
            assert re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}", used), used


def test_the_changelog_has_the_form_that_releases_look_for() -> None:
    """Every version has its date, the newest comes first, and each heading has a link."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert headings.pop(0) == "[Unreleased]"
    dated = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", one) for one in headings]
    assert dated
    assert all(dated), headings
    versions = [tuple(map(int, one.groups()[:3])) for one in dated if one]
    assert versions == sorted(versions, reverse=True)
    for name in ["Unreleased", *(".".join(map(str, one)) for one in versions)]:
        assert f"\n[{name}]: https://" in changelog
