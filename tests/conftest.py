"""Fixtures for all tests: an emulated Partner Center, and the tap's command line against it."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from coverage import Coverage
from hypothesis import settings

from partnercenter_demo import postgres
from partnercenter_demo.workspace import Workspace
from partnercenter_emulator import Credentials, Emulator, Options
from tests.command_line import Result, run_tap
from tests.nights import World
from tests.warehouse import NO_DUCKDB, Pipe, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from partnercenter_demo.postgres import Server
    from partnercenter_emulator import Fault, Fixture
    from tests.warehouse import Project


# Property-based tests try a few examples; `--hypothesis-profile whole` (nightly) tries many more,
# and `--sample` fewer.
settings.register_profile("sample", max_examples=5)
settings.register_profile("quick", max_examples=15)
settings.register_profile("whole", max_examples=300)
settings.load_profile("quick")

#: Encrypts the tokens stored by a test.
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()

# These tests need POSIX terminals and signals.
POSIX = ["emulator/test_command.py", "test_interruption.py", "test_output.py", "test_report.py"]
POSIX += ["test_token_cache.py", "test_untrusted_bodies.py", "demo", "orchestrate"]
collect_ignore = POSIX if sys.platform == "win32" else []

# Cache bytecode even if the image says not to: the tests start hundreds of processes,
# and a short one spends most of its time compiling.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="Write the golden files again instead of comparing with them.",
    )
    parser.addoption(
        "--sample",
        type=int,
        metavar="N",
        help="Run at most N cases of each test, with as many values as possible between them.",
    )
    trials = parser.getgroup("kill trials")
    trials.addoption(
        "--kill-seed", type=int, default=1, help="what is killed, and when (%(default)s)"
    )
    trials.addoption(
        "--kill-count", type=int, default=108, help="processes to kill, at least (%(default)s)"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--sample") and not config.getoption("--hypothesis-profile"):
        settings.load_profile("sample")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Save what coverage has seen: xdist kills a worker that takes ten seconds to end."""
    if coverage := Coverage.current():
        coverage.save()


@pytest.hookimpl(trylast=True)  # after deselection
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    most = config.getoption("--sample")
    if most is None:
        return
    tests = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item)
    kept = {case for cases in tests.values() for case in _sample(cases, most)}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def _sample(cases: list[pytest.Item], most: int) -> list[pytest.Item]:
    """Repeatedly pick the case with the most values that no picked case has."""
    if len(cases) <= most:
        return cases
    values = {
        case: {(name, repr(value)) for name, value in case.callspec.params.items()}
        for case in cases
        if isinstance(case, pytest.Function)
    }
    taken: list[pytest.Item] = []
    for _ in range(most):
        new = max(values, key=lambda case: len(values[case]))
        taken.append(new)
        seen = values.pop(new)
        values = {case: found - seen for case, found in values.items()}
    return taken


#: Needed by the tests of the login in a real browser, which are not collected without it.
MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
collect_ignore += ["test_browser.py"] if MISSING else []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say clearly which tests this machine does not allow."""
    if MISSING:
        terminalreporter.section("NO BROWSER", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"{' and '.join(MISSING)} not found: the login was tested over HTTP, and not in a "
            "browser (tests/test_browser.py). On Debian: apt-get install chromium chromium-driver"
        )
    if NO_DUCKDB:
        terminalreporter.section("NO DUCKDB", sep="!", red=True, bold=True)
        terminalreporter.line(
            "python3.11 not found: target-duckdb needs it, and nothing was loaded into DuckDB "
            "(tests/targets). With uv: uv python install 3.11"
        )


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests independent of the developer's settings, proxies and log levels."""
    for name in list(os.environ):
        if name.startswith(("TAP_PARTNERCENTER_", "SINGER_SDK_")) or name.lower().endswith(
            ("_proxy", "loglevel", "ca_bundle"),
        ):
            monkeypatch.delenv(name)


class Start(Protocol):
    """Start emulators that stop with the test: `start(customers=7, link_form="rotate")`."""

    def __call__(
        self,
        *faults: Fault,
        fixture: Fixture | None = None,
        credentials: Credentials | None = None,
        **options: Any,
    ) -> Emulator: ...


class Broken(Protocol):
    """Start an emulator with faults, as the fixture `broken` does."""

    def __call__(self, *faults: Fault) -> Emulator: ...


class Sync(Protocol):
    """Run a whole sync against an emulator: `sync(emulator, page_size=3)`."""

    def __call__(
        self,
        emulator: Emulator,
        *arguments: str,
        app_only: bool = False,
        state: dict[str, Any] | None = None,
        catalog: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Result: ...


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start_one(
            *faults: Fault,
            fixture: Fixture | None = None,
            credentials: Credentials | None = None,
            **options: Any,
        ) -> Emulator:
            small = Options(**{"customers": 7, "resellers": 2, **options})
            return stack.enter_context(
                Emulator(small, faults=faults, fixture=fixture, credentials=credentials)
            )

        yield start_one


@pytest.fixture
def sync() -> Sync:
    def sync_one(
        emulator: Emulator,
        *arguments: str,
        app_only: bool = False,
        state: dict[str, Any] | None = None,
        catalog: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Result:
        config = {**emulator.tap_config(app_only=app_only), **settings}
        return run_tap(*arguments, config=config, state=state, catalog=catalog)

    return sync_one


@pytest.fixture
def broken(start: Start) -> Broken:
    """Start an emulator with faults: three pages of customers, all from one reseller."""
    return lambda *faults: start(*faults, customers=8, resellers=1)


@pytest.fixture(scope="session")
def database() -> Iterator[Server]:
    """An empty PostgreSQL, without Meltano and its plugins."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        workspace = Workspace(Path(folder))
        with workspace.opened() as lock:
            postgres.create(workspace)
            with postgres.running(workspace, lock) as server:
                yield server


@pytest.fixture
def table(database: Server) -> str:
    """Return the address of a database without the table."""
    with database.connect() as connection:
        connection.execute("drop table if exists tap_partnercenter_tokens")
    return database.sqlalchemy_url


@pytest.fixture(params=["file", "encrypted file", "database"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the settings of each kind of store."""
    if request.param == "file":
        return {"token_cache_path": str(tmp_path / "tokens")}
    if request.param == "encrypted file":
        return {"token_cache_path": str(tmp_path / "tokens"), "token_cache_key": KEY}
    path = request.getfixturevalue("table")
    return {"token_cache_path": path, "token_cache_key": KEY}


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """Share one PostgreSQL server and one installation of the plugins among the tests."""
    with installed() as project:
        yield project


@pytest.fixture(scope="session")
def pipe(project: Project) -> Pipe:
    """Run the project's target on the output of the tap in the test process."""
    return Pipe(project.server, project.program("target-postgres", "target-postgres"))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with world.emulator:
        yield world
