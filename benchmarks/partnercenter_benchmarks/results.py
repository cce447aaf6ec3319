"""The figures of one session, as they are kept on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class Run(msgspec.Struct, kw_only=True):
    """One contestant's run, as a whole process. Seconds and bytes."""

    case: str
    contestant: str
    concurrency: int
    round: int
    #: `failed` ended with an error, `wrong` ended well and lost or repeated records.
    outcome: Literal["ok", "failed", "wrong"]
    detail: str = ""
    wall: float
    user: float
    system: float
    rss: int
    #: Standard output; dlt's files are not in it.
    stdout_bytes: int = 0
    log_lines: int = 0
    records: dict[str, int] = {}
    schemas: int = 0
    states: int = 0
    state_bytes: int = 0
    requests: int = 0
    refused: int = 0
    inside_retry_after: int = 0
    most_in_flight: int = 0
    tokens: int = 0
    server_cpu: float = 0.0
    #: Share of the quota that was used after the first window, 1 for all of it.
    quota_used: float | None = None

    @property
    def cpu(self) -> float:
        """Seconds of the processor."""
        return self.user + self.system

    @property
    def record_count(self) -> int:
        """Records of all streams."""
        return sum(self.records.values())


class CaseFacts(msgspec.Struct, kw_only=True):
    """What a reader needs to know of a case."""

    name: str
    scenario: str
    title: str
    expected: dict[str, int]
    latency: float
    page_size: int
    quota: int = 0
    #: How many records each partition has.
    partition_sizes: list[int] = []
    #: When it was measured, and how long that took.
    date: str = ""
    seconds: float = 0.0


class Ceiling(msgspec.Struct, kw_only=True):
    """How fast the emulator can be asked, and what that costs it."""

    requests_per_second: float
    customers_per_second: float
    #: What the emulator alone would reach, by the processor time that it used.
    possible_requests_per_second: float
    possible_customers_per_second: float


class Profile(msgspec.Struct, kw_only=True):
    """Where the tap's processor time went in one case, in shares of all samples."""

    case: str
    samples: int
    #: By owner of the innermost Python function.
    owners: dict[str, float]
    #: The functions with the most samples.
    functions: dict[str, float]


class Results(msgspec.Struct, kw_only=True):
    """A whole session."""

    python: str
    platform: str
    processors: int
    versions: dict[str, str]
    quick: bool
    ceiling: Ceiling | None = None
    cases: list[CaseFacts] = []
    runs: list[Run] = []
    profiles: list[Profile] = []

    def of(self, case: str, contestant: str, concurrency: int | None = None) -> list[Run]:
        """Return a contestant's runs of a case, at one concurrency or at all."""
        return [
            run
            for run in self.runs
            if (run.case, run.contestant) == (case, contestant)
            and concurrency in {None, run.concurrency}
        ]

    def replace(self, facts: CaseFacts, runs: list[Run]) -> None:
        """Put the figures of a case in, instead of older ones."""
        kept = [case for case in self.cases if case.name != facts.name]
        place = next((n for n, case in enumerate(self.cases) if case.name == facts.name), len(kept))
        self.cases = [*kept[:place], facts, *kept[place:]]
        self.runs = [*(run for run in self.runs if run.case != facts.name), *runs]


def load(path: Path) -> Results:
    """Read the results of a session."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def save(results: Results, path: Path) -> None:
    """Write the results of a session, so that they can be read and compared."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
