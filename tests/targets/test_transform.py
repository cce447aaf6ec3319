"""The models of the dbt package, on PostgreSQL and DuckDB, compared with the emulator."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

import pytest
import yaml

from partnercenter_emulator import Emulator, Fault, Options
from tests.models import TRANSFORM
from tests.targets.rows import in_order
from tests.targets.transform import (
    MODELS,
    Built,
    DuckDB,
    PostgreSQL,
    Truth,
    Warehouse,
    assert_held,
    is_recent,
    utc,
)
from tests.warehouse import DELETES, needs_duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.warehouse import Pipe, Project

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=[PostgreSQL, pytest.param(DuckDB, marks=needs_duckdb)])
def built(
    request: pytest.FixtureRequest,
    with_dbt: Project,
    pipe: Pipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Built]:
    """Loaded completely, changed, and loaded again by two shards, which cannot delete."""
    warehouse: Warehouse = request.param(
        with_dbt, pipe, tmp_path_factory.mktemp("transform"), "transformed"
    )
    # With this seed three customers have two resellers.
    options = Options(customers=200, resellers=5, seed=5, link_form="rotate")
    with Emulator(options) as emulator:
        warehouse.load(emulator)
        warehouse.dbt("build")
        before = Truth.of(emulator)
        resellers = list(before.resellers)
        double = [one for one, served in before.served.items() if len(served) == 2]
        moved, direct, gone, inconsistent, *_ = (
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
        emulator.faults = [Fault(place="relationships", customer_id=inconsistent, json=answer)]
        for index in range(2):
            warehouse.load(emulator, shard_count=2, shard_index=index)
        warehouse.dbt("build")
        after = Truth.of(emulator)
        after.relations.remove((inconsistent, resellers[0]))
        after.relations.add((inconsistent, other["id"]))
        yield Built(warehouse, emulator, before, after, inconsistent)


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
    """Each current customer, with each reseller that it left and each that it has."""
    before, now = built.before, built.after
    expected = []
    for one in set(before.served) & set(now.served):
        for old, new in product(before.served[one] - now.served[one], now.served[one]):
            names = [now.resellers[reseller]["name"] for reseller in (old, new)]
            name = now.customers[one]["companyName"]
            expected.append((one, name, old, names[0], new, names[1]))
    assert len(expected) == 2
    answer = built.ask("moved_customers")
    assert all(is_recent(row.pop("noticed_at")) for row in answer)
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
    """The shares add up to a whole."""
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
    """A customer of two resellers counts in both countries, or once if they share one."""
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
    assert all(is_recent(row.pop("noticed_at")) for row in answer)
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
    """Here one customer's relationships name a reseller other than the one that lists it."""
    now = built.after
    listed = {(one, reseller) for one, served in now.served.items() for reseller in served}
    pairs = [
        *((*pair, "customer_relationships") for pair in now.relations - listed),
        *((*pair, "reseller_customers") for pair in listed - now.relations),
    ]
    assert {customer for customer, _, _ in pairs} == {built.inconsistent}
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
    """Each mart has a test of the same name."""
    assert {path.stem for path in TRANSFORM.glob("models/marts/*.sql")} == {
        name.removeprefix("test_")
        for name in globals()
        if name.startswith("test_") and (TRANSFORM / f"models/marts/{name[5:]}.sql").exists()
    }


def test_staging_holds_what_the_api_holds(built: Built) -> None:
    """After shards, a load with deletes, and a night that reads what changed."""
    emulator, warehouse = built.emulator, built.warehouse
    assert_held(built, alongside=built.inconsistent)

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
    """Exactly the columns of each model, including snapshots."""
    described = {
        model["name"]: [column["name"] for column in model["columns"]]
        for folder in ("models", "snapshots")
        for path in (TRANSFORM / folder).rglob("*.yml")
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


def subscriptions_of(emulator: Emulator, customer: str) -> list[str]:
    """The subscriptions of a customer."""
    return [
        str(one["id"]) for one in emulator.held("subscriptions") if one["customer_id"] == customer
    ]
