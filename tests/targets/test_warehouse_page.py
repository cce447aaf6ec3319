"""docs/warehouse.md shows the tables as they are, and its SQL works as described.

Run `pytest tests/targets/test_warehouse_page.py --update-golden` to rewrite the tables.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from partnercenter_emulator import Emulator, Options
from tests.command_line import catalog_of
from tests.models import dbt, flags
from tests.targets.page import PAGE, sql_block, with_part
from tests.targets.rows import column_types, loaded_rows
from tests.truth import KEYS, REFRESHES, held

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Start
    from tests.warehouse import Pipe

MARTS = Path(__file__).parents[2] / "transform" / "models" / "marts"
SCHEMA = "tap_partnercenter"
FLAT: dict[str, Any] = {"flattening_enabled": True, "flattening_max_depth": 1}


@pytest.fixture
def assert_shown(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a generated part of the page, or write it."""

    def compare(name: str, content: str) -> None:
        wanted = with_part(name, content)
        if request.config.getoption("--update-golden"):
            PAGE.write_text(wanted, encoding="utf-8")
        assert PAGE.read_text(encoding="utf-8") == wanted

    return compare


@pytest.fixture
def described(pipe: Pipe, capfd: pytest.CaptureFixture[str]) -> Callable[[str, str], str]:
    """The output of psql for a table."""

    def describe(schema: str, table: str) -> str:
        capfd.readouterr()
        command = f"--command=\\d {table}"
        assert pipe.server.psql(schema, "--pset=pager=off", command) == 0
        lines = capfd.readouterr().out.strip("\n").splitlines()
        return "\n".join(["```text", *(line.rstrip() for line in lines), "```"])

    return describe


@pytest.fixture(scope="module")
def customers(pipe: Pipe) -> list[dict[str, Any]]:
    """The customers in the tables of the schema named by the project's meltano.yml."""
    with Emulator(Options(customers=30, resellers=2)) as emulator:
        pipe.load(emulator, SCHEMA)
        return list(emulator.customers())


@pytest.mark.e2e
def test_the_tables_are_shown_as_they_are(
    customers: list[dict[str, Any]],
    start: Start,
    pipe: Pipe,
    described: Callable[[str, str], str],
    assert_shown: Callable[[str, str], None],
) -> None:
    """`\\d` of each table; flattened, only of the two from which the others follow."""
    assert customers
    blocks = [described(SCHEMA, table) for table in (*KEYS, *REFRESHES)]
    assert_shown("tables", "\n\n".join(blocks))

    pipe.load(start(customers=10, resellers=2), "flattened", **FLAT)
    shown = ("customers", "customer_relationships")
    blocks = [described("flattened", table) for table in shown]
    assert_shown("flattened", "\n\n".join(blocks))
    types = {table: column_types(pipe.server, "flattened", table) for table in KEYS}
    assert types["reseller_customers"].pop("reseller_id") == "text"
    assert types["reseller_customers"] == types["customers"]
    assert types["customer_relationships"].pop("customer_id") == "text"
    assert types["indirect_resellers"] == types["customer_relationships"]


def test_the_questions_are_listed() -> None:
    """Each mart has a description, and it begins with a question."""
    described = yaml.safe_load((MARTS / "marts.yml").read_text(encoding="utf-8"))["models"]
    assert {path.stem for path in MARTS.glob("*.sql")} == {model["name"] for model in described}
    assert all("?" in model["description"] for model in described)


@pytest.mark.e2e
def test_the_first_query(customers: list[dict[str, Any]], pipe: Pipe) -> None:
    """Quoted names and members of an object."""
    with pipe.server.connect() as connection:
        connection.execute(f"set search_path to {SCHEMA}".encode())
        found = connection.execute(sql_block("like '%").encode()).fetchall()
    assert found == [
        (one["id"], one["companyProfile"]["companyName"], one["relationshipToPartner"])
        for one in sorted(customers, key=lambda customer: str(customer["id"]))[:10]
    ]


@pytest.mark.e2e
def test_the_view_over_tenants(start: Start, pipe: Pipe) -> None:
    """The customers of each tenant, with its name."""
    tenants = {
        name: start(customers=10 + seed, seed=seed) for seed, name in enumerate(["se", "de"])
    }
    for name, emulator in tenants.items():
        pipe.load(emulator, f"partner_center_{name}", catalog=catalog_of("customers"))
    with pipe.server.connect() as connection:
        connection.execute(sql_block("partner_center").encode())
        found = connection.execute("select tenant, id from partner_center.customers").fetchall()
    assert sorted(found) == sorted(
        (name, key) for name, emulator in tenants.items() for (key,) in held(emulator)["customers"]
    )


@pytest.mark.e2e
def test_the_query_of_today_is_that_of_the_models(
    customers: list[dict[str, Any]],
    pipe: Pipe,
    tmp_path: Path,
    assert_shown: Callable[[str, str], None],
) -> None:
    """As compiled by dbt, without the names of database and schema."""
    assert customers
    streams = ["customer_relationships", "customer_refreshes"]
    model = "stg_partnercenter__customer_relationships"
    dbt(
        *("compile", f"--select={model}"),
        *flags("postgres", tmp_path, partnercenter_streams=streams),
        **pipe.server.dbt_variables,
    )
    (file,) = tmp_path.glob(f"target/compiled/**/{model}.sql")
    compiled = re.sub(r'"postgres"."\w+"."(\w+)"', r"\1", file.read_text(encoding="utf-8"))
    (query,) = re.findall(r"^(from .*?)\n\)\n\nselect$", compiled, re.DOTALL | re.MULTILINE)
    assert_shown("today", f"```sql\nselect loaded.*\n{query};\n```")


@pytest.mark.e2e
@pytest.mark.parametrize("shards", [1, 2])
def test_the_query_of_today_shows_what_the_api_holds(shards: int, start: Start, pipe: Pipe) -> None:
    """Without deletes: a customer left, another moved, and one lost all of its relationships."""
    emulator, schema = start(customers=30, resellers=3), f"today_{shards}"
    streams = catalog_of(*KEYS, *REFRESHES)
    pipe.load(emulator, schema, catalog=streams)
    left, moved, alone, *_ = (str(one["id"]) for one in emulator.customers())
    *_, last = (str(one["id"]) for one in emulator.resellers())
    emulator.remove_customer(left)
    emulator.move_customer(moved, last)
    emulator.move_customer(alone, None)
    emulator.create_customer("Brand New, Inc.")
    for index in range(shards):
        pipe.load(emulator, schema, catalog=streams, shard_count=shards, shard_index=index)
    with pipe.server.connect() as connection:
        connection.execute(f"set search_path to {schema}".encode())
        query = sql_block("select loaded.*").rstrip(";\n")
        key = ", ".join(f'"{name}"' for name in KEYS["customer_relationships"])
        query = f"select {key} from ({query}) as today where customer_id <> '{left}'"  # noqa: S608
        found = connection.execute(query.encode()).fetchall()
    assert sorted(found) == sorted(held(emulator)["customer_relationships"])
    assert len(loaded_rows(pipe.server, schema, "customers")) == 31
