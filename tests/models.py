"""Tables as written by target-postgres, and the models that dbt builds from them.

This module writes the rows, which is faster than target-postgres; dbt runs in its own
environment, as with Meltano.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from psycopg import sql
from psycopg.types.json import Jsonb

from partnercenter_demo.meltano import find_uv
from tests.targets.rows import declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from partnercenter_demo.postgres import Server

ROOT = Path(__file__).parents[1]
TRANSFORM = ROOT / "transform"

Row = dict[str, Any]

#: A stream's fields as named in its model of today's rows.
COLUMNS = {
    "customers": {"id": "customer_id"},
    "indirect_resellers": {"id": "reseller_id"},
    "reseller_customers": {"reseller_id": "reseller_id", "id": "customer_id"},
    "customer_relationships": {"customer_id": "customer_id", "id": "reseller_id"},
    "subscriptions": {
        "customer_id": "customer_id",
        "id": "subscription_id",
        "quantity": "quantity",
        "friendlyName": "friendly_name",
    },
}


@dataclass(frozen=True)
class Models:
    """A schema with tables, and one with models."""

    server: Server
    folder: Path
    """Where dbt keeps its compiled files."""
    keys: Mapping[str, tuple[str, ...]]
    """The streams that are loaded, each with the key of its table."""
    schema: str = "nights"

    @property
    def models(self) -> str:
        """The schema of the models."""
        return f"{self.schema}_models"

    def create(self) -> None:
        """Create empty tables, and their models."""
        with self.server.connect() as connection:
            connection.execute(sql.SQL("create schema {}").format(sql.Identifier(self.schema)))
            for stream, key in self.keys.items():
                columns = [
                    sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_type(field)))
                    for name, field in declared(stream).items()
                ]
                query = sql.SQL(
                    "create table {} ({}, _sdc_extracted_at timestamp, _sdc_deleted_at timestamp, "
                    "primary key ({}))"
                )
                connection.execute(
                    query.format(
                        sql.Identifier(self.schema, stream),
                        sql.SQL(", ").join(columns),
                        sql.SQL(", ").join(map(sql.Identifier, key)),
                    )
                )
        self.build()

    def empty(self) -> None:
        """Delete all rows and the results of earlier builds."""
        histories = [
            sql.Identifier(self.models, path.stem) for path in TRANSFORM.glob("snapshots/*.sql")
        ]
        tables = [*(sql.Identifier(self.schema, stream) for stream in self.keys), *histories]
        with self.server.connect() as connection:
            connection.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(tables)))

    def load(self, messages: Iterable[Row]) -> None:
        """Insert or update the rows of RECORD messages."""
        rows: dict[str, dict[tuple[str, ...], list[Any]]] = {}
        for message in messages:
            if message["type"] == "RECORD":
                stream, record = message["stream"], message["record"]
                values = [
                    _value(field, record.get(name)) for name, field in declared(stream).items()
                ]
                key = tuple(record[name] for name in self.keys[stream])
                rows.setdefault(stream, {})[key] = [*values, _moment(message["time_extracted"])]
        with self.server.connect() as connection, connection.cursor() as cursor:
            for stream, found in rows.items():
                names = [*declared(stream), "_sdc_extracted_at"]
                columns = sql.SQL(", ").join(map(sql.Identifier, names))
                query = sql.SQL(
                    "insert into {} ({}) values ({}) on conflict ({}) do update set ({}) = row({})"
                ).format(
                    sql.Identifier(self.schema, stream),
                    columns,
                    sql.SQL(", ").join([sql.Placeholder()] * len(names)),
                    sql.SQL(", ").join(map(sql.Identifier, self.keys[stream])),
                    columns,
                    sql.SQL(", ").join(sql.Identifier("excluded", name) for name in names),
                )
                cursor.executemany(query, found.values())

    def today(self, stream: str) -> list[Row]:
        """The rows of a stream's model, with the stream's fields."""
        fields = COLUMNS[stream]
        found = self.rows(f"stg_partnercenter__{stream}")
        return [{field: row[column] for field, column in fields.items()} for row in found]

    def rows(self, model: str) -> list[Row]:
        """The rows of a model."""
        query = sql.SQL("select to_jsonb(model) from {} as model")
        with self.server.connect() as connection:
            found = connection.execute(query.format(sql.Identifier(self.models, model)))
            return [row for (row,) in found]

    def build(self) -> None:
        """Build and test the models with dbt."""
        variables = {"partnercenter_streams": [*self.keys], "partnercenter_schema": self.schema}
        dbt(
            "build",
            *flags("postgres", self.folder, **variables),
            **self.server.dbt_variables,
            DBT_POSTGRES_SCHEMA=self.models,
        )


def flags(kind: str, folder: Path, **variables: Any) -> list[str]:
    """Options of dbt for the package: a kind of warehouse, a folder for its files, variables."""
    return [
        f"--project-dir={TRANSFORM}",
        f"--profiles-dir={TRANSFORM / 'profiles' / kind}",
        f"--target-path={folder / 'target'}",
        f"--log-path={folder / 'logs'}",
        f"--vars={json.dumps(variables)}",
    ]


def dbt(*arguments: str, **variables: str) -> str:
    """Run dbt for PostgreSQL, in the versions of meltano.yml; return its output.

    Args:
        arguments: A command with its options, such as those of :func:`flags`.
        variables: Variables for its environment.
    """
    project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    pins = next(
        shlex.split(one["pip_url"])
        for one in project["plugins"]["utilities"]
        if one["name"] == "dbt-postgres"
    )
    ended = subprocess.run(
        [
            *(find_uv(), "tool", "run", "--quiet", "--python", sys.executable),
            *("--from", "dbt-core", *(f"--with={pin}" for pin in pins), "dbt", *arguments),
        ],
        env={**os.environ, "DBT_USE_COLORS": "false", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def _type(field: dict[str, Any]) -> str:
    """The type of a column as chosen by target-postgres, except for arrays."""
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    if field.get("format") == "date-time":
        return "timestamp"
    for kind, column in (
        ("object", "jsonb"),
        ("array", "jsonb"),
        ("boolean", "boolean"),
        ("integer", "bigint"),
        ("number", "numeric"),
    ):
        if kind in kinds:
            return column
    return "text"


def _value(field: dict[str, Any], value: Any) -> Any:
    if value is None:
        return None
    column = _type(field)
    if column == "timestamp":
        return _moment(value)
    return Jsonb(value) if column == "jsonb" else value


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
