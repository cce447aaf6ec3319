"""Through Meltano into PostgreSQL: whole rows after every kind of run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import pytest
from psycopg import sql

from partnercenter_demo.failure import DemoError
from partnercenter_emulator import Fault
from tests.command_line import catalog_of
from tests.targets.page import PAGE
from tests.targets.rows import assert_equal, column_types, declared, held_rows, loaded_rows, tables
from tests.truth import KEYS
from tests.warehouse import DELETES

if TYPE_CHECKING:
    from partnercenter_emulator import Emulator
    from tests.conftest import Start
    from tests.targets.rows import Row
    from tests.warehouse import Pipe, Project

pytestmark = pytest.mark.e2e

TARGET = "target-postgres"
HARD_DELETE = {"TARGET_POSTGRES_HARD_DELETE": "true"}
SQL_TYPES = {
    "string": "text",
    "boolean": "boolean",
    "integer": "bigint",
    "number": "numeric",
    "object": "jsonb",
    "array": "ARRAY",
}
#: How docs/warehouse.md reads a member two levels down, flattened to each depth.
MEMBERS: tuple[LiteralString, ...] = (
    """"companyProfile"->'attributes'->>'objectType'""",
    """"companyProfile__attributes"::jsonb->>'objectType'""",
    """"companyProfile__attributes__objectType\"""",
)
#: Ten pages of twenty; the run fails after the fifth.
PAGES: dict[str, Any] = {"page_size": 20}
BREAK = Fault(place="continuation", skip=4, times=1, status=501)


def ids(emulator: Emulator) -> list[str]:
    return [str(customer["id"]) for customer in emulator.customers()]


def change(emulator: Emulator) -> None:
    """Let customers be renamed, leave, join, change their reseller, and lose it."""
    renamed, vanished, moved, direct, *_ = single_customers(emulator)
    first, second, *_ = [str(reseller["id"]) for reseller in emulator.resellers()]
    emulator.rename_customer(renamed, "Ny & Glänsande AB")
    emulator.remove_customer(vanished)
    emulator.move_customer(moved, second if (first, moved) in pairs(emulator) else first)
    emulator.move_customer(direct, None)
    emulator.create_customer("Brand New, Inc.", reseller_id=second)


def pairs(emulator: Emulator) -> set[tuple[str, str]]:
    """The reseller and customer of each membership."""
    return {(m["reseller_id"], m["customer_id"]) for m in emulator.memberships()}


def single_customers(emulator: Emulator) -> list[str]:
    """Customers with a single reseller, in the API's order."""
    served = [customer for _, customer in pairs(emulator)]
    return [customer for customer in ids(emulator) if served.count(customer) == 1]


def gone(before: dict[str, list[Row]], emulator: Emulator) -> dict[str, list[Row]]:
    """The earlier rows whose keys the emulator no longer has."""
    after = held_rows(emulator)
    found = {}
    for stream, key in KEYS.items():
        left = {tuple(row[name] for name in key) for row in after[stream]}
        found[stream] = [
            row for row in before[stream] if tuple(row[name] for name in key) not in left
        ]
    return found


def test_the_second_load_follows_the_source(start: Start, project: Project, pipe: Pipe) -> None:
    """Changed rows are updated, new ones added, and missing ones marked, otherwise unchanged."""
    emulator = start(customers=200, resellers=4, link_form="rotate")
    name = "followed"
    pipe.load(emulator, name, **DELETES)
    assert_equal(project.server, name, emulator)

    before = held_rows(emulator)
    change(emulator)
    project.run(emulator, TARGET, name, **DELETES)
    assert_equal(project.server, name, emulator)
    for stream, rows in gone(before, emulator).items():
        assert rows or stream == "indirect_resellers"
        assert loaded_rows(project.server, name, stream, deleted=True) == rows


def test_a_skipped_customer_disables_deletes(start: Start, pipe: Pipe) -> None:
    """Some relationships are unknown, so none is deleted until all have been read again."""
    emulator = start(customers=60, resellers=4)
    schema = "skipped"
    pipe.load(emulator, schema, hard_delete=True, **DELETES)
    vanished, skipped, *_ = single_customers(emulator)
    emulator.remove_customer(vanished)
    emulator.faults = [Fault(place="relationships", customer_id=skipped, status=403, code=20002)]
    relationships = loaded_rows(pipe.server, schema, "customer_relationships")
    assert {vanished, skipped} <= {row["customer_id"] for row in relationships}
    pipe.load(emulator, schema, hard_delete=True, **DELETES)
    whole = [stream for stream in KEYS if stream != "customer_relationships"]
    assert_equal(pipe.server, schema, emulator, streams=whole)
    assert loaded_rows(pipe.server, schema, "customer_relationships") == relationships

    emulator.faults = []
    pipe.load(emulator, schema, hard_delete=True, **DELETES)
    assert_equal(pipe.server, schema, emulator)


def test_a_row_that_comes_back_is_unmarked(start: Start, pipe: Pipe) -> None:
    """Two customers move and one moves back; hard delete also removes rows marked before."""
    emulator = start(customers=20, resellers=2)
    schema, table = "returned", "reseller_customers"
    catalog = catalog_of(table)
    homes = {customer: reseller for reseller, customer in sorted(pairs(emulator))}
    first, second, *_ = single_customers(emulator)
    resellers = {str(reseller["id"]) for reseller in emulator.resellers()}

    def marked() -> set[tuple[str, str]]:
        rows = loaded_rows(pipe.server, schema, table, deleted=True)
        return {(row["reseller_id"], row["id"]) for row in rows}

    pipe.load(emulator, schema, catalog=catalog, **DELETES)
    for customer in (first, second):
        (other,) = resellers - {homes[customer]}
        emulator.move_customer(customer, other)
    pipe.load(emulator, schema, catalog=catalog, **DELETES)
    assert_equal(pipe.server, schema, emulator, streams=[table])
    assert marked() == {(homes[first], first), (homes[second], second)}

    emulator.move_customer(first, homes[first])
    pipe.load(emulator, schema, catalog=catalog, hard_delete=True, **DELETES)
    assert_equal(pipe.server, schema, emulator, streams=[table])
    assert marked() == set()


def test_an_interrupted_table_is_resumed(start: Start, project: Project, pipe: Pipe) -> None:
    """Meltano's state points after the pages that were loaded; nothing is emptied.

    `--full-refresh` ignores it, and has its own state.
    """
    emulator = start(customers=200, resellers=4)
    name = "resumed"
    pipe.load(emulator, name, hard_delete=True, **DELETES)
    before = held_rows(emulator)
    change(emulator)
    for options in ((), ("--full-refresh",)):
        emulator.faults = [BREAK]
        emulator.reset_stats()
        with pytest.raises(DemoError):
            project.run(emulator, TARGET, name, *options, target=HARD_DELETE, **PAGES, **DELETES)
        assert emulator.stats().by_place["customers"] == {"200": 1}
        assert emulator.stats().by_place["continuation"]["501"] == 1
        for stream, rows in gone(before, emulator).items():
            left = loaded_rows(project.server, name, stream)
            assert all(row in left for row in rows), "deleted before the pass was complete"

    emulator.reset_stats()
    said = project.run(emulator, TARGET, name, target=HARD_DELETE, **PAGES, **DELETES)
    assert "customers: resumed where an earlier run was interrupted" in said
    assert "customers" not in emulator.stats().by_place, "the first page was read again"
    for stream, rows in held_rows(emulator).items():
        left = loaded_rows(project.server, name, stream)
        assert all(row in left for row in rows), stream
    # Missing rows are removed by the next pass in one go.
    project.run(emulator, TARGET, name, target=HARD_DELETE, **PAGES, **DELETES)
    assert_equal(project.server, name, emulator)
    for stream in KEYS:
        assert not loaded_rows(project.server, name, stream, deleted=True)


def test_only_selected_streams_have_tables(start: Start, pipe: Pipe) -> None:
    """A child alone reads its parent, but does not create its table."""
    emulator = start(customers=20, resellers=3)
    streams = {"customer_relationships", "indirect_resellers"}
    pipe.load(emulator, "children", catalog=catalog_of(*streams))
    assert tables(pipe.server, "children") == streams
    assert_equal(pipe.server, "children", emulator, streams=streams)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_types_are_those_an_analyst_expects(depth: int, start: Start, pipe: Pipe) -> None:
    """Text, boolean, jsonb and arrays as declared; times are timestamps; the rows are whole.

    With flattening, an object becomes columns down to the depth and JSON text below it.
    """
    emulator = start(customers=60, resellers=3)
    flat: dict[str, Any] = {"flattening_enabled": True, "flattening_max_depth": depth}
    schema = f"depth_{depth}"
    pipe.load(emulator, schema, **flat if depth else {})
    for stream in KEYS:
        found = column_types(pipe.server, schema, stream)
        metadata = {column: kind for column, kind in found.items() if column.startswith("_sdc_")}
        assert set(metadata.values()) == {"timestamp without time zone", "bigint"}
        assert {c for c, kind in metadata.items() if kind != "bigint"} == {
            column for column in metadata if column.endswith("_at") and "sync" not in column
        }
        own = {column: kind for column, kind in found.items() if column not in metadata}
        assert own == sql_types(declared(stream), depth, flat=bool(depth))
    assert_equal(pipe.server, schema, emulator, depth=depth)
    with pipe.server.connect() as connection:
        query = sql.SQL("select distinct {} from {}").format(
            sql.SQL(MEMBERS[depth]), sql.Identifier(schema, "customers")
        )
        assert connection.execute(query).fetchall() == [("CustomerCompanyProfile",)]
    assert f"`{MEMBERS[depth]}`" in PAGE.read_text(encoding="utf-8")


def sql_types(fields: dict[str, Any], depth: int, *, flat: bool) -> dict[str, str]:
    """The column types that follow from a JSON schema."""
    found: dict[str, str] = {}
    for name, field in fields.items():
        (kind,) = {field["type"]} if isinstance(field["type"], str) else {*field["type"]} - {"null"}
        if kind == "object" and depth:
            inner = sql_types(field["properties"], depth - 1, flat=flat)
            found |= {f"{name}__{key}": value for key, value in inner.items()}
        elif kind in {"object", "array"} and flat:
            found[name] = "text"
        else:
            assert field.get("format") is None, "say what column a format makes"
            found[name] = SQL_TYPES[kind]
    return found
