"""What to load and whether it arrived: the part of the DAG that does not depend on Airflow."""

# ruff: noqa: INP001 - no package: Airflow puts this folder itself on Python's path
from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

EXTRACTOR = "tap-partnercenter"
LOADER = "target-postgres"

_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: The tap's last line about a stream; a progress line continues after the number.
_ENDED = re.compile(r"(?:^|\s)(\w+): (\d+) records?(?:, (\d+) of them repeated)?$")


@dataclass(frozen=True)
class Tenant:
    """A partner tenant, its place in the warehouse and its share of the machines."""

    name: str
    """A lower-case word, used in the names of tasks, states, pool and connection."""
    schema: str
    """Schema of its tables, which no other tenant may use."""
    shards: int = 1
    at_once: int = 1
    """Shards that run at the same time; as many as the slots of the pool."""
    requests_per_minute: int | None = None
    """Maximum for all shards of the tenant together."""

    def __post_init__(self) -> None:
        """Reject values that cannot work.

        Raises:
            ValueError: With the reason.
        """
        if not _NAME.fullmatch(self.name):
            message = f"the tenant's name {self.name!r} must be made of a-z, 0-9 and _"
            raise ValueError(message)
        if not 1 <= self.at_once <= self.shards:
            message = f"{self.name}: at_once must be from 1 to the number of shards, {self.shards}"
            raise ValueError(message)
        if self.requests_per_minute is None:
            return
        if self.requests_per_minute < self.at_once:
            message = f"{self.name}: requests_per_minute leaves a shard without a request"
            raise ValueError(message)
        rest = self.shards - 1
        if rest % self._concurrent_shards:
            fitting = [str(each) for each in range(1, rest + 1) if not rest % each]
            message = (
                f"{self.name}: after the first shard, {rest} in {self.at_once} slots leave "
                f"requests unused at the end, since each slot has its part of "
                f"requests_per_minute: set at_once to {' or '.join(fitting)}"
            )
            raise ValueError(message)

    @property
    def _concurrent_shards(self) -> int:
        """How many of the shards after the first run at the same time."""
        return max(1, min(self.at_once, self.shards - 1))

    @property
    def airflow_name(self) -> str:
        """The name of its pool and of its connection."""
        return f"partnercenter_{self.name}"

    def command(self, environment: str, index: int) -> list[str]:
        """Return the command that loads a shard.

        `meltano run` would share its catalog and state files with the other shards; `el` has a
        folder for each run. Its state id is used unchanged, so it includes the environment.
        """
        state_id = f"{environment}:{EXTRACTOR}-to-{LOADER}:{self.name}-{index}of{self.shards}"
        return [
            *("meltano", f"--environment={environment}", "--log-format=json"),
            *("el", "--no-install", f"--state-id={state_id}", EXTRACTOR, LOADER),
        ]

    def variables(self, index: int) -> dict[str, str]:
        """Return the settings of a shard that are not secret, as environment variables."""
        found = {
            "TAP_PARTNERCENTER_SHARD_COUNT": str(self.shards),
            "TAP_PARTNERCENTER_SHARD_INDEX": str(index),
            "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": self.schema,
        }
        if self.requests_per_minute:
            # The first shard runs alone.
            part = self.requests_per_minute // (self._concurrent_shards if index else 1)
            found["TAP_PARTNERCENTER_MAX_REQUESTS_PER_MINUTE"] = str(part)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return it in a form that Airflow can store; `Tenant(**…)` reads it."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """The contents of tenants.yaml."""

    tenants: tuple[Tenant, ...]
    schedule: str | None = None
    """In Airflow's format; none for manual runs only."""
    meltano_environment: str = "prod"
    warehouse: str = "warehouse"
    """The Airflow connection of the PostgreSQL database."""


def read_plan(path: Path) -> Plan:
    """Read tenants.yaml.

    Raises:
        ValueError: It cannot be read, or cannot work.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        tenants = tuple(Tenant(**_known(Tenant, one)) for one in given.pop("tenants"))
        plan = Plan(tenants, **_known(Plan, given))
    except FileNotFoundError:
        message = f"{path} is missing: copy tenants.example.yaml and fill it in"
        raise ValueError(message) from None
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        message = f"{path}: {error}"
        raise ValueError(message) from error
    for what in ("name", "schema"):
        values = [getattr(tenant, what) for tenant in tenants]
        if len(set(values)) < len(values):
            message = f"{path}: each tenant needs a {what} of its own"
            raise ValueError(message)
    return plan


def _known(kind: type[Tenant | Plan], given: Mapping[str, Any]) -> Mapping[str, Any]:
    if unknown := given.keys() - {one.name for one in fields(kind)}:
        message = f"there is no {' or '.join(sorted(unknown))} in a {kind.__name__.lower()}"
        raise ValueError(message)
    return given


def tap_variables(
    client_id: str | None, client_secret: str | None, others: Mapping[str, Any]
) -> dict[str, str]:
    """Return settings of the tap, of any type, as environment variables."""
    settings = {"client_id": client_id, "client_secret": client_secret, **others}
    return {
        f"TAP_PARTNERCENTER_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
        if value not in (None, "")
    }


def said(line: str) -> tuple[int, str]:
    """Parse a line of Meltano's log: its level, and its text with the name of its source."""
    try:
        entry = json.loads(line)
        text = str(entry["event"]).rstrip()
        level = logging.getLevelNamesMapping().get(str(entry["level"]).upper(), logging.INFO)
    except (ValueError, LookupError, TypeError):
        return logging.INFO, line.rstrip()
    if "metric_info" in entry:
        return logging.DEBUG, f"{entry['metric_info']}"
    return level, f"{entry['name']}: {text}" if "name" in entry else text


class ShardReport(TypedDict):
    """What a finished shard reports to the check, small enough for an XCom."""

    index: int
    attempt: int
    """1 if it succeeded at once."""
    started: float
    """Seconds since the epoch at which the attempt began."""
    records: dict[str, int]
    """Records of each stream that the attempt sent, each counted once."""


def ended_stream(text: str) -> dict[str, int]:
    """Return the stream that ends with this line, with its number of rows, if any.

    A record that the API lists twice, because pages shift when customers are added, is one row.
    """
    found = _ENDED.search(text)
    return {found[1]: int(found[2]) - int(found[3] or 0)} if found else {}


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def streams(reports: Iterable[ShardReport]) -> list[str]:
    """Return the streams that any shard read."""
    return sorted({stream for report in reports for stream in report["records"]})


def disagreements(
    tenant: Tenant, reports: Sequence[ShardReport], loaded: Mapping[str, int]
) -> Iterator[str]:
    """Describe, in a sentence each, where the shards and the warehouse differ.

    Args:
        tenant: Whose shards.
        reports: The reports of the shards.
        loaded: For each stream, the rows written since the first of the shards began.

    Yields:
        The sentences, one for each problem.
    """
    indexes = sorted(report["index"] for report in reports)
    if indexes != [*range(tenant.shards)]:
        yield f"shards {indexes} reported, but there are {tenant.shards}"
    if not streams(reports):
        yield "no shard reported how many records it sent: is the tap's log level above INFO?"
    for stream in streams(reports):
        silent = [report["index"] for report in reports if stream not in report["records"]]
        if silent:
            yield f"{stream}: shards {silent} did not report how many records they sent"
        sent = sum(report["records"].get(stream, 0) for report in reports)
        rows = loaded.get(stream, 0)
        # Rows of a failed attempt count too: the next one continues after them, or finds that a
        # customer has been deleted.
        may_exceed = any(report["attempt"] > 1 for report in reports)
        if rows < sent or (rows > sent and not may_exceed):
            yield f"{stream}: {_counted(sent, 'record')} sent, but {_counted(rows, 'row')} written"
