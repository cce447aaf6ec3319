"""Load Microsoft Partner Center every night: several partner tenants, each in several shards.

Each tenant is a group of tasks: `first`, one shard alone, which creates and alters the tables;
`rest`, the other shards side by side; `check`, whether all that was sent is in the warehouse.
`tenants.yaml` says what is loaded, README.md how to set it up.
"""

# ruff: noqa: INP001 - no package, but a file in some folder of Airflow's
from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Connection, TaskGroup, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

# Airflow itself adds the DAG folder, but none below it.
sys.path.append(str(Path(__file__).parent))
from partnercenter_meltano import FINAL
from partnercenter_shards import (
    ShardReport,
    Tenant,
    disagreements,
    ended_stream,
    read_plan,
    said,
    streams,
    tap_variables,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

_MELTANO = str(Path(__file__).with_name("partnercenter_meltano.py"))
PLAN = read_plan(
    Path(os.environ.get("PARTNERCENTER_TENANTS") or Path(__file__).with_name("tenants.yaml"))
)


class LoadShard(BaseOperator):
    """Runs `meltano el` for one shard of a tenant and returns what the tap reports as sent.

    An operator, because Airflow only notifies operators when a task has to stop.
    """

    def __init__(self, *, tenant: dict[str, Any], index: int, **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's
        """Create the task of a shard."""
        super().__init__(**kwargs)
        self.tenant = tenant
        self.index = index
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> ShardReport:
        """Load the shard.

        Raises:
            AirflowFailException: A retry cannot help.
            AirflowException: Meltano failed, or was stopped.
        """
        tenant = Tenant(**self.tenant)
        started = time.time()
        records: dict[str, int] = {}
        with subprocess.Popen(  # noqa: S603 - no part of the command comes from outside
            [sys.executable, _MELTANO, *tenant.command(PLAN.meltano_environment, self.index)],
            # Secrets are environment variables: everyone on the machine can read arguments.
            env={**os.environ, **_secrets(tenant), **tenant.variables(self.index)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # whatever ends this process leaves it time to end the others
        ) as self._process:
            try:
                for line in self._process.stdout or ():
                    level, text = said(line)
                    self.log.log(level, "%s", text)
                    records |= ended_stream(text)
            except BaseException:
                self.on_kill()  # a timeout, for example
                raise
        if code := self._process.returncode:
            message = f"meltano ended with {code}: see its last lines"
            if code == FINAL:
                message = f"{message}. Not retried: it would fail again"
                raise AirflowFailException(message)
            raise AirflowException(message)
        return ShardReport(
            index=self.index,
            attempt=context["ti"].try_number,
            started=started,
            records=records,
        )

    def on_kill(self) -> None:
        """Let Meltano and its plugins stop; the next attempt continues where they were."""
        if self._process is not None:
            self._process.terminate()


@task.bash
def prepare() -> str:
    """Let one process create the tables of Meltano's own database, if there are none yet."""
    return f"meltano --environment={PLAN.meltano_environment} state list"


@task
def check(tenant: dict[str, Any], reports: Sequence[Any]) -> dict[str, int]:
    """Compare what the shards report as sent with the rows in the warehouse.

    Args:
        tenant: Whose shards.
        reports: Their return values: of the first shard, and of the others together.

    Returns:
        The number of rows in each table that this run wrote.

    Raises:
        AirflowFailException: Rows are missing; checking again would not find them.
    """
    first, *others = reports
    every = [first, *(report for rest in others for report in rest)]
    loaded = _rows(tenant["schema"], streams(every), min(one["started"] for one in every))
    if found := [*disagreements(Tenant(**tenant), every, loaded)]:
        raise AirflowFailException("; ".join(found))
    return loaded


def _rows(schema: str, tables: list[str], since: float) -> dict[str, int]:
    """Count the rows written by loads that began after a time; a missing table has none."""
    import psycopg  # noqa: PLC0415 - Airflow reads this file often, and needs it here alone
    from psycopg import sql  # noqa: PLC0415

    count = sql.SQL("select count(*) from {} where _sdc_sync_started_at >= %s")
    found = {}
    with psycopg.connect(f"postgresql://{_warehouse()}") as database:
        for table in tables:
            name = sql.Identifier(schema, table)
            exists = database.execute(
                "select to_regclass(%s)", [name.as_string(database)]
            ).fetchone()
            if exists == (None,):
                continue
            row = database.execute(count.format(name), [int(since * 1000)]).fetchone()
            found[table] = row[0] if row else 0
    return found


def _secrets(tenant: Tenant) -> dict[str, str]:
    """Return the credentials of a tenant and of the warehouse as environment variables."""
    connection = Connection.get(tenant.airflow_name)
    return {
        **tap_variables(connection.login, connection.password, connection.extra_dejson),
        "TARGET_POSTGRES_SQLALCHEMY_URL": f"postgresql+psycopg://{_warehouse()}",
    }


def _warehouse() -> str:
    """Return the URL of the warehouse without its scheme, which depends on the client."""
    return Connection.get(PLAN.warehouse).get_uri().partition("://")[2]


@dag(
    schedule=PLAN.schedule,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # only one process at a time may use a state id
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),
    },
    doc_md=__doc__,
    tags=["partnercenter"],
)
def partnercenter() -> None:
    """Declare the tasks of all tenants."""
    prepared = prepare()
    for tenant in PLAN.tenants:
        # A pool cannot be mapped over, so the tenants are groups and the shards are mapped.
        quota = {"pool": tenant.airflow_name, "tenant": tenant.as_dict()}
        with TaskGroup(tenant.name):
            first = LoadShard(task_id="first", index=0, **quota)
            prepared >> first
            results = [first.output]
            if tenant.shards > 1:
                rest = LoadShard.partial(
                    task_id="rest",
                    max_active_tis_per_dagrun=tenant.at_once,
                    map_index_template="shard {{ task.index }}",
                    **quota,
                ).expand(index=[*range(1, tenant.shards)])
                first >> rest
                results.append(rest.output)
            check(tenant.as_dict(), results)


partnercenter()
