"""The emulator in a process of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import psutil
import requests

from .floor import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .cases import Case

T = TypeVar("T")

TIMEOUT = 300.0
_PREFIX = "TAP_PARTNERCENTER_"


class Stats(msgspec.Struct):
    """The emulator's counts that matter here."""

    requests: int
    in_flight: int
    most_in_flight: int
    refused: int


class _Logged(msgspec.Struct):
    at: float
    status: int
    place: str


class _Partner(msgspec.Struct):
    reseller_id: str


@contextmanager
def serving(case: Case) -> Iterator[Server]:
    """Run the emulator of a case within a `with` statement."""
    command = [sys.executable, "-m", "partnercenter_emulator", "serve", "--port", "0"]
    with (
        subprocess.Popen(  # noqa: S603 - our own command
            [*command, *case.options], stdout=subprocess.PIPE, text=True
        ) as process,
        requests.Session() as session,
    ):
        session.trust_env = False
        try:
            yield Server(case, process, session)
        finally:
            process.terminate()


class Server:
    """A running emulator."""

    def __init__(
        self, case: Case, process: subprocess.Popen[str], session: requests.Session
    ) -> None:
        """Wait until it serves, and read what data it has."""
        assert process.stdout is not None  # noqa: S101 - opened above
        exports = {}
        for line in process.stdout:
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                exports[name] = value
            if "PARTNERCENTER_EMULATOR_URL" in exports:
                break
        else:
            message = "the emulator did not start"
            raise RuntimeError(message)
        self._case, self._session = case, session
        self._url = exports.pop("PARTNERCENTER_EMULATOR_URL")
        self.settings: dict[str, Any] = {
            name.removeprefix(_PREFIX).lower(): value for name, value in exports.items()
        }
        self._measured = psutil.Process(process.pid)
        self.expected = self._expect()

    def reset(self) -> None:
        """Forget the requests so far, once the last of them has been answered."""
        deadline = time.monotonic() + TIMEOUT
        while self.stats().in_flight and time.monotonic() < deadline:
            time.sleep(0.05)
        self._session.delete(f"{self._url}/_emulator/stats", timeout=TIMEOUT).raise_for_status()

    def stats(self) -> Stats:
        """Return the counts since the last reset."""
        return self._get("stats", Stats)

    def arrivals(self) -> list[tuple[float, bool]]:
        """Return when each request since the reset arrived, in order, and whether it was let in."""
        log = [each for each in self._get("requests", list[_Logged]) if each.place != "token"]
        return sorted((each.at, each.status == HTTPStatus.OK) for each in log)

    def processor_seconds(self) -> float:
        """Return the CPU time of the emulator so far."""
        times = self._measured.cpu_times()
        return times.user + times.system

    def _expect(self) -> dict[str, int]:
        """Count the records that a run must have, and choose the partitions."""
        case, expected = self._case, dict[str, int]()
        if "customers" in case.streams:
            expected["customers"] = self._get("data/counts", dict[str, int])["customers"]
        for stream, place in PLACES.items():
            if stream in case.streams:
                expected[stream] = len(self._lines(f"data/{place}"))
        if "reseller_customers" in case.streams:
            sizes: dict[str, int] = {}
            for line in self._lines("data/memberships"):
                reseller = msgspec.json.decode(line, type=_Partner).reseller_id
                sizes[reseller] = sizes.get(reseller, 0) + 1
            ranking = sorted(sizes, key=lambda each: -sizes[each])[slice(*case.partitions)]
            # In no order, as in a real configuration.
            self.settings["reseller_ids"] = sorted(ranking)
            expected["reseller_customers"] = sum(sizes[each] for each in ranking)
        return expected

    def _lines(self, path: str) -> list[bytes]:
        answer = self._session.get(f"{self._url}/_emulator/{path}", timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content.splitlines()

    def _get(self, path: str, kind: type[T]) -> T:
        answer = self._session.get(f"{self._url}/_emulator/{path}", timeout=TIMEOUT)
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=kind)
