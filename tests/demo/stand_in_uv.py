"""Replace `uv tool run … meltano …`: load what the emulator holds, or something else.

The variable STAND_IN selects the behaviour. `run` fills the tables directly from the emulator's
admin API, and `build` the models from the tables, so that a test of the demo does not need Meltano,
the tap or dbt.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

TABLES = """
create schema tap_partnercenter;
set search_path to tap_partnercenter;
create table customers (id text, "companyProfile" jsonb);
create table indirect_resellers (id text, name text);
create table reseller_customers (reseller_id text, id text);
create table customer_relationships (customer_id text, id text, "relationshipType" text);
create table subscriptions (
    customer_id text, id text, "offerName" text, quantity bigint, status text, "unitType" text
);
"""
MODELS = """
create schema partnercenter;
set search_path to tap_partnercenter;
create table partnercenter.customers_by_reseller as
select name as reseller_name, count(*) as customers
from indirect_resellers reseller join reseller_customers pair on reseller_id = reseller.id
group by name;
create table partnercenter.customers_with_several_resellers as
select pair.id as customer_id, 'Two, Inc.' as company_name,
    string_agg(name, ' | ' order by name) as reseller_names
from indirect_resellers reseller join reseller_customers pair on reseller_id = reseller.id
group by pair.id having count(*) > 1;
create table partnercenter.seats_by_offer as
select "offerName" as offer_name, sum(quantity)::bigint as seats
from subscriptions where (status, "unitType") = ('active', 'Licenses') group by "offerName";
"""

SUBSCRIPTION = ("customer_id", "id", "offerName", "quantity", "status", "unitType")


def held(what: str) -> list[dict[str, Any]]:
    """Return all that the emulator holds of one kind."""
    url = f"{os.environ['TAP_PARTNERCENTER_API_URL']}/_emulator/data/{what}"
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the emulator's own address
        return [json.loads(line) for line in answer]


def load() -> None:
    """Fill the tables."""
    import psycopg  # noqa: PLC0415 - an installation does without

    address = os.environ["TARGET_POSTGRES_SQLALCHEMY_URL"].replace("+psycopg", "")
    with psycopg.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
        cursor.executemany(
            "insert into customers values (%s, %s)",
            [(one["id"], json.dumps(one["companyProfile"])) for one in held("customers")],
        )
        cursor.executemany(
            "insert into indirect_resellers values (%s, %s)",
            [(one["id"], one["name"]) for one in held("resellers")],
        )
        cursor.executemany(
            "insert into reseller_customers values (%s, %s)",
            [(one["reseller_id"], one["customer_id"]) for one in held("memberships")],
        )
        cursor.executemany(
            "insert into customer_relationships values (%s, %s, %s)",
            [
                (one["customer_id"], one["id"], one.get("relationshipType") or "none")
                for one in held("relationships")
            ],
        )
        cursor.executemany(
            "insert into subscriptions values (%s, %s, %s, %s, %s, %s)",
            [tuple(one.get(name) for name in SUBSCRIPTION) for one in held("subscriptions")],
        )
        change = os.environ.get("STAND_IN_SQL")
        if change:
            cursor.execute(change.encode())


def build() -> None:
    """Fill the models."""
    import psycopg  # noqa: PLC0415 - an installation does without

    names = {"host": "HOST", "port": "PORT", "user": "USER", "dbname": "DBNAME"}
    address = {name: os.environ[f"DBT_POSTGRES_{variable}"] for name, variable in names.items()}
    with psycopg.connect(**address) as connection:  # type: ignore[arg-type]
        connection.execute(MODELS)


def main() -> int:
    """Record the call, and do what STAND_IN says."""
    behaviour = os.environ.get("STAND_IN", "load")
    command = "build" if sys.argv[-1] == "dbt-postgres:build" else "run"
    command = "install" if "install" in sys.argv else command
    notes = Path(os.environ["STAND_IN_NOTES"])
    note = {"arguments": sys.argv[1:], "environment": dict(os.environ)}
    (notes / f"{command}.json").write_text(json.dumps(note))
    if behaviour == f"fail to {command}":
        sys.stderr.write("the plugin's last words\n")
        return 3
    if command == "run" and behaviour == "hang":
        child = subprocess.Popen(["sleep", "600"])  # noqa: S607
        (notes / "child").write_text(str(child.pid))
        time.sleep(600)
    elif command == "run":
        load()
    elif command == "build":
        build()
    return 0


if __name__ == "__main__":
    sys.exit(main())
