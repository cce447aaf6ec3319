"""Through Meltano into JSON lines and DuckDB."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.targets.rows import declared, held_rows, in_order, parsed
from tests.truth import KEYS
from tests.warehouse import needs_duckdb

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Start
    from tests.targets.rows import Row
    from tests.warehouse import Project

pytestmark = pytest.mark.e2e

#: Runs in the target's own environment, with the DuckDB version that wrote the file.
READ_DUCKDB = """
import sys, json, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
for table in sys.argv[2:]:
    cursor = connection.execute(f"select * from tap_partnercenter.{table}")
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row)) for row in cursor.fetchall()]
    print(json.dumps(rows, default=str))
"""


def test_json_lines_hold_every_row(start: Start, project: Project, tmp_path: Path) -> None:
    """One line for each record, with the fields sent by the API; a second run appends."""
    emulator = start(customers=60, resellers=3)
    target = {"TARGET_JSONL_DESTINATION_PATH": str(tmp_path)}
    target["TARGET_JSONL_DO_TIMESTAMP_FILE"] = "false"
    project.run(emulator, "target-jsonl", "lines", target=target)
    for stream, rows in held_rows(emulator).items():
        fields: dict[str, None] = dict.fromkeys(declared(stream))
        lines = (tmp_path / f"{stream}.jsonl").read_text(encoding="utf-8").splitlines()
        assert in_order(fields | json.loads(line) for line in lines) == rows, stream


@needs_duckdb
def test_duckdb_holds_every_row(start: Start, project: Project, tmp_path: Path) -> None:
    """With the pinned DuckDB no row is lost, even in a second run; nothing is ever deleted."""
    emulator = start(customers=200, resellers=4)
    file = tmp_path / "partnercenter.duckdb"
    target = {
        "TARGET_DUCKDB_PATH": str(file),
        "TARGET_DUCKDB_DEFAULT_TARGET_SCHEMA": "tap_partnercenter",
    }
    first, second, *_ = [str(customer["id"]) for customer in emulator.customers()]
    project.run(emulator, "target-duckdb", "duckdb", target=target)
    assert duckdb_rows(project, file) == lower_case(held_rows(emulator))

    (vanished,) = [row for row in held_rows(emulator)["customers"] if row["id"] == first]
    emulator.remove_customer(first)
    emulator.rename_customer(second, "Ny & Glänsande AB")
    project.run(
        emulator, "target-duckdb", "duckdb", target=target, emit_activate_version_messages=True
    )
    wanted = lower_case({"customers": [*held_rows(emulator)["customers"], vanished]})
    assert duckdb_rows(project, file)["customers"] == wanted["customers"]


def duckdb_rows(project: Project, file: Path) -> dict[str, list[Row]]:
    """The tables of a DuckDB file, without the target's own columns."""
    python = project.program("target-duckdb", "python")
    ended = subprocess.run(
        [python, "-c", READ_DUCKDB, str(file), *KEYS], capture_output=True, text=True, check=True
    )
    found = {}
    for stream, line in zip(KEYS, ended.stdout.splitlines(), strict=True):
        rows: list[dict[str, Any]] = json.loads(line)
        found[stream] = in_order(
            {name: parsed(value) for name, value in row.items() if not name.startswith("_sdc_")}
            for row in rows
        )
    return found


def lower_case(tables: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Rows with column names as created by DuckDB's target."""
    return {
        stream: in_order({name.lower(): value for name, value in row.items()} for row in rows)
        for stream, rows in tables.items()
    }
