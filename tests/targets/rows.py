"""Whole rows: those that a table should hold, from the emulator, and those that it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import sql

from tests.truth import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from partnercenter_demo.postgres import Server
    from partnercenter_emulator import Emulator

Row: TypeAlias = dict[str, Any]

SCHEMAS = Path(__file__).parents[2] / "schemas"


def declared(stream: str) -> dict[str, Any]:
    """The fields of a stream, with their JSON types."""
    schema = json.loads((SCHEMAS / f"{stream}.json").read_text(encoding="utf-8"))
    fields: dict[str, Any] = schema["properties"]
    return fields


def held_rows(emulator: Emulator) -> dict[str, list[Row]]:
    """The rows that each table should hold; a field that the API does not send is null."""
    customers = {str(customer["id"]): customer for customer in emulator.customers()}
    served = [(one["reseller_id"], customers[one["customer_id"]]) for one in emulator.memberships()]
    tables: dict[str, Iterable[Row]] = {
        "customers": customers.values(),
        "reseller_customers": [
            {"reseller_id": reseller, **customer} for reseller, customer in served
        ],
        "customer_relationships": map(_with_type, emulator.relationships()),
        "indirect_resellers": map(_with_type, emulator.resellers()),
    }
    return {
        stream: in_order(
            {name: _without_links(row.get(name)) for name in declared(stream)} for row in rows
        )
        for stream, rows in tables.items()
    }


def flattened(row: Row, fields: dict[str, Any], depth: int) -> Row:
    """A row with objects flattened down to a depth; deeper ones stay objects."""
    columns: Row = {}
    for name, field in fields.items():
        value = row.get(name)
        if "properties" in field and depth:
            inner = flattened(value or {}, field["properties"], depth - 1)
            columns |= {f"{name}__{key}": item for key, item in inner.items()}
        else:
            columns[name] = value
    return columns


def loaded_rows(server: Server, schema: str, table: str, *, deleted: bool = False) -> list[Row]:
    """The rows of a table, or those marked as deleted, without the target's columns."""
    query = sql.SQL("select to_jsonb(t) from {} t where (_sdc_deleted_at is not null) = %s")
    with server.connect() as connection:
        rows = connection.execute(query.format(sql.Identifier(schema, table)), [deleted])
        return in_order(_own(row) for (row,) in rows)


def tables(server: Server, schema: str) -> set[str]:
    """The tables of a schema."""
    query = "select table_name from information_schema.tables where table_schema = %s"
    with server.connect() as connection:
        return {name for (name,) in connection.execute(query, [schema])}


def column_types(server: Server, schema: str, table: str) -> dict[str, str]:
    """The columns of a table, with their SQL types."""
    query = """
    select column_name, data_type from information_schema.columns
    where (table_schema, table_name) = (%s, %s) order by ordinal_position"""
    with server.connect() as connection:
        return dict(connection.execute(query, [schema, table]).fetchall())


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows in a fixed order: tables have none."""
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def assert_equal(
    server: Server,
    schema: str,
    emulator: Emulator,
    *,
    streams: Iterable[str] = KEYS,
    depth: int = 0,
) -> None:
    """Check that the tables hold exactly the rows of the API, field by field."""
    held = held_rows(emulator)
    for stream in streams:
        wanted = [flattened(row, declared(stream), depth) for row in held[stream]]
        found = [_parsed(row) for row in loaded_rows(server, schema, stream)]
        assert in_order(found) == in_order(wanted), stream


def parsed(value: Any) -> Any:
    """Read an object that a target stores as text."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value


def _parsed(row: Row) -> Row:
    return {name: parsed(value) for name, value in row.items()}


def _own(row: Row) -> Row:
    return {name: value for name, value in row.items() if not name.startswith("_sdc_")}


def _with_type(row: Row) -> Row:
    return {**row, "relationshipType": row.get("relationshipType") or "none"}


def _without_links(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_links(item) for name, item in value.items() if name != "links"}
