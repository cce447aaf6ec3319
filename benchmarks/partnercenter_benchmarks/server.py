"""The emulator in a process of its own."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from contextlib import contextmanager
from http import HTTPStatus
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any

import msgspec
import requests

from .floor import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .cases import Case

TIMEOUT = 300.0


@contextmanager
def serving(case: Case) -> Iterator[Server]:
    """Run the emulator of a case within a `with` statement."""
    command = [sys.executable, "-m", "partnercenter_emulator", "serve", "--port", "0"]
    with (
        Popen([*command, *case.options], stdout=PIPE, text=True) as process,  # noqa: S603
        requests.Session() as session,
    ):
        session.trust_env = False
        try:
            yield Server(case, process, session)
        finally:
            process.terminate()


class Server:
    """A running emulator."""

    def __init__(self, case: Case, process: Popen[str], session: requests.Session) -> None:
        """Wait until it serves, and read what data it has."""
        assert process.stdout is not None  # noqa: S101 - opened above
        exports: dict[str, str] = {}
        while "PARTNERCENTER_EMULATOR_URL" not in exports:
            line = process.stdout.readline()
            if not line:
                message = "the emulator did not start"
                raise RuntimeError(message)
            if line.startswith("export "):
                name, _, value = shlex.split(line)[1].partition("=")
                exports[name] = value
        self._session = session
        self._url = exports.pop("PARTNERCENTER_EMULATOR_URL")
        self.settings: dict[str, Any] = {
            name.removeprefix("TAP_PARTNERCENTER_").lower(): value
            for name, value in exports.items()
        }
        self.expected = self._expect(case)

    def reset(self) -> None:
        """Forget the requests so far, once the last of them has been answered."""
        deadline = time.monotonic() + TIMEOUT
        while self.stats()["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.05)
        self._session.delete(f"{self._url}/_emulator/stats", timeout=TIMEOUT).raise_for_status()

    def stats(self) -> dict[str, Any]:
        """Return the emulator's counts since the last reset."""
        return msgspec.json.decode(self._get("stats"), type=dict[str, Any])

    def arrivals(self) -> list[tuple[float, bool]]:
        """Return when each request since the reset arrived, in order, and whether it was let in."""
        log = msgspec.json.decode(self._get("requests"))
        asked = (each for each in log if each["place"] != "token")
        return sorted((each["at"], each["status"] == HTTPStatus.OK) for each in asked)

    def _expect(self, case: Case) -> dict[str, int]:
        """Count the records that a run must have, and choose the partitions."""
        expected: dict[str, int] = {}
        if "customers" in case.streams:
            expected["customers"] = msgspec.json.decode(self._get("data/counts"))["customers"]
        for stream, place in PLACES.items():
            if stream in case.streams:
                expected[stream] = len(self._get(f"data/{place}").splitlines())
        if "reseller_customers" in case.streams:
            lines = self._get("data/memberships").splitlines()
            sizes = Counter(msgspec.json.decode(line)["reseller_id"] for line in lines)
            ranking = sizes.most_common()[slice(*case.partitions)]
            # In no order, as in a real configuration.
            self.settings["reseller_ids"] = sorted(reseller for reseller, _ in ranking)
            expected["reseller_customers"] = sum(size for _, size in ranking)
        return expected

    def _get(self, path: str) -> bytes:
        response = self._session.get(f"{self._url}/_emulator/{path}", timeout=TIMEOUT)
        response.raise_for_status()
        return response.content
