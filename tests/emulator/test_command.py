"""The command `partnercenter-emulator`, its flags, and the documentation of both."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import requests
import yaml

from partnercenter_emulator import Fault, Options
from partnercenter_emulator.cli import build_parser
from partnercenter_emulator.options import option_table
from partnercenter_emulator.running import run_command

README = Path(__file__).parents[2] / "emulator" / "README.md"
COMMAND = [sys.executable, "-m", "partnercenter_emulator"]


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | environment,
    )


def _python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def test_exec_passes_urls_to_the_command_and_returns_its_exit_code() -> None:
    """The command gets the emulator's address in environment variables, and keeps its own `--`."""
    code = (
        "import os, sys, urllib.request as r;"
        "print(r.urlopen(os.environ['PARTNERCENTER_EMULATOR_URL'] + '/_emulator/data/counts')"
        ".read().decode());"
        "print(os.environ['TAP_PARTNERCENTER_CLIENT_SECRET'], sys.argv[1:]); sys.exit(7)"
    )
    done = _run(
        "exec", "--customers", "42", *_python(code), "--", "--customers=1",
        PARTNERCENTER_EMULATOR_CLIENT_SECRET="chosen",  # noqa: S106 - for a test
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (7, "")
    counts, rest = done.stdout.splitlines()
    assert json.loads(counts)["customers"] == 42
    assert rest == "chosen ['--', '--customers=1']"


def test_exec_says_how_the_command_died() -> None:
    """128 plus the signal's number, as in a shell."""
    done = _run("exec", *_python("import os; os.kill(os.getpid(), 9)"))
    assert done.returncode == 128 + signal.SIGKILL


def test_exec_reports_an_unknown_command_in_one_line(tmp_path: Path) -> None:
    """127 for a missing command, 126 for one that cannot be run."""
    done = _run("exec", "--", "no-such-command")
    assert done.returncode == 127
    assert done.stderr == "partnercenter-emulator: no-such-command: command not found\n"
    plain = tmp_path / "plain"
    plain.write_text("no program")
    done = _run("exec", "--", str(plain))
    assert done.returncode == 126
    assert len(done.stderr.splitlines()) == 1


def test_exec_forwards_signals() -> None:
    """The command decides how to handle a SIGTERM."""
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5));"
        "print('ready', flush=True); signal.pause()"
    )
    arguments = [*COMMAND, "exec", "--customers", "1", *_python(code)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 5


def test_a_keyboard_signal_reaches_the_command_once() -> None:
    """Even if standard input comes from elsewhere; the terminal sends the key to both."""
    code = (
        # Not `print`: the key may come while the line before is being written.
        "import os, signal, sys; seen = [];"
        "signal.signal(signal.SIGINT, lambda *_: (seen.append(1), os.write(1, b'key\\n')));"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(40 + len(seen)));"
        "print('ready', flush=True);\nwhile True: signal.pause()"
    )
    ours, theirs = pty.openpty()
    # A session leader that opens a terminal makes it its controlling terminal.
    opening = ["/bin/sh", "-c", 'exec 3<>"$0"; exec "$@"', os.ttyname(theirs)]
    with subprocess.Popen(
        [*opening, *COMMAND, "exec", "--customers", "1", *_python(code)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        # The command sees the key before the emulator does: the two signals do not merge into one.
        running.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, running.pid, os.WSTOPPED)
        os.write(ours, b"\x03")
        assert running.stdout.readline() == "key\n"
        running.send_signal(signal.SIGTERM)
        running.send_signal(signal.SIGCONT)
        assert running.wait(10) == 41
    os.close(ours)
    os.close(theirs)


def test_no_signal_is_lost_to_the_thread_that_serves() -> None:
    """A signal delivered to that thread would not wake the main thread, which handles it."""
    code = (
        "import os, signal; from partnercenter_emulator import Emulator;"
        "emulator = Emulator(); emulator.start();"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1});"
        "os.kill(os.getpid(), signal.SIGUSR1);"
        "assert emulator.requests == [], 'the thread has woken';"
        "print(signal.sigpending() == {signal.SIGUSR1})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "example.com, ::1"}, "example.com,::1,127.0.0.1,localhost"),
        ({"no_proxy": "one", "NO_PROXY": "other"}, "one,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_the_emulator_is_not_reached_through_a_proxy(given: dict[str, str], expected: str) -> None:
    """Existing exceptions are kept."""
    code = "import os; print(os.environ['NO_PROXY']); print(os.environ['no_proxy'])"
    cleared = {"NO_PROXY": "", "no_proxy": ""}
    done = _run("exec", "--customers", "1", *_python(code), **(cleared | given))
    assert done.stdout.splitlines() == [expected] * 2


def test_a_console_of_windows_sends_its_keys_to_the_command_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Windows `Popen` only knows SIGTERM and raises for any other signal."""
    sent: list[int] = []

    class Child(subprocess.Popen[bytes]):
        def send_signal(self, sig: int) -> None:
            assert sig == signal.SIGTERM, "Unsupported signal"
            sent.append(sig)
            super().send_signal(sig)

        def wait(self, timeout: float | None = None) -> int:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(number)
            return super().wait(timeout)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "Popen", Child)
    code = run_command([sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
    assert (code, sent) == (128 + signal.SIGTERM, [signal.SIGTERM])


def test_serve_prints_its_url_and_stops_on_request(tmp_path: Path) -> None:
    """It prints lines for a shell, follows its options and rules, and exits with 0."""
    rules = tmp_path / "faults.json"
    rules.write_text('[{"place": "token", "status": 503}]')
    arguments = ["serve", "--port", "0", "--customers", "4", "--bom", "all", "--gzip"]
    command = [*COMMAND, *arguments, "--faults", str(rules)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        title, *_ = lines = [running.stdout.readline().strip() for _ in range(8)]
        assert "4 customers" in title
        exports = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
        url = exports["PARTNERCENTER_EMULATOR_URL"]
        with requests.Session() as client:
            client.trust_env = False
            about = client.get(f"{url}/_emulator", timeout=5).json()
        assert (about["options"]["bom"], about["options"]["gzip"]) == ("all", True)
        assert about["faults"][0]["status"] == 503
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (["serve", "--host", "0.0.0.0"], "other machines"),  # noqa: S104
        (["serve", "--latency", "-1"], "latency"),
        (["serve", "--faults", "no-such-file"], "no-such-file"),
        (["serve", "--port", "99999"], "port"),
        (["serve", "--", "true"], "exec"),
        (["exec", "--customers", "1"], "-- command"),
        ([], "required"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(arguments: list[str], reported: str) -> None:
    """Exit code 2, no traceback."""
    done = _run(*arguments)
    assert done.returncode == 2
    assert reported in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_every_option_is_a_flag_with_its_default() -> None:
    """The parser's defaults are the default options, and each flag changes its option."""
    parsed = vars(build_parser().parse_args(["serve"]))
    server = {"action", "host", "port", "allow_remote", "allowed_host", "faults"}
    given = {name: value for name, value in parsed.items() if name not in server}
    assert Options(**given) == Options()
    assert list(given) == [field.name for field in msgspec.structs.fields(Options)]
    for option in option_table():
        value = {"int": "7", "float": "1.5", "choice": option.choices[-1:]}.get(option.kind)
        flags = [option.flag, *([value] if isinstance(value, str) else value or [])]
        changed = vars(build_parser().parse_args(["exec", *flags]))[option.name]
        expected = {"int": 7, "float": 1.5, "flag": True}.get(option.kind, option.choices[-1:])
        assert changed == (expected[0] if isinstance(expected, tuple) else expected)


def _blocks(language: str) -> list[str]:
    text = README.read_text(encoding="utf-8")
    return [part.split("```")[0] for part in text.split(f"```{language}\n")[1:]]


@pytest.mark.parametrize("code", _blocks("python"))
def test_the_readmes_code_runs(code: str) -> None:
    """The examples work."""
    exec(compile(code, str(README), "exec"), {})  # noqa: S102


def test_the_readmes_two_containers_understand_each_other() -> None:
    """On one network: their messages to each other, sent between two processes."""
    (document,) = _blocks("yaml")
    services = yaml.safe_load(document)["services"]
    serve, tap = services["emulator"], services["tap"]
    assert tap["network_mode"] == "service:emulator"
    name, *arguments = serve["command"].replace("8080", "0").split()
    assert name == "partnercenter-emulator"
    arguments += ["--customers", "4", "--resellers", "1"]
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, **serve["environment"]},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        assert first.endswith(" with 4 customers and 1 reseller\n")
        url = first.split()[5]
        variables = {
            name: text.replace("http://127.0.0.1:8080", url)
            for name, text in tap["environment"].items()
        }
        ended = subprocess.run(
            [sys.executable, "-m", "tap_partnercenter", *tap["command"].split()],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        running.terminate()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count('"RECORD"') > 4


def test_the_readmes_commands_and_rules_are_understood() -> None:
    """Each command line parses, and the list of rules is valid."""
    lines = [line for block in _blocks("console") for line in block.splitlines()]
    commands = [line.split()[2:] for line in lines if line.startswith("$ partnercenter-emulator ")]
    assert len(commands) == 3
    for command in commands:
        own = command[: command.index("--")] if "--" in command else command
        build_parser().parse_args(own)
    (rules,) = _blocks("json")
    assert len(msgspec.json.decode(rules, type=list[Fault])) == 4
