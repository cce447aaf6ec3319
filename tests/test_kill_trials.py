"""Tap, target and emulator interrupted anywhere, with real PostgreSQL and changing data.

The warehouse never loses a row that the API holds, and after the next pass in one go both agree.
More trials: `pytest tests/test_kill_trials.py --kill-count 1000 --kill-seed 7`.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import pytest
import requests
from psycopg import sql

from tests.truth import KEYS, held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.warehouse import Pipe

pytestmark = pytest.mark.e2e

#: Seconds after which a trial gives up on a process; normally nothing takes nearly as long.
PATIENCE = 120
LINK_FORMS = ["relative", "versioned", "absolute", "double_question", "token_only", "rotate"]
#: Each form of a link in a world that stays as it is, and in one that changes.
WORLDS = [(form, changing) for form in LINK_FORMS for changing in (False, True)]
AT_ONCE = 3
VICTIMS = ["tap", "target", "emulator", "pipe"]
CREDENTIALS = {
    "PARTNERCENTER_EMULATOR_CLIENT_SECRET": "the secret of the kill trials",
    "PARTNERCENTER_EMULATOR_REFRESH_TOKEN": "the refresh token of the kill trials",
}


def without_coverage() -> dict[str, str]:
    """The environment, without coverage in processes that will be killed."""
    return {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}


class Partner:
    """An emulator in its own process, which restarts with the same data after a kill."""

    def __init__(self, *options: str) -> None:
        """Start it."""
        self.options = options
        self.changes: list[tuple[str, str, dict[str, Any]]] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        """Serve on the same port as the first time, with all changes made since."""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "partnercenter_emulator", "serve"),
                *(f"--port={self.port}", *self.options),
            ],
            env={**without_coverage(), **CREDENTIALS},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        words = shlex.split(
            "".join(self.process.stdout.readline() for _ in range(8)), comments=True
        )
        self.environment = dict(word.split("=", 1) for word in words if word != "export")
        self.url = self.environment["PARTNERCENTER_EMULATOR_URL"]
        self.port = int(self.url.rpartition(":")[2])
        for change in self.changes:
            self._send(*change)

    def signal_process(self, number: signal.Signals) -> None:
        """End it with a signal."""
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)

    def change(self, method: str, path: str = "", **body: Any) -> None:
        """Change the data, and remember the change for the next start."""
        self._send(method, path, body)
        self.changes.append((method, path, body))

    def _send(self, method: str, path: str, body: dict[str, Any]) -> None:
        answer = requests.request(
            method, f"{self.url}/_emulator/customers{path}", json=body, timeout=PATIENCE
        )
        answer.raise_for_status()

    def _data(self, kind: str) -> Iterator[dict[str, Any]]:
        answer = requests.get(f"{self.url}/_emulator/data/{kind}", timeout=PATIENCE)
        answer.raise_for_status()
        return map(json.loads, answer.content.splitlines())

    def customers(self) -> Iterator[dict[str, Any]]:
        return self._data("customers")

    def resellers(self) -> Iterator[dict[str, Any]]:
        return self._data("resellers")

    def memberships(self) -> Iterator[dict[str, Any]]:
        return self._data("memberships")

    def relationships(self) -> Iterator[dict[str, Any]]:
        return self._data("relationships")


class Trial:
    """A partner, its tables in the warehouse, and the states confirmed by the target."""

    def __init__(self, number: int, seed: int, pipe: Pipe) -> None:
        """Create the world of this number; half of the worlds change between the runs."""
        self.link_form, self.changing = WORLDS[number]
        # Each form of a link has tokens by key and by position, one of the two in a changing world.
        by = "key" if (number // 2 + self.changing) % 2 else "position"
        self.name = f"trial {number}: {self.link_form} links, tokens by {by}, seed {seed}"
        self.pipe = pipe
        self.schema = f"trial{number}"
        self.rng = random.Random(f"{seed} {number}")  # noqa: S311
        options = {
            "customers": 45,
            "resellers": 3,
            "seed": number + 1,
            "latency": 0.002,
            "link-form": self.link_form,
            "continuation-by": by,
        }
        self.partner = Partner(*(f"--{name}={value}" for name, value in options.items()))
        #: Two schedules that load the same tables, one after the other.
        self.states: dict[str, dict[str, Any]] = {"nightly": {}, "weekly": {}}
        self.size = 0
        self.equal = False
        self.rows: dict[str, set[tuple[str, ...]]] = {stream: set() for stream in KEYS}

    def run(self, schedule: str, victim: str | None = None) -> bool:
        """Load, and perhaps kill a process; return whether that happened.

        After each run, however it ended, the tables hold each earlier row that the API still has;
        after a complete run, all that the API has, unless the run continued with pages of data that
        have since changed.
        """
        kill_at = int(self.size * self.rng.random() ** 2) if victim else sys.maxsize
        number = self.rng.choice([signal.SIGKILL, signal.SIGTERM])
        restarts_at_once = self.rng.random() < 0.5
        with (
            tempfile.TemporaryFile() as log,
            self._tap(self.states[schedule], log) as tap,
            self._target(log) as target,
        ):
            assert tap.stdout is not None
            assert target.stdin is not None
            assert target.stdout is not None
            passed, read_whole = 0, False
            with suppress(BrokenPipeError):
                while block := os.read(tap.stdout.fileno(), min(8192, max(1, kill_at - passed))):
                    target.stdin.write(block)
                    passed += len(block)
                    if passed < kill_at:
                        continue
                    kill_at = sys.maxsize
                    if victim == "emulator":
                        self.partner.signal_process(number)
                        if restarts_at_once:
                            self.partner.start()
                    elif victim == "pipe":
                        break
                    else:
                        (tap if victim == "tap" else target).send_signal(number)
                else:
                    # A target that gets a signal may exit with 0 although it left lines unread.
                    read_whole = victim != "target" or kill_at < sys.maxsize
                target.stdin.close()
            tap.stdout.close()
            confirmed = target.stdout.read().splitlines()
            exit_codes = tap.wait(PATIENCE), target.wait(PATIENCE)
            complete = read_whole and exit_codes == (0, 0)
            log.seek(0)
            said = log.read().decode()
        if self.partner.process.poll() is not None:
            self.partner.start()
        if confirmed:
            self.states[schedule] = json.loads(confirmed[-1])
        killed = bool(victim) and kill_at == sys.maxsize
        assert complete or killed, f"{self.name}: failed without an interruption\n{said[-4000:]}"
        self.size = max(self.size, passed)
        self._check(complete=complete, resumed="resumed where an earlier run" in said)
        return killed

    def _check(self, *, complete: bool, resumed: bool) -> None:
        before, self.rows = self.rows, self._loaded()
        for stream, keys in held(self.partner).items():
            valid, rows = set(keys), self.rows[stream]
            assert not (before[stream] & valid) - rows, f"{self.name}: deleted valid {stream}"
            if complete and not (resumed and self.changing):
                assert not valid - rows, f"{self.name}: {stream} missing after exit code 0"
            if complete and not resumed:
                assert rows == valid, f"{self.name}: vanished {stream} left behind"
        self.equal = complete and not resumed

    def _loaded(self) -> dict[str, set[tuple[str, ...]]]:
        found = {}
        with self.pipe.server.connect() as connection:
            for stream, key in KEYS.items():
                columns = sql.SQL(", ").join(map(sql.Identifier, key))
                table = sql.Identifier(self.schema, stream)
                query = sql.SQL("select {} from {}").format(columns, table)
                if connection.execute(
                    "select to_regclass(%s)", [table.as_string(connection)]
                ).fetchone() != (None,):
                    rows = connection.execute(query).fetchall()
                    found[stream] = set(rows)
                    assert len(rows) == len(found[stream]), f"{self.name}: {stream} has rows twice"
                else:
                    found[stream] = set()
        return found

    @contextmanager
    def _tap(self, state: dict[str, Any], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(state, file)
            file.flush()
            settings = {
                "page_size": 5,
                "max_retry_seconds": 2,
                "emit_activate_version_messages": "true",
                # The worlds are small: the few departures may be more than a tenth of a table.
                "max_vanished_percent": 100,
            }
            with _process(
                [sys.executable, "-m", "tap_partnercenter", "--config=ENV", "--state", file.name],
                log,
                **self.partner.environment,
                **{f"TAP_PARTNERCENTER_{k.upper()}": str(v) for k, v in settings.items()},
            ) as process:
                yield process

    @contextmanager
    def _target(self, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            own = {"default_target_schema": self.schema, "hard_delete": True, "use_copy": True}
            json.dump({"sqlalchemy_url": self.pipe.server.sqlalchemy_url, **own}, file)
            file.flush()
            with _process([self.pipe.target, "--config", file.name], log) as process:
                yield process

    def change_customers(self) -> None:
        """Let customers leave and join, and relationships come and go."""
        resellers = [reseller["id"] for reseller in self.partner.resellers()]
        served = {membership["customer_id"] for membership in self.partner.memberships()}
        ids = [customer["id"] for customer in self.partner.customers()]
        left, other, abandoned, moved = self.rng.sample(ids, 4)
        for customer in (left, other):
            self.partner.change("DELETE", f"/{customer}")
            domain = f"new{len(self.partner.changes)}.example"
            reseller = self.rng.choice(resellers)
            self.partner.change("POST", name="New, Ltd.", domain=domain, reseller_id=reseller)
        self.partner.change("POST", f"/{abandoned}/reseller", reseller_id=None)
        for customer in (moved, *(one for one in ids[:3] if one not in {*served, left, other})):
            reseller = self.rng.choice(resellers)
            self.partner.change("POST", f"/{customer}/reseller", reseller_id=reseller)

    def interrupt(self, kills: int) -> int:
        """Load once, interrupt a number of runs, and load until both must be equal.

        Returns:
            How many runs were interrupted.
        """
        self.run("nightly")
        killed = 0
        # Each is struck in each world, and again only after all others.
        victims = self.rng.sample(VICTIMS, len(VICTIMS))
        while killed < kills:
            if self.changing:
                self.change_customers()
            schedule = self.rng.choice(["nightly", "nightly", "nightly", "weekly"])
            # The strike may come after the end of a run that had little left to do.
            if self.run(schedule, victims[killed % len(victims)]):
                killed += 1
        # The first may be a resumed pass, which deletes nothing.
        for _ in range(2):
            if self.changing:
                self.change_customers()
            self.run("nightly")
        assert self.equal, f"{self.name}: resumed after a run that was complete"
        return killed


@contextmanager
def _process(
    command: list[str], log: IO[bytes], **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process between pipes, which ends with the block at the latest."""
    process = subprocess.Popen(
        command,
        env={**without_coverage(), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def test_nothing_is_lost_or_deleted_by_interruptions(
    pipe: Pipe, request: pytest.FixtureRequest
) -> None:
    """SIGKILL, SIGTERM and closed pipes at any byte, with every form of link."""
    seed, wanted = (request.config.getoption(name) for name in ("--kill-seed", "--kill-count"))
    kills = -(-wanted // len(WORLDS))

    def one(number: int) -> int:
        trial = Trial(number, seed, pipe)
        try:
            return trial.interrupt(kills)
        finally:
            trial.partner.signal_process(signal.SIGKILL)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        trials = [pool.submit(one, number) for number in range(len(WORLDS))]
        try:
            killed = [trial.result() for trial in trials]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    assert killed == [kills] * len(WORLDS)
