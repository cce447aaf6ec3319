"""The checks: `uvx nox` runs lint, types and tests on every supported Python that is installed."""

from __future__ import annotations

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
MEMBERS = ["benchmarks", "demo", "emulator"]
OWN = ["tap-partnercenter", *(f"partnercenter-{member}" for member in MEMBERS)]
PACKAGES = [option for folder in [".", *MEMBERS] for option in ("-e", folder)]
PINNED = ["--constraint", "constraints.txt"]
NEXT_SDK = "singer-sdk[msgspec]>=0.55.0b7"

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
# Only what is on the machine is used; a Python that is not there is named and passed over.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False


def _install(session: nox.Session, *groups: str) -> None:
    project = nox.project.load_toml("pyproject.toml")
    wanted = nox.project.dependency_groups(project, *groups)
    session.install(*PACKAGES, *(name for name in wanted if name not in OWN), *PINNED)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Format and lint."""
    _install(session, "lint")
    session.run("ruff", "format", "--check")
    session.run("ruff", "check")


@nox.session(python=PYTHONS)
def types(session: nox.Session) -> None:
    """Check types strictly."""
    _install(session, "typing")
    session.run("mypy")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the quick tests, and on the oldest Python demand that they cover every branch."""
    _install(session, "test")
    quick = ["-m", "pytest", "-m", "not e2e", *session.posargs]
    if session.python != PYTHONS[0] or session.posargs:
        session.run("python", *quick)
        return
    session.run("coverage", "erase")
    session.run("coverage", "run", *quick)
    session.run("coverage", "combine", "--quiet")
    # All of it, but for a branch or two that depend on which of two threads comes first.
    session.run("coverage", "report", "--precision=2", "--fail-under=99.9")


@nox.session(python=PYTHONS[0])
def chains(session: nox.Session) -> None:
    """Run whole chains through Meltano into real targets."""
    _install(session, "test")
    session.run("pytest", "-m", "e2e", *session.posargs)


@nox.session(python=PYTHONS[0], default=False)
def next_sdk(session: nox.Session) -> None:
    """Run the quick tests on the next version of the SDK, betas too.

    It may fail: what fails here has to be right before the pin in pyproject.toml moves.
    """
    _install(session, "test")
    session.install("--prerelease", "allow", "--upgrade-package", "singer-sdk", NEXT_SDK)
    session.run("python", "-m", "pytest", "-m", "not e2e", *session.posargs)


@nox.session(python=False, default=False)
def pin(session: nox.Session) -> None:
    """Write constraints.txt anew. It holds hashes and no address of a package index."""
    session.run(
        *("uv", "pip", "compile", "--quiet", "--upgrade", "--universal", "--generate-hashes"),
        *("--python-version", PYTHONS[0], "--output-file", "constraints.txt"),
        *(option for name in OWN for option in ("--no-emit-package", name)),
        *("--group", "test", "--group", "typing", "--group", "lint"),
        *(f"{folder}/pyproject.toml" for folder in [".", *MEMBERS]),
        external=True,
    )
