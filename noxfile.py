"""The checks: `uv run nox` runs lint, types and tests on every supported Python there is."""

from __future__ import annotations

import os
import sys
from typing import Any

import nox
from python_discovery import get_interpreter

SUPPORTED = ["3.11", "3.12", "3.13", "3.14"]
# Found as nox itself finds them: on the PATH, under pyenv, mise, asdf and uv.
PYTHONS = [version for version in SUPPORTED if get_interpreter(version)]
if not PYTHONS:
    sys.exit(f"None of Python {', '.join(SUPPORTED)} is installed: run `uv python install 3.14`.")
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]
# One case of each test: enough for the Pythons on which not all of them run.
SAMPLE = ["--sample", "1"]
MEMBERS = ["benchmarks", "demo", "emulator"]
OWN = ["tap-partnercenter", *(f"partnercenter-{member}" for member in MEMBERS)]
PACKAGES = [option for folder in [".", *MEMBERS] for option in ("-e", folder)]
PINNED = ["--constraint", "constraints.txt"]
# One process for each core.
PARALLEL = ["-n", "logical", "--dist"]
NEXT_SDK = "singer-sdk[msgspec]>=0.55.0b7"
# What `uv run` says of itself.
UV = os.environ.get("UV", "uv")

nox.needs_version = ">=2026.8.17"
nox.options.default_venv_backend = "uv"
# Only what is on the machine is used, and all of it: nothing is skipped.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True


def _project() -> dict[str, Any]:
    return nox.project.load_toml("pyproject.toml")


def _install(session: nox.Session, *groups: str) -> None:
    wanted = nox.project.dependency_groups(_project(), *groups)
    session.install(*PACKAGES, *(name for name in wanted if name not in OWN), *PINNED)


@nox.session(python=OLDEST)
def lint(session: nox.Session) -> None:
    """Format, lint, and look for holes in the workflows."""
    _install(session, "lint")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session(python=OLDEST)
def docs(session: nox.Session) -> None:
    """Build the documentation's site into build/site; a link or a page that is lost fails it."""
    session.install(*nox.project.dependency_groups(_project(), "docs"), *PINNED)
    session.run("python", "-m", "tools.site")


@nox.session(python=PYTHONS)
def types(session: nox.Session) -> None:
    """Check types strictly."""
    _install(session, "typing")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the quick tests: on the newest Python all, with coverage; on the others a sample."""
    _install(session, "test")
    quick = ["-m", "pytest", "-m", "not e2e", *(session.posargs or [*PARALLEL, "worksteal"])]
    if session.python != NEWEST or session.posargs:
        session.run("python", *quick, *([] if session.posargs else SAMPLE))
        return
    branches = ["--branch"]
    if session.python in {"3.12", "3.13"}:
        # Far faster, but blind to branches before Python 3.14, where it is the default.
        branches, session.env["COVERAGE_CORE"] = [], "sysmon"
    session.run("coverage", "erase")
    session.run("coverage", "run", *branches, *quick)
    session.run("coverage", "combine", "--quiet")
    # The rest is what a process does that is ended by a signal, where coverage would deadlock, and
    # branches that depend on which of two threads comes first.
    session.run("coverage", "report", "--precision=2", "--fail-under=99")


@nox.session(python=OLDEST)
def chains(session: nox.Session) -> None:
    """Run whole chains through Meltano into real targets."""
    _install(session, "test")
    session.run("pytest", "-m", "e2e", *(session.posargs or [*PARALLEL, "loadfile"]))


@nox.session(python=OLDEST, default=False)
def next_sdk(session: nox.Session) -> None:
    """Run the quick tests on the next version of the SDK, betas too.

    It may fail: what fails here has to be right before the pin in pyproject.toml moves.
    """
    _install(session, "test")
    session.install("--prerelease", "allow", "--upgrade-package", "singer-sdk", NEXT_SDK)
    session.run("python", "-m", "pytest", "-m", "not e2e", *session.posargs)


@nox.session(python=False, default=False)
def pin(session: nox.Session) -> None:
    """Write constraints.txt again. It holds hashes and no address of a package index."""
    session.run(
        *(UV, "pip", "compile", "--quiet", "--upgrade", "--universal", "--generate-hashes"),
        *("--python-version", SUPPORTED[0], "--output-file", "constraints.txt"),
        *(option for name in OWN for option in ("--no-emit-package", name)),
        *("--group", "test", "--group", "typing", "--group", "lint", "--group", "docs"),
        *(f"{folder}/pyproject.toml" for folder in [".", *MEMBERS]),
        external=True,
    )
