"""Checks that the loaded tables match the emulated API exactly: keys, not only counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import sql

from partnercenter_demo.meltano import SCHEMA

if TYPE_CHECKING:
    import psycopg

    from partnercenter_emulator import Emulator

Key: TypeAlias = tuple[str | None, ...]

KEYS = {
    "customers": ("id",),
    "reseller_customers": ("reseller_id", "id"),
    "customer_relationships": ("customer_id", "id", "relationshipType"),
    "indirect_resellers": ("id",),
    "subscriptions": ("customer_id", "id"),
}
"""The tables that the tap fills, with the columns that identify their rows."""


@dataclass(frozen=True)
class Comparison:
    """One table compared with the expected rows."""

    table: str
    loaded: int
    expected: int
    missing: int
    """Rows that are missing."""
    surplus: int
    """Rows that should not be there, including duplicates."""

    @property
    def agrees(self) -> bool:
        """Whether the table contains exactly the right keys, each once."""
        return not (self.missing or self.surplus)


def compare(
    connection: psycopg.Connection[tuple[Any, ...]], emulator: Emulator
) -> list[Comparison]:
    """Compare each table with the emulator's data; a missing table counts as empty."""
    expected = _held(emulator)
    return [_compared(table, _loaded(connection, table), expected[table]) for table in KEYS]


def _held(emulator: Emulator) -> dict[str, Counter[Key]]:
    return {
        "customers": Counter((customer["id"],) for customer in emulator.customers()),
        "reseller_customers": Counter(
            (membership["reseller_id"], membership["customer_id"])
            for membership in emulator.memberships()
        ),
        "customer_relationships": Counter(
            # In the tap's key, a relationship without a type has the type "none".
            (one["customer_id"], one["id"], one.get("relationshipType") or "none")
            for one in emulator.relationships()
        ),
        "indirect_resellers": Counter((reseller["id"],) for reseller in emulator.resellers()),
        "subscriptions": Counter(
            (one["customer_id"], one["id"]) for one in emulator.held("subscriptions")
        ),
    }


def _compared(table: str, loaded: Counter[Key], expected: Counter[Key]) -> Comparison:
    return Comparison(
        table=table,
        loaded=loaded.total(),
        expected=expected.total(),
        missing=(expected - loaded).total(),
        surplus=(loaded - expected).total(),
    )


def _loaded(connection: psycopg.Connection[tuple[Any, ...]], table: str) -> Counter[Key]:
    name = sql.Identifier(SCHEMA, table)
    found = connection.execute("select to_regclass(%s)", [name.as_string(connection)]).fetchone()
    if found == (None,):
        return Counter()
    columns = sql.SQL(", ").join(map(sql.Identifier, KEYS[table]))
    query = sql.SQL("select {columns} from {table}").format(columns=columns, table=name)
    return Counter(connection.execute(query))
