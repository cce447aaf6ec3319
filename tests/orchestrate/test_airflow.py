"""The DAG in a real Airflow: it loads, it fans out, and its check finds missing rows."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from partnercenter_demo.meltano import LOADER
from tests.orchestrate.conftest import ORCHESTRATE
from tests.targets.rows import assert_equal, loaded_rows, tables
from tests.truth import KEYS, REFRESHES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.orchestrate.conftest import Airflow, Night, Partners
    from tests.warehouse import Project

pytestmark = pytest.mark.e2e

#: Prints Airflow's view of the DAG folder.
LOOK = """
import json
from airflow.dag_processing.dagbag import DagBag

bag = DagBag()
(dag,) = bag.dags.values()
print(json.dumps({
    "errors": bag.import_errors,
    "id": dag.dag_id,
    "tasks": {
        task.task_id: {
            "pool": task.pool,
            "retries": task.retries,
            "upstream": sorted(task.upstream_task_ids),
            "mapped": task.is_mapped,
        }
        for task in dag.tasks
    },
}))
"""

#: Runs a shard whose Meltano does not end by itself, and stops it or is killed.
STOP = """
import os
import signal
import partnercenter

shard = partnercenter.LoadShard(
    task_id="one", tenant=partnercenter.PLAN.tenants[1].as_dict(), index=0
)
signal.signal(signal.SIGUSR1, lambda *_: shard.on_kill())
os.environ["TASK"] = str(os.getpid())
try:
    partnercenter.LoadShard.execute.__wrapped__(shard, {})
except partnercenter.AirflowException as error:
    print("refused:", error)
"""


@pytest.fixture(scope="module")
def scheduler(airflow: Airflow) -> Iterator[Airflow]:
    """Airflow running, with its LocalExecutor and the README's pools."""
    imported = airflow.run("airflow", "pools", "import", str(ORCHESTRATE / "pools.example.json"))
    assert imported.returncode == 0, imported.stdout
    assert "Uploaded 3 pool(s)" in imported.stdout
    with airflow.scheduling():
        # The DAG cannot be started until it is known.
        patience = time.monotonic() + 300
        query = "select count(*) from serialized_dag"
        with psycopg.connect(airflow.metadata, autocommit=True) as database:
            while database.execute(query).fetchone() == (0,):
                assert time.monotonic() < patience, airflow.said("none")
                time.sleep(1)
        yield airflow


@pytest.fixture(scope="module")
def fan_out(scheduler: Airflow) -> Night:
    """A run of the whole DAG."""
    return scheduler.night("first")


@pytest.fixture(scope="module")
def next_night(scheduler: Airflow, partners: Partners) -> tuple[str, Night]:
    """A customer moves, the audit log records it, and the DAG runs again."""
    emulator = partners.emulators["de"]
    moved = next(iter(emulator.customers()))["id"]
    emulator.move_customer(moved, [one["id"] for one in emulator.resellers()][-1])
    emulator.add("audit_records", {"customerId": moved, "operationStatus": "succeeded"})
    return moved, scheduler.night("next")


def test_the_dag_has_a_group_of_tasks_for_each_tenant(airflow: Airflow) -> None:
    """First one shard, then the others, then the check; in the tenant's pool."""
    looked = airflow.python(LOOK)
    assert looked.returncode == 0, looked.stdout
    found = json.loads(looked.stdout.splitlines()[-1])
    assert found["errors"] == {}
    assert found["id"] == "partnercenter"
    tasks = found["tasks"]
    assert {name: task["upstream"] for name, task in tasks.items()} == {
        "prepare": [],
        "de.first": ["prepare"],
        "de.rest": ["de.first"],
        "de.check": ["de.first", "de.rest"],
        "fr.first": ["prepare"],
        "fr.check": ["fr.first"],
        "lu.first": ["prepare"],
        "lu.check": ["lu.first"],
    }
    assert [name for name, task in tasks.items() if task["mapped"]] == ["de.rest"]
    for name, task in tasks.items():
        tenant, _, part = name.partition(".")
        loads = part in {"first", "rest"}
        assert task["pool"] == (f"partnercenter_{tenant}" if loads else "default_pool"), name
        assert task["retries"] == 3, name


@pytest.mark.parametrize("signal", ["USR1", "KILL"])
def test_meltano_ends_with_its_task(airflow: Airflow, tmp_path: Path, signal: str) -> None:
    """So do all processes that Meltano started, whether the task is stopped or killed."""
    meltano = tmp_path / "meltano"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    meltano.write_text(
        f'#!/bin/sh\nexec 9>"{pipe}"\n(kill -{signal} $TASK; sleep 20; echo survived >&9)\nexit 0\n'
    )
    meltano.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), airflow.variables["PATH"]])
    task = replace(airflow, variables={**airflow.variables, "PATH": path})
    written = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    stopped = task.python(STOP)
    os.set_blocking(written, True)
    with os.fdopen(written) as left:
        # The output ends when no process is left that could write.
        assert left.read() == ""
    if signal == "KILL":
        assert stopped.returncode == -9
    else:
        assert "refused: meltano ended with 143" in stopped.stdout


def test_all_tasks_succeed_but_those_of_the_tenant_with_a_wrong_secret(fan_out: Night) -> None:
    """No retry can fix that: it has failed for good, at the first attempt.

    A customer that the API lists twice is one row and does not make the check fail.
    """
    assert fan_out.tasks == {
        "prepare": ("success", 1),
        "de.first": ("success", 1),
        **{f"de.rest{index}": ("success", 1) for index in range(3)},
        "de.check": ("success", 1),
        "fr.first": ("success", 1),
        "fr.check": ("success", 1),
        "lu.first": ("failed", 1),
        "lu.check": ("upstream_failed", 0),
    }, fan_out.log[-5000:]
    assert "AADSTS7000215" in fan_out.log
    assert "1 of them repeated" in fan_out.log


def test_four_shards_are_the_unsharded_load(
    fan_out: Night, project: Project, partners: Partners
) -> None:
    """Complete and equal rows, and no other tables."""
    del fan_out
    project.run(partners.emulators["de"], LOADER, "unsharded")
    names = tables(project.server, "unsharded")
    assert names == {*KEYS, *REFRESHES}
    assert tables(project.server, "partnercenter_de") == names
    for name in KEYS:
        whole = loaded_rows(project.server, "unsharded", name)
        assert loaded_rows(project.server, "partnercenter_de", name) == whole, name


@pytest.mark.parametrize("tenant", ["de", "fr"])
def test_each_tenant_is_complete_in_its_own_schema(
    fan_out: Night, project: Project, partners: Partners, tenant: str
) -> None:
    """The emulator's rows, and none of another tenant's."""
    del fan_out
    assert_equal(project.server, f"partnercenter_{tenant}", partners.emulators[tenant])


def test_every_shard_did_a_part(fan_out: Night, project: Project) -> None:
    """Every shard had some work, and no two did the same."""
    counts = re.findall(r"tap-partnercenter: customers: (\d+) record", fan_out.log)
    assert "0" not in counts
    rows = loaded_rows(project.server, "partnercenter_de", "list_refreshes")
    parts = [row["shard_index"] for row in rows if row["stream"] == "customers"]
    assert sorted(parts) == [0, 1, 2, 3]


def test_no_secret_is_in_the_log(fan_out: Night, partners: Partners) -> None:
    """The same holds for the tasks' arguments, which Airflow shows."""
    for emulator in partners.emulators.values():
        assert emulator.credentials.client_secret not in fan_out.log
        assert emulator.credentials.refresh_token not in fan_out.log


@pytest.mark.parametrize("lost", [0, 3])
def test_the_check_finds_missing_rows(
    fan_out: Night, airflow: Airflow, project: Project, lost: int
) -> None:
    """There are as many rows as were sent, or the task fails and reports the difference."""
    del fan_out
    records = {name: len(loaded_rows(project.server, "partnercenter_fr", name)) for name in KEYS}
    records["customers"] += lost
    checked = airflow.python(f"""
import partnercenter

report = {{"index": 0, "attempt": 1, "started": 0.0, "records": {records!r}}}
partnercenter.check.function(partnercenter.PLAN.tenants[1].as_dict(), [report])
""")
    assert (checked.returncode != 0) is bool(lost), checked.stdout
    message = "customers: 23 records sent, but 20 rows written"
    assert (message in checked.stdout) is bool(lost)


def test_the_next_night_reads_what_changed(
    next_night: tuple[str, Night], project: Project, partners: Partners
) -> None:
    """All shards together read the children of the customer in the audit log."""
    moved, night = next_night
    failed = {name for name, (state, _) in night.tasks.items() if state != "success"}
    assert failed == {"lu.first", "lu.check"}, night.log[-5000:]
    rows = loaded_rows(project.server, "partnercenter_de", "customer_refreshes")
    assert len(rows) == 90
    last = max(row["refreshed_at"] for row in rows if row["reason"] == "all")
    read = {row["customer_id"] for row in rows if row["refreshed_at"] > last}
    # After midnight it is other customers' turn.
    assert moved in read
    assert len(read) < 60
    emulator = partners.emulators["de"]
    wanted = [row for row in emulator.relationships() if row["customer_id"] == moved]
    loaded = loaded_rows(project.server, "partnercenter_de", "customer_relationships")
    assert {row["id"] for row in wanted} <= {
        row["id"] for row in loaded if row["customer_id"] == moved
    }
