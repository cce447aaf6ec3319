"""The emulator, as a process of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
import psutil
import requests

if TYPE_CHECKING:
    from types import TracebackType

    from .scenarios import Case

T = TypeVar("T")

TIMEOUT = 300.0
_PREFIX = "TAP_PARTNERCENTER_"


class Stats(msgspec.Struct):
    """What the emulator counted, as far as it matters here."""

    requests: int
    in_flight: int
    most_in_flight: int
    refused: int
    inside_retry_after: int
    tokens_issued: int


class Logged(msgspec.Struct):
    """When a request came and how it was answered."""

    at: float
    status: int
    place: str


class _Partner(msgspec.Struct):
    reseller_id: str


class Server:
    """An emulator that runs within a `with` statement."""

    def __init__(self, case: Case) -> None:
        """Prepare the emulator of a case."""
        self._case = case
        command = [sys.executable, "-m", "partnercenter_emulator", "serve", "--port", "0"]
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, *case.options], stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        """Wait until it serves, and learn what it holds."""
        assert self._process.stdout is not None  # noqa: S101 - opened above
        exports = {}
        for line in self._process.stdout:
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                exports[name] = value
            if "PARTNERCENTER_EMULATOR_URL" in exports:
                break
        else:
            self._process.wait()
            message = "the emulator did not start"
            raise RuntimeError(message)
        self._url = exports.pop("PARTNERCENTER_EMULATOR_URL")
        self._session = requests.Session()
        self._session.trust_env = False
        self.settings: dict[str, Any] = {
            name.removeprefix(_PREFIX).lower(): value for name, value in exports.items()
        }
        self._measured = psutil.Process(self._process.pid)
        self.partition_sizes: list[int] = []
        self.expected = self._expect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None  # noqa: S101 - opened above
        self._process.stdout.close()
        if hasattr(self, "_session"):
            self._session.close()

    def reset(self) -> None:
        """Forget the requests so far, once the last of them is answered, and open a new window."""
        deadline = time.monotonic() + TIMEOUT
        while self.stats().in_flight and time.monotonic() < deadline:
            time.sleep(0.05)
        self._session.delete(f"{self._url}/_emulator/stats", timeout=TIMEOUT).raise_for_status()
        for quota in (0, self._case.quota) if self._case.quota else ():
            # A change makes it start untouched.
            self._session.patch(
                f"{self._url}/_emulator/options",
                json={"requests_per_minute": quota},
                timeout=TIMEOUT,
            ).raise_for_status()

    def stats(self) -> Stats:
        """Return the counts since the last reset."""
        return self._get("stats", Stats)

    def log(self) -> list[Logged]:
        """Return the requests since the last reset."""
        return self._get("requests", list[Logged])

    def processor_seconds(self) -> float:
        """Return what the emulator has used so far."""
        times = self._measured.cpu_times()
        return times.user + times.system

    def _expect(self) -> dict[str, int]:
        """Count the records that a run must have, and choose the partitions."""
        case, expected = self._case, {}
        if "customers" in case.streams:
            expected["customers"] = self._get("data/counts", dict[str, int])["customers"]
        if "customer_relationships" in case.streams:
            expected["customer_relationships"] = len(self._lines("data/relationships"))
        if "reseller_customers" in case.streams:
            sizes: dict[str, int] = {}
            for line in self._lines("data/memberships"):
                reseller = msgspec.json.decode(line, type=_Partner).reseller_id
                sizes[reseller] = sizes.get(reseller, 0) + 1
            ranking = sorted(sizes, key=lambda each: -sizes[each])[case.partitions]
            # As somebody would configure them: in no order.
            chosen = self.settings["reseller_ids"] = sorted(ranking)
            self.partition_sizes = [sizes[each] for each in chosen]
            expected["reseller_customers"] = sum(self.partition_sizes)
        return expected

    def _lines(self, path: str) -> list[bytes]:
        answer = self._session.get(f"{self._url}/_emulator/{path}", timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content.splitlines()

    def _get(self, path: str, kind: type[T]) -> T:
        answer = self._session.get(f"{self._url}/_emulator/{path}", timeout=TIMEOUT)
        answer.raise_for_status()
        return msgspec.json.decode(answer.content, type=kind)
