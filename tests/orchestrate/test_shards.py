"""The plan, the shards' settings, and the arithmetic of the check."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from orchestrate.dags.partnercenter_shards import (
    ShardReport,
    Tenant,
    disagreements,
    ended_stream,
    read_plan,
    said,
    tap_variables,
)
from partnercenter_demo.workspace import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

ORCHESTRATE = PROJECT / "orchestrate"
DE = Tenant("de", "partnercenter_de", shards=4, at_once=3, requests_per_minute=480)


def report(index: int, attempt: int = 1, **records: int) -> ShardReport:
    return ShardReport(index=index, attempt=attempt, started=100.0 + index, records=records)


def four(**changes: ShardReport) -> list[ShardReport]:
    """The reports of four shards of ten customers each, or those given as shard0 to shard3."""
    return [changes.get(f"shard{index}", report(index, customers=10)) for index in range(4)]


# The plan


def test_the_example_is_a_plan_and_names_its_pools() -> None:
    """A pool for each tenant, with a slot for each shard that may run at the same time."""
    plan = read_plan(ORCHESTRATE / "tenants.example.yaml")
    pools = json.loads((ORCHESTRATE / "pools.example.json").read_text())
    assert {tenant.airflow_name: tenant.at_once for tenant in plan.tenants} == {
        name: pool["slots"] for name, pool in pools.items()
    }
    assert plan.schedule == "0 2 * * *"
    # Without a limit, shards find their share by being refused.
    assert all(tenant.requests_per_minute for tenant in plan.tenants if tenant.shards > 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no attribute"),
        ("schedule: 0 2 * * *", "'tenants'"),
        ("tenants: [{name: de}]", "schema"),
        ("tenants: [{name: Contoso DE, schema: a}]", "must be made of a-z, 0-9 and _"),
        ("tenants: [{name: de, schema: a, shard: 4}]", "there is no shard in a tenant"),
        ("tenants: [{name: de, schema: a, shards: 0}]", "at_once must be from 1 to"),
        ("tenants: [{name: de, schema: a, shards: 2, at_once: 3}]", "at_once must be from 1 to"),
        ("{tenants: [], client_secret: x}", "there is no client_secret in a plan"),
        ("tenants: [{name: de, schema: a}, {name: fr, schema: a}]", "a schema of its own"),
        ("tenants: [{name: de, schema: a}, {name: de, schema: b}]", "a name of its own"),
        (
            "tenants: [{name: de, schema: a, shards: 9, at_once: 9, requests_per_minute: 8}]",
            "leaves a shard without a request",
        ),
        (
            # Three after the first: the last of them would run alone, with half of the quota.
            "tenants: [{name: de, schema: a, shards: 4, at_once: 2, requests_per_minute: 480}]",
            "de: after the first shard, 3 in 2 slots .*set at_once to 1 or 3",
        ),
        ("tenants: [", "while parsing"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    """When Airflow reads the DAG, and not at night, with the file and the reason."""
    path = tmp_path / "tenants.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as refusal:
        read_plan(path)
    assert str(path) in str(refusal.value)


def test_a_missing_plan_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"copy tenants\.example\.yaml"):
        read_plan(tmp_path / "tenants.yaml")


# A shard


def test_each_shard_has_a_state_of_its_own() -> None:
    """A different number of shards starts over: their checkpoints mean something else."""
    eight = Tenant("de", "partnercenter_de", shards=8)
    tenants = [(DE, 4), (eight, 8), (Tenant("fr", "b"), 1)]
    commands = [tenant.command("prod", index) for tenant, n in tenants for index in range(n)]
    states = {argument for command in commands for argument in command if "state-id" in argument}
    assert len(states) == 13
    assert "--state-id=prod:tap-partnercenter-to-target-postgres:de-3of4" in states
    assert all("el" in command and "--no-install" in command for command in commands)


def test_shards_that_run_together_share_the_rate() -> None:
    """The first one runs alone."""
    rates = [DE.variables(index)["TAP_PARTNERCENTER_MAX_REQUESTS_PER_MINUTE"] for index in range(4)]
    assert rates == ["480", "160", "160", "160"]
    both = Tenant("de", "a", shards=2, at_once=2, requests_per_minute=480)
    assert both.variables(1)["TAP_PARTNERCENTER_MAX_REQUESTS_PER_MINUTE"] == "480"
    assert "TAP_PARTNERCENTER_MAX_REQUESTS_PER_MINUTE" not in Tenant("fr", "b").variables(0)
    # A rate that the tap learns by itself is not split.
    assert Tenant("fr", "b", shards=4, at_once=2).variables(1).keys() == {
        "TAP_PARTNERCENTER_SHARD_COUNT",
        "TAP_PARTNERCENTER_SHARD_INDEX",
        "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA",
    }


def test_settings_become_variables() -> None:
    """Of any type; empty ones are not set, as the tap requires for numbers and lists."""
    others = {"page_size": 100, "reseller_ids": ["a"], "cloud": "china", "refresh_token": ""}
    assert tap_variables("id", None, others) == {
        "TAP_PARTNERCENTER_CLIENT_ID": "id",
        "TAP_PARTNERCENTER_PAGE_SIZE": "100",
        "TAP_PARTNERCENTER_RESELLER_IDS": '["a"]',
        "TAP_PARTNERCENTER_CLOUD": "china",
    }


# The log


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ('{"level": "warning", "event": "slow"}', (logging.WARNING, "slow")),
        ('{"level": "odd", "event": "x\\n"}', (logging.INFO, "x")),
        ('{"level": "info", "event": "x", "name": "target"}', (logging.INFO, "target: x")),
        (
            '{"level": "info", "event": "METRIC", "metric_info": {"value": 1}}',
            (logging.DEBUG, "{'value': 1}"),
        ),
        (
            "Traceback (most recent call last):\n",
            (logging.INFO, "Traceback (most recent call last):"),
        ),
        ("[1]", (logging.INFO, "[1]")),
        ("null", (logging.INFO, "null")),
        ('{"event": "no level"}', (logging.INFO, '{"event": "no level"}')),
    ],
)
def test_lines_of_the_log_keep_their_level(line: str, meaning: tuple[int, str]) -> None:
    assert said(line) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("customer_relationships: 7 records", {"customer_relationships": 7}),
        ("tap-partnercenter: customers: 8 records", {"customers": 8}),
        ("indirect_resellers: 1 record", {"indirect_resellers": 1}),
        ("customers: 8 records, 1 of them repeated", {"customers": 7}),
        ("customers: 5000 records, 12 requests (9 a minute), 0 retries", {}),
        ("complete: 15 records, 4 requests", {}),
    ],
)
def test_the_last_line_about_a_stream_counts(text: str, meaning: dict[str, int]) -> None:
    """Progress and the summary, which also have numbers of records, are ignored."""
    assert ended_stream(text) == meaning


# The check


@pytest.mark.parametrize(
    ("reports", "rows"),
    [
        (four(), 40),
        (four(shard2=report(2, customers=0)), 30),
        # The second attempt continued after six rows of the first, or started over.
        (four(shard2=report(2, attempt=2, customers=4)), 40),
        (four(shard2=report(2, attempt=2, customers=10)), 40),
    ],
)
def test_a_load_that_adds_up_passes(reports: list[ShardReport], rows: int) -> None:
    assert [*disagreements(DE, reports, {"customers": rows})] == []


@pytest.mark.parametrize(
    ("reports", "rows", "reason"),
    [
        (four(), 39, "customers: 40 records sent, but 39 rows written"),
        (four(), 41, "customers: 40 records sent, but 41 rows written"),
        (four()[:3], 30, "shards [0, 1, 2] reported, but there are 4"),
        (four(shard3=report(2, customers=10)), 40, "shards [0, 1, 2, 2] reported"),
        (four(shard3=report(3)), 30, "customers: shards [3] did not report"),
        (four(shard2=report(2, attempt=2, customers=4)), 33, "34 records sent, but 33 rows"),
        ([report(index) for index in range(4)], 0, "no shard reported how many"),
    ],
)
def test_a_load_that_does_not_add_up_is_reported(
    reports: list[ShardReport], rows: int, reason: str
) -> None:
    found = [*disagreements(DE, reports, {"customers": rows})]
    assert any(reason in sentence for sentence in found), found


def test_a_missing_table_is_reported() -> None:
    reports: list[Any] = four()
    assert [*disagreements(DE, reports, {})] == [
        "customers: 40 records sent, but 0 rows written",
    ]
