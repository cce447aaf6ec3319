"""The program that runs Meltano: its exit codes, and that no process outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command_line import FINAL
from tests.orchestrate.conftest import ORCHESTRATE

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.orchestrate.conftest import Chain

PROGRAM = str(ORCHESTRATE / "dags" / "partnercenter_meltano.py")
#: Meltano's message after a tap has failed, without the irrelevant parts.
FAILED = '{"name": "meltano", "code": %d, "message": "…", "event": "Extraction failed"}'
#: Prints that it is up with a child, and later that the child survived, to a pipe whose reader
#: waits until no process is left that could write.
IGNORES_SIGTERM = """
trap "" TERM
exec 9>"$0"
(sleep 20; echo survived >&9) &
echo up >&9
wait
"""
#: A task: starts the program with a short grace period, and reads its output.
TASK = f"""
import subprocess, sys

program = "import partnercenter_meltano as m, sys; sys.exit(m.run(sys.argv[1:], grace=0.3))"
command = [sys.executable, "-c", program, *sys.argv[1:]]
started = subprocess.Popen(
    command, cwd={str(ORCHESTRATE / "dags")!r}, stdout=subprocess.PIPE, start_new_session=True
)
print(started.pid, flush=True)
sys.exit(started.wait())
"""


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 1", 1),
        ("kill -KILL $$", 137),
        (f"echo '{FAILED % FINAL}'; exit 1", FINAL),
        (f"echo '{FAILED % 1}'; exit 1", 1),
        ("echo 78; echo '[78]'; echo 'Extraction failed code=78'; exit 1", 1),
    ],
)
def test_the_exit_code_shows_what_a_retry_cannot_fix(script: str, code: int) -> None:
    """Otherwise it is Meltano's; Meltano's output is passed on unchanged."""
    command = ["/bin/sh", "-c", script]
    direct = subprocess.run(command, capture_output=True, text=True, check=False)
    ended = subprocess.run(
        [sys.executable, PROGRAM, *command], capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert ended.stdout == direct.stdout
    assert ended.stderr == ""


@pytest.mark.parametrize("victim", ["task", "program"])
def test_no_process_outlives_its_parent(victim: str, tmp_path: Path) -> None:
    """Whether the task is killed or the program gets a signal; finally by SIGKILL."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(
        [sys.executable, "-c", TASK, "/bin/sh", "-c", IGNORES_SIGTERM, pipe],
        stdout=subprocess.PIPE,
        text=True,
    ) as task:
        assert task.stdout is not None
        program = int(task.stdout.readline())
        with pipe.open() as written:
            assert written.readline() == "up\n"
            if victim == "task":
                task.kill()
            else:
                os.kill(program, signal.SIGTERM)
            assert written.read() == ""
    assert task.returncode == (-signal.SIGKILL if victim == "task" else 137)


#: Like Meltano: stores the state after the target's end, unless it is stopped itself.
STORES_STATE = """
trap "echo dropped; exit 143" TERM
"$0" &
echo up
wait $!
echo stored
exit 1
"""


if sys.platform == "linux":

    def test_the_state_is_stored_before_meltano_is_stopped(tmp_path: Path) -> None:
        """A stopped task continues where it was, and not at the state of minutes ago."""
        tap = tmp_path / "tap-partnercenter"
        tap.write_text("#!/bin/sh\nwhile :; do sleep 0.1; done\n")
        tap.chmod(0o755)
        with subprocess.Popen(
            [sys.executable, PROGRAM, "/bin/sh", "-c", STORES_STATE, tap],
            stdout=subprocess.PIPE,
            text=True,
        ) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "up\n"
            program.terminate()
            *_, last = program.stdout
            assert last == "stored\n"
        assert program.returncode == 1


def marked(mark: str) -> set[str]:
    """The processes with a text in their environment, except zombies."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.add((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended, or is another user's
    return found


@pytest.mark.e2e
def test_meltano_ends_with_its_task(chain: Chain, start: Start, tmp_path: Path) -> None:
    """The task is killed while tap and target are running; none of the three is left."""
    emulator = start(latency=30)
    mark = f"MARK={tmp_path}"
    task = (
        "import subprocess, sys; subprocess.run("
        "[sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE, start_new_session=True)"
    )
    load = ("el", "--no-install", "--state-id=dev:killed", "tap-partnercenter", "target-postgres")
    with subprocess.Popen(
        [sys.executable, "-c", task, PROGRAM, "meltano", "--environment=dev", *load],
        env={
            **chain.variables,
            **emulator.environment(),
            "TARGET_POSTGRES_SQLALCHEMY_URL": chain.server.sqlalchemy_url,
            "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": "killed",
            "MARK": str(tmp_path),
        },
    ) as running:
        while not emulator.stats().tokens_issued:
            assert running.poll() is None
            time.sleep(0.1)
        before = marked(mark)
        running.kill()
    for name in ("meltano --environment", "/tap-partnercenter ", "/target-postgres "):
        assert any(name in command for command in before), (name, before)
    patience = time.monotonic() + 60
    while left := marked(mark):
        assert time.monotonic() < patience, left
        time.sleep(0.1)
