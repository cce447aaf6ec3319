"""Shared by the tests of the dbt package: warehouses, their models, and the emulator's data."""

from __future__ import annotations

import json
import os
import subprocess
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_partnercenter.streams import STREAMS
from tests.command_line import catalog_of, run_tap
from tests.models import flags
from tests.targets.rows import Row, in_order

if TYPE_CHECKING:
    from pathlib import Path

    from partnercenter_emulator import Emulator
    from tests.command_line import Result
    from tests.warehouse import Pipe, Project

MODELS = "models"
STREAM_NAMES: list[str] = [vars(stream)["name"] for stream in STREAMS]

#: Runs in dbt's own environment, which has DuckDB.
ASK_DUCKDB = """
import sys, json, duckdb
cursor = duckdb.connect(sys.argv[1]).execute(sys.argv[2])
names = [column[0] for column in cursor.description]
print(json.dumps([dict(zip(names, row)) for row in cursor.fetchall()], default=str))
"""


@dataclass(frozen=True)
class Warehouse(ABC):
    """Tables loaded by a target, and models built from them by dbt."""

    project: Project
    pipe: Pipe
    folder: Path
    schema: str
    """The schema of the tables."""

    def dbt(self, *arguments: str) -> None:
        """Run dbt with all streams."""
        ended = self.dbt_ended(*arguments)
        assert ended.returncode == 0, ended.stdout

    def dbt_ended(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run dbt, whether it succeeds or fails."""
        program = self.project.program(f"dbt-{self.kind()}", "dbt", "utilities")
        variables = {"partnercenter_streams": STREAM_NAMES, "partnercenter_schema": self.schema}
        return subprocess.run(
            [program, *arguments, *flags(self.kind(), self.folder, **variables)],
            env={**os.environ, **self.variables()},
            capture_output=True,
            text=True,
            check=False,
        )

    def rows(self, model: str) -> list[Row]:
        """The rows of a model, with times as text."""
        return self.answer(f"select * from {MODELS}.{model}")  # noqa: S608 - no input

    @abstractmethod
    def kind(self) -> str: ...
    @abstractmethod
    def variables(self) -> dict[str, str]: ...
    @abstractmethod
    def load(self, emulator: Emulator, **settings: Any) -> Result: ...
    @abstractmethod
    def answer(self, query: str) -> list[Row]: ...


class PostgreSQL(Warehouse):
    """The server shared by all tests."""

    @override
    def kind(self) -> str:
        return "postgres"

    @override
    def variables(self) -> dict[str, str]:
        return {**self.pipe.server.dbt_variables, "DBT_POSTGRES_SCHEMA": MODELS}

    @override
    def load(self, emulator: Emulator, **settings: Any) -> Result:
        return self.pipe.load(emulator, self.schema, catalog=catalog_of(*STREAM_NAMES), **settings)

    @override
    def answer(self, query: str) -> list[Row]:
        with self.pipe.server.connect() as connection:
            cursor = connection.execute(query.encode())
            if cursor.description is None:
                return []
            names = [column.name for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor]
        rows: list[Row] = json.loads(json.dumps(found, default=str))
        return rows


class DuckDB(Warehouse):
    """A file, written by the target's DuckDB and by dbt's newer one."""

    @property
    def file(self) -> str:
        return str(self.folder / "partnercenter.duckdb")

    @override
    def kind(self) -> str:
        return "duckdb"

    @override
    def variables(self) -> dict[str, str]:
        return {"DBT_DUCKDB_PATH": self.file, "DBT_DUCKDB_SCHEMA": MODELS}

    @override
    def load(
        self, emulator: Emulator, *, state: dict[str, Any] | None = None, **settings: Any
    ) -> Result:
        config = {**emulator.tap_config(), **settings}
        result = run_tap(config=config, catalog=catalog_of(*STREAM_NAMES), state=state)
        assert result.exit_code == 0, result.stderr
        path = self.folder / "config.json"
        own = {"default_target_schema": self.schema, "add_metadata_columns": True}
        path.write_text(json.dumps({"path": self.file, **own}))
        command = [self.project.program("target-duckdb", "target-duckdb"), "--config", str(path)]
        subprocess.run(command, input=result.stdout, capture_output=True, text=True, check=True)
        return result

    @override
    def answer(self, query: str) -> list[Row]:
        python = self.project.program("dbt-duckdb", "python", "utilities")
        ended = subprocess.run(
            [python, "-c", ASK_DUCKDB, self.file, query],
            capture_output=True,
            text=True,
            check=True,
        )
        rows: list[Row] = json.loads(ended.stdout)
        return rows


@dataclass(frozen=True)
class Truth:
    """What the emulator held at one time."""

    customers: dict[str, dict[str, Any]]
    resellers: dict[str, dict[str, Any]]
    served: dict[str, set[str]]
    """The resellers of each customer that has any."""
    relations: set[tuple[str, str]]
    """Customer and reseller of each relationship."""
    seats: Counter[str]
    """Seats of active subscriptions by customer."""
    offers: Counter[str]
    """Seats of active subscriptions by offer."""
    licences: dict[str, tuple[int, int]]
    """All licences of a customer, and the used ones."""

    @classmethod
    def of(cls, emulator: Emulator) -> Truth:
        """Query an emulator."""
        served: dict[str, set[str]] = {}
        for one in emulator.memberships():
            served.setdefault(one["customer_id"], set()).add(one["reseller_id"])
        seats, offers, licences = Counter[str](), Counter[str](), dict[str, tuple[int, int]]()
        for one in emulator.held("subscriptions"):
            if (one["status"], one["unitType"]) == ("active", "Licenses"):
                seats[one["customer_id"]] += one["quantity"]
                offers[one["offerId"]] += one["quantity"]
        for one in emulator.held("subscribed_skus"):
            total, used = licences.get(one["customer_id"], (0, 0))
            there = (total + one["totalUnits"], used + one["consumedUnits"])
            licences[one["customer_id"]] = there
        return cls(
            {customer["id"]: customer["companyProfile"] for customer in emulator.customers()},
            {reseller["id"]: reseller for reseller in emulator.resellers()},
            served,
            {(one["customer_id"], one["id"]) for one in emulator.relationships()},
            seats,
            offers,
            licences,
        )

    def named(self, resellers: set[str]) -> str:
        """Names of resellers, joined as in the models."""
        return " | ".join(sorted(self.resellers[one]["name"] for one in resellers))


@dataclass(frozen=True)
class Built:
    """Models built after each of two loads, and what each load read."""

    warehouse: Warehouse
    emulator: Emulator
    before: Truth
    after: Truth
    inconsistent: str
    """A customer whose relationships named another reseller."""

    def ask(self, model: str) -> list[Row]:
        """The rows of a model."""
        return self.warehouse.rows(model)


def assert_held(built: Built, *, alongside: str = "") -> None:
    """Check that each staging model holds exactly the records of the API.

    Args:
        built: The models.
        alongside: A customer whose relationships got a different answer.
    """
    for stream, rows in held(built.emulator).items():
        found = [
            {name: row[name] for name in rows[0]}
            for row in built.ask(f"stg_partnercenter__{stream}")
        ]
        wanted, loaded = (
            [row for row in some if row.get("customer_id") != alongside or "reseller_id" not in row]
            for some in (rows, found)
        )
        assert in_order(loaded) == in_order(wanted), stream


def held(emulator: Emulator) -> dict[str, list[Row]]:
    """The expected content of the staging models: keys, members of objects, and times."""

    def text(moment: str | None) -> str | None:
        parsed = utc(moment)
        return str(parsed) if parsed else None

    return {
        "customers": [
            {
                "customer_id": one["id"],
                "company_name": one["companyProfile"]["companyName"],
                "domain": one["companyProfile"]["domain"],
            }
            for one in emulator.customers()
        ],
        "reseller_customers": [
            {"reseller_id": one["reseller_id"], "customer_id": one["customer_id"]}
            for one in emulator.memberships()
        ],
        "customer_relationships": [
            {
                "customer_id": one["customer_id"],
                "reseller_id": one["id"],
                "relationship_type": one.get("relationshipType") or "none",
            }
            for one in emulator.relationships()
        ],
        "indirect_resellers": [
            {"reseller_id": one["id"], "reseller_name": one["name"]} for one in emulator.resellers()
        ],
        "customer_details": [
            {
                "customer_id": one["id"],
                "billing_city": one.get("billingProfile", {}).get("defaultAddress", {}).get("city"),
            }
            for one in emulator.held("customer")
        ],
        "subscriptions": [
            {
                "customer_id": one["customer_id"],
                "subscription_id": one["id"],
                "quantity": one["quantity"],
                "product_type": one.get("productType", {}).get("id"),
                "created_at": text(one["creationDate"]),
                "commitment_ends_at": text(one.get("commitmentEndDateTime"))
                or text(one.get("commitmentEndDate")),
            }
            for one in emulator.held("subscriptions")
        ],
        "orders": [
            {
                "customer_id": one["customer_id"],
                "order_id": one["id"],
                "created_at": text(one.get("creationDate")),
            }
            for one in emulator.held("orders")
        ],
        "agreements": [
            {
                "customer_id": one["customer_id"],
                "template_id": one["templateId"],
                "agreed_at": text(one["dateAgreed"]),
            }
            for one in emulator.held("agreements")
        ],
        "subscribed_skus": [
            {
                "customer_id": one["customer_id"],
                "sku_id": one["productSku"]["id"],
                "consumed_units": one["consumedUnits"],
            }
            for one in emulator.held("subscribed_skus")
        ],
        "invoices": [
            {"invoice_id": one["id"], "invoiced_at": text(one["invoiceDate"])}
            for one in emulator.held("invoices")
        ],
    }


def utc(moment: str | None) -> datetime | None:
    """A time as sent by the API; None for values that mean no time."""
    if not moment or moment[:4] in {"0001", "9999"}:
        return None
    parsed = datetime.fromisoformat(moment)
    return parsed.astimezone(UTC).replace(tzinfo=None) if parsed.tzinfo else parsed


def is_recent(moment: str) -> bool:
    """Whether a UTC time is within the last hour."""
    passed = datetime.now(UTC).replace(tzinfo=None) - datetime.fromisoformat(moment)
    return timedelta(0) <= passed < timedelta(hours=1)
