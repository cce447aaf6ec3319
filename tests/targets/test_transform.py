"""The dbt package, on PostgreSQL and on DuckDB: its models alongside what the emulator holds."""

from __future__ import annotations

import json
import os
import subprocess
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typing_extensions import override

from partnercenter_demo.failure import DemoError
from partnercenter_emulator import Emulator, Fault, Options
from tap_partnercenter.streams import STREAMS
from tests.command_line import catalog_of, run_tap
from tests.targets.rows import SCHEMAS
from tests.warehouse import DELETES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.command_line import Result
    from tests.conftest import Start
    from tests.warehouse import Pipe, Project

pytestmark = pytest.mark.e2e

FOLDER = Path(__file__).parents[2] / "transform"
TABLES = "transformed"
MODELS = "models"
STREAM_NAMES: list[str] = [vars(stream)["name"] for stream in STREAMS]

#: Runs in dbt's own environment, where there is a DuckDB.
READ_DUCKDB = """
import sys, json, duckdb
cursor = duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2])
names = [column[0] for column in cursor.description]
print(json.dumps([dict(zip(names, row)) for row in cursor.fetchall()], default=str))
"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Warehouse(ABC):
    """Tables that a target loads, and models that dbt builds of them."""

    project: Project
    pipe: Pipe
    folder: Path

    def dbt(self, *arguments: str) -> None:
        """Run dbt, with all streams."""
        ended = self.dbt_ended(*arguments)
        assert ended.returncode == 0, ended.stdout

    def dbt_ended(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run dbt, however it ends."""
        variables = {"partnercenter_streams": STREAM_NAMES, "partnercenter_schema": TABLES}
        return subprocess.run(
            [
                self.project.program(f"dbt-{self.kind()}", "dbt", "utilities"),
                *arguments,
                f"--project-dir={FOLDER}",
                f"--profiles-dir={FOLDER / 'profiles' / self.kind()}",
                f"--target-path={self.folder / 'target'}",
                f"--log-path={self.folder / 'logs'}",
                f"--vars={json.dumps(variables)}",
            ],
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
    """The server of all tests."""

    @override
    def kind(self) -> str:
        return "postgres"

    @override
    def variables(self) -> dict[str, str]:
        return {**address(self.project), "DBT_POSTGRES_SCHEMA": MODELS}

    @override
    def load(self, emulator: Emulator, **settings: Any) -> Result:
        return self.pipe.load(emulator, TABLES, catalog=catalog_of(*STREAM_NAMES), **settings)

    @override
    def answer(self, query: str) -> list[Row]:
        with self.pipe.server.connect() as connection:
            cursor = connection.execute(query.encode())
            names = [column.name for column in cursor.description or ()]
            found = [dict(zip(names, row, strict=True)) for row in cursor]
        rows: list[Row] = json.loads(json.dumps(found, default=str))
        return rows


class DuckDB(Warehouse):
    """A file, which the target's DuckDB writes and dbt's newer one."""

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
        own = {"default_target_schema": TABLES, "add_metadata_columns": True}
        path.write_text(json.dumps({"path": self.file, **own}))
        command = [self.project.program("target-duckdb", "target-duckdb"), "--config", str(path)]
        subprocess.run(command, input=result.stdout, capture_output=True, text=True, check=True)
        return result

    @override
    def answer(self, query: str) -> list[Row]:
        python = self.project.program("dbt-duckdb", "python", "utilities")
        ended = subprocess.run(
            [python, "-c", READ_DUCKDB, self.file, query],
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
    """All licences of a customer, and those that are used."""

    @classmethod
    def of(cls, emulator: Emulator) -> Truth:
        """Ask an emulator."""
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
        """Names of resellers as the models join them."""
        return " | ".join(sorted(self.resellers[one]["name"] for one in resellers))


@dataclass(frozen=True)
class Built:
    """Models after two loads and a build after each, and what each load read."""

    warehouse: Warehouse
    emulator: Emulator
    before: Truth
    after: Truth
    misled: str
    """A customer whose relationships named another reseller."""

    def ask(self, model: str) -> list[Row]:
        """The rows of a model."""
        return self.warehouse.rows(model)


def address(project: Project) -> dict[str, str]:
    """Where dbt finds the server of the tests."""
    return {
        "DBT_POSTGRES_HOST": str(project.server.sockets),
        "DBT_POSTGRES_USER": "postgres",
        "DBT_POSTGRES_DBNAME": "postgres",
    }


@pytest.fixture(scope="module")
def with_dbt(project: Project) -> Project:
    """The project with its utilities, which other tests do without."""
    with project.meltano.command("install", "dbt-postgres", "dbt-duckdb", variables={}) as job:
        job.finish()
    return project


@pytest.fixture(scope="module", params=[PostgreSQL, DuckDB])
def built(
    request: pytest.FixtureRequest,
    with_dbt: Project,
    pipe: Pipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Built]:
    """Loaded whole, changed, and loaded again by two shards, which cannot delete."""
    warehouse: Warehouse = request.param(with_dbt, pipe, tmp_path_factory.mktemp("transform"))
    # With this seed three customers have two resellers.
    options = Options(customers=200, resellers=5, seed=5, link_form="rotate")
    with Emulator(options) as emulator:
        warehouse.load(emulator)
        warehouse.dbt("build")
        before = Truth.of(emulator)
        resellers = list(before.resellers)
        double = [one for one, served in before.served.items() if len(served) == 2]
        moved, direct, gone, misled, *_ = (
            one for one, served in before.served.items() if served == {resellers[0]}
        )
        emulator.move_customer(moved, resellers[1])
        emulator.move_customer(direct, None)
        emulator.remove_customer(gone)
        emulator.remove_customer(double[0])
        (kept, _) = sorted(before.served[double[1]])
        emulator.move_customer(double[1], kept)
        emulator.create_customer("Brand New, Inc.", reseller_id=resellers[2])
        emulator.create_customer("Direct GmbH")
        other = before.resellers[resellers[3]]
        answer = {"totalCount": 1, "items": [other], "attributes": {"objectType": "Collection"}}
        emulator.faults = [Fault(place="relationships", customer_id=misled, json=answer)]
        for index in range(2):
            warehouse.load(emulator, shard_count=2, shard_index=index)
        warehouse.dbt("build")
        after = Truth.of(emulator)
        after.relations.remove((misled, resellers[0]))
        after.relations.add((misled, other["id"]))
        yield Built(warehouse, emulator, before, after, misled)


def test_customers_without_reseller(built: Built) -> None:
    """With name and domain."""
    now = built.after
    direct = set(now.customers) - set(now.served)
    assert len(direct) > 10
    assert in_order(built.ask("customers_without_reseller")) == in_order(
        {
            "customer_id": one,
            "company_name": now.customers[one]["companyName"],
            "domain": now.customers[one]["domain"],
        }
        for one in direct
    )


def test_moved_customers(built: Built) -> None:
    """Each customer that is there, with each reseller it left and each it has."""
    before, now = built.before, built.after
    expected = []
    for one in set(before.served) & set(now.served):
        for old, new in product(before.served[one] - now.served[one], now.served[one]):
            names = [now.resellers[reseller]["name"] for reseller in (old, new)]
            name = now.customers[one]["companyName"]
            expected.append((one, name, old, names[0], new, names[1]))
    assert len(expected) == 2
    answer = built.ask("moved_customers")
    assert all(just_now(row.pop("noticed_at")) for row in answer)
    assert sorted(tuple(row.values()) for row in answer) == sorted(expected)


def test_customers_with_several_resellers(built: Built) -> None:
    """With the names of all of them."""
    now = built.after
    several = [one for one, served in now.served.items() if len(served) > 1]
    assert several
    assert in_order(built.ask("customers_with_several_resellers")) == in_order(
        {
            "customer_id": one,
            "company_name": now.customers[one]["companyName"],
            "resellers": len(now.served[one]),
            "reseller_names": now.named(now.served[one]),
        }
        for one in several
    )


def test_customers_by_reseller(built: Built) -> None:
    """The shares make a whole."""
    now = built.after
    sizes = Counter(reseller for served in now.served.values() for reseller in served)
    answer = built.ask("customers_by_reseller")
    assert {row["reseller_id"]: (row["reseller_name"], row["customers"]) for row in answer} == {
        one: (reseller["name"], sizes[one]) for one, reseller in now.resellers.items()
    }
    for row in answer:
        share = 100 * row["customers"] / sizes.total()
        assert float(row["percent"]) == pytest.approx(share, abs=0.0501)


def test_customers_by_country(built: Built) -> None:
    """A customer of two resellers counts in both countries, and once in one."""
    now = built.after
    customers: dict[str, set[str]] = {}
    resellers: dict[str, set[str]] = {}
    for one, served in now.served.items():
        for reseller in served:
            country = now.resellers[reseller]["location"]
            customers.setdefault(country, set()).add(one)
            resellers.setdefault(country, set()).add(reseller)
    assert len(customers) > 2
    assert in_order(built.ask("customers_by_country")) == in_order(
        {
            "country": country,
            "resellers": len(resellers[country]),
            "customers": len(customers[country]),
        }
        for country in customers
    )


def test_vanished_customers(built: Built) -> None:
    """With the name and resellers that they had when they were last seen."""
    before = built.before
    vanished = set(before.customers) - set(built.after.customers)
    assert len(vanished) == 2
    answer = built.ask("vanished_customers")
    assert all(just_now(row.pop("noticed_at")) for row in answer)
    assert in_order(answer) == in_order(
        {
            "customer_id": one,
            "company_name": before.customers[one]["companyName"],
            "domain": before.customers[one]["domain"],
            "last_reseller_names": before.named(before.served[one]),
        }
        for one in vanished
    )


def test_disagreeing_relationships(built: Built) -> None:
    """Here one customer's relationships name another reseller than the one that lists it."""
    now = built.after
    listed = {(one, reseller) for one, served in now.served.items() for reseller in served}
    pairs = [
        *((*pair, "customer_relationships") for pair in now.relations - listed),
        *((*pair, "reseller_customers") for pair in listed - now.relations),
    ]
    assert {customer for customer, _, _ in pairs} == {built.misled}
    answer = built.ask("disagreeing_relationships")
    assert sorted(tuple(row.values()) for row in answer) == sorted(pairs)


def test_seats_by_customer(built: Built) -> None:
    """Bought through this partner, and used in the tenant."""
    now = built.after
    expected = []
    for one in now.customers:
        total, used = now.licences.get(one, (None, None))
        unused = None if total is None or used is None else total - used
        name = now.customers[one]["companyName"]
        expected.append((one, name, now.seats[one], total, used, unused))
    answer = {row["customer_id"]: tuple(row.values()) for row in built.ask("seats_by_customer")}
    assert answer == {row[0]: row for row in expected}
    assert any(unused and unused > 0 for *_, unused in expected)


def test_seats_by_offer(built: Built) -> None:
    """Of active subscriptions, by the id of the offer."""
    answer = built.ask("seats_by_offer")
    assert {row["offer_id"]: row["seats"] for row in answer} == dict(built.after.offers)


def test_subscriptions_ending_soon(built: Built) -> None:
    """Active, with an end within thirty days."""
    now = datetime.now(UTC).replace(tzinfo=None)
    ending = [
        (one["customer_id"], one["id"], str(ends))
        for one in built.emulator.held("subscriptions")
        if one["status"] == "active"
        and (ends := utc(one.get("commitmentEndDateTime")) or utc(one.get("commitmentEndDate")))
        and now <= ends < now + timedelta(days=30)
    ]
    assert ending
    answer = built.ask("subscriptions_ending_soon")
    columns = ("customer_id", "subscription_id", "ends_at")
    assert sorted(tuple(row[name] for name in columns) for row in answer) == sorted(ending)


def test_every_question_is_tested() -> None:
    """A mart has a test of its name."""
    assert {path.stem for path in FOLDER.glob("models/marts/*.sql")} == {
        name.removeprefix("test_")
        for name in globals()
        if name.startswith("test_") and (FOLDER / f"models/marts/{name[5:]}.sql").exists()
    }


def test_every_stream_is_a_source() -> None:
    """Described as its schema is; unless told otherwise, the streams are those of the tap."""
    text = (FOLDER / "models" / "sources.yml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["sources"]
    assert {table["name"]: table["description"] for table in source["tables"]} == {
        name: json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))["description"]
        for name in STREAM_NAMES
    }
    project = yaml.safe_load((FOLDER / "dbt_project.yml").read_text(encoding="utf-8"))
    assert sorted(project["vars"]["partnercenter_streams"]) == sorted(
        vars(stream)["name"] for stream in STREAMS if stream.selected_by_default
    )


def test_staging_holds_what_the_api_holds(built: Built) -> None:
    """After shards, a load with deletes, and a night that reads what changed."""
    emulator, warehouse = built.emulator, built.warehouse
    assert_held(built, alongside=built.misled)

    emulator.faults = []
    first, second, *_, last = dict.fromkeys(
        str(one["customer_id"]) for one in emulator.held("subscriptions")
    )
    emulator.remove_customer(first)
    emulator.move_customer(second, None)
    warehouse.load(emulator, **DELETES)
    assert_held(built)

    state = warehouse.load(emulator, full_refresh_days=7).state
    emulator.remove_customer(second)
    emulator.rename_customer(last, "Ny & Glänsande AB")
    for subscription in subscriptions_of(emulator, last):
        emulator.remove("subscriptions", subscription, last)
    emulator.reset_stats()
    warehouse.load(emulator, full_refresh_days=7, state=state)
    assert emulator.stats().by_place["subscriptions"]["200"] < 100, "it read everything"
    assert_held(built)


def test_every_column_is_described(built: Built) -> None:
    """The columns of each model, those of snapshots too, and no others."""
    described = {
        model["name"]: [column["name"] for column in model["columns"]]
        for folder in ("models", "snapshots")
        for path in (FOLDER / folder).rglob("*.yml")
        for kind, models in yaml.safe_load(path.read_text(encoding="utf-8")).items()
        if kind in {"models", "snapshots"} and isinstance(models, list)
        for model in models
    }
    found: dict[str, list[str]] = {}
    query = "select table_schema, table_name, column_name from information_schema.columns"
    for row in built.warehouse.answer(query):
        if row["table_schema"] == MODELS:
            found.setdefault(row["table_name"], []).append(row["column_name"])
    assert {name: sorted(columns) for name, columns in found.items()} == {
        name: sorted(columns) for name, columns in described.items()
    }


def test_tables_that_are_days_old_are_stale(built: Built) -> None:
    """`dbt source freshness` fails for them alone."""
    if isinstance(built.warehouse, DuckDB):
        return  # its file is read only here; the sources are the same
    with built.warehouse.pipe.server.connect() as connection:
        old = "_sdc_extracted_at - interval '4 days'"
        query = f"update {TABLES}.invoices set _sdc_extracted_at = {old}"  # noqa: S608 - no input
        connection.execute(query.encode())
    ended = built.warehouse.dbt_ended("source", "freshness")
    assert ended.returncode == 1
    stale = [line for line in ended.stdout.splitlines() if "ERROR STALE" in line]
    assert len(stale) == 1
    assert "invoices" in stale[0]


def test_meltano_builds_what_it_loaded(start: Start, with_dbt: Project, tmp_path: Path) -> None:
    """The command of the docs, with the streams that are selected by default.

    Columns that are not selected are null, and models of other streams are left out. A build that
    fails makes the run fail.
    """
    emulator = start(customers=30, resellers=3)
    name = "built"
    variables = {
        **address(with_dbt),
        "DBT_POSTGRES_SCHEMA": "built_models",
        "DBT_POSTGRES_VARS": json.dumps({"partnercenter_schema": name}),
        "DBT_TARGET_PATH": str(tmp_path / "target"),
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


def subscriptions_of(emulator: Emulator, customer: str) -> list[str]:
    """The subscriptions of a customer."""
    return [
        str(one["id"]) for one in emulator.held("subscriptions") if one["customer_id"] == customer
    ]


def assert_held(built: Built, *, alongside: str = "") -> None:
    """Each staging model holds the records of the API, and no others.

    Args:
        built: The models.
        alongside: A customer whose relationships were answered otherwise.
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
    """What the staging models should hold: keys, members of objects, and times."""

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
    """A time as the API sends it; None for those that stand for none."""
    if not moment or moment[:4] in {"0001", "9999"}:
        return None
    parsed = datetime.fromisoformat(moment)
    return parsed.astimezone(UTC).replace(tzinfo=None) if parsed.tzinfo else parsed


def just_now(moment: str) -> bool:
    """Whether a time in UTC lies within the last hour."""
    passed = datetime.now(UTC).replace(tzinfo=None) - datetime.fromisoformat(moment)
    return timedelta(0) <= passed < timedelta(hours=1)


def in_order(rows: Any) -> list[Row]:
    """Rows in an order of their own: tables have none."""
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
