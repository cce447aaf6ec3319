"""The dbt package as a project: its sources, their freshness, and Meltano's commands for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from partnercenter_demo.failure import DemoError
from partnercenter_emulator import Fault
from tap_partnercenter.streams import STREAMS
from tests.models import TRANSFORM
from tests.targets.rows import SCHEMAS
from tests.targets.transform import STREAM_NAMES, DuckDB, PostgreSQL
from tests.warehouse import needs_duckdb

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Start
    from tests.targets.transform import Warehouse
    from tests.warehouse import Pipe, Project


def test_every_stream_is_a_source() -> None:
    """Described like its schema; by default, the streams are the tap's."""
    text = (TRANSFORM / "models" / "sources.yml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["sources"]
    assert {table["name"]: table["description"] for table in source["tables"]} == {
        name: json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))["description"]
        for name in STREAM_NAMES
    }
    project = yaml.safe_load((TRANSFORM / "dbt_project.yml").read_text(encoding="utf-8"))
    assert sorted(project["vars"]["partnercenter_streams"]) == sorted(
        vars(stream)["name"] for stream in STREAMS if stream.selected_by_default
    )


@pytest.mark.e2e
@pytest.mark.parametrize("kind", [PostgreSQL, DuckDB])
def test_tables_that_are_days_old_are_stale(
    kind: type[Warehouse], start: Start, with_dbt: Project, pipe: Pipe, tmp_path: Path
) -> None:
    """`dbt source freshness` fails only for them."""
    warehouse = kind(with_dbt, pipe, tmp_path, "stale")
    warehouse.load(start(customers=10))
    old = "_sdc_extracted_at - interval '4 days'"
    warehouse.answer(f"update stale.invoices set _sdc_extracted_at = {old}")  # noqa: S608 - no input
    ended = warehouse.dbt_ended("source", "freshness")
    assert ended.returncode == 1
    stale = [line for line in ended.stdout.splitlines() if "ERROR STALE" in line]
    assert len(stale) == 1, ended.stdout
    assert "invoices" in stale[0]


@pytest.mark.e2e
@needs_duckdb
def test_resellers_that_are_listed_in_upper_case_keep_their_customers(
    start: Start, with_dbt: Project, pipe: Pipe, tmp_path: Path
) -> None:
    """The tap requests configured ids in lower case."""
    emulator = start(customers=20, resellers=2)
    ids = [str(each["id"]) for each in emulator.resellers()]
    listed = [{**each, "id": str(each["id"]).upper()} for each in emulator.resellers()]
    emulator.faults = [Fault(place="resellers", json={"items": listed, "totalCount": 2})]
    warehouse = DuckDB(with_dbt, pipe, tmp_path, "spelled")
    warehouse.load(emulator, reseller_ids=ids)
    warehouse.dbt("run", "--select", "+stg_partnercenter__reseller_customers")
    loaded = warehouse.rows("stg_partnercenter__reseller_customers")
    assert len(loaded) == len(list(emulator.held("partition")))


@pytest.mark.e2e
def test_meltano_builds_what_it_loaded(start: Start, with_dbt: Project, tmp_path: Path) -> None:
    """The command in the docs, with the streams selected by default.

    Columns that are not selected are null, and models of other streams are left out. A failed build
    makes the run fail.
    """
    emulator = start(customers=30, resellers=3)
    name = "built"
    variables = {
        **with_dbt.server.dbt_variables,
        "DBT_POSTGRES_SCHEMA": "built_models",
        "DBT_POSTGRES_VARS": json.dumps({"partnercenter_schema": name}),
        "DBT_POSTGRES_TARGET_PATH": str(tmp_path / "target"),
        "DBT_LOG_PATH": str(tmp_path / "logs"),
    }
    run = with_dbt.run
    streams = ["customer*.*", "*resellers.*", "reseller_customers.*", "list_refreshes.*"]
    unwanted = ["!customer_details.*", "!customers.relationshipToPartner"]
    settings: dict[str, Any] = {"select": [*streams, *unwanted], "then": ["dbt-postgres:build"]}
    run(emulator, "target-postgres", name, target=variables, **settings)
    with with_dbt.server.connect() as connection:
        found = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'built_models'"
        ).fetchall()
        models = {model for (model,) in found}
        assert {"customers_by_reseller", "moved_customers"} < models
        assert not {model for model in models if "subscri" in model or "seats" in model}
        rows = connection.execute(
            "select customer_id, relationship_to_partner from "
            "built_models.stg_partnercenter__customers"
        ).fetchall()
    assert sorted(rows) == sorted((one["id"], None) for one in emulator.customers())

    variables["DBT_POSTGRES_VARS"] = json.dumps({"partnercenter_schema": "nowhere"})
    with pytest.raises(DemoError):
        run(emulator, "target-postgres", name, target=variables, **settings)
    assert (tmp_path / "target" / "manifest.json").exists()
