"""The queries of docs/sql, asked of the demo's data after a change at the source."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from partnercenter_emulator import Emulator, Fault, Options
from tests.targets.rows import assert_equal
from tests.warehouse import DELETES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.warehouse import Pipe

pytestmark = pytest.mark.e2e

FOLDER = Path(__file__).parents[2] / "docs" / "sql"
SCHEMA = "questions"


@dataclass(frozen=True)
class Truth:
    """What the emulator held at one time."""

    customers: dict[str, dict[str, Any]]
    resellers: dict[str, dict[str, Any]]
    served: dict[str, set[str]]
    """The resellers of each customer that has any."""
    relations: set[tuple[str, str]]
    """Customer and reseller of each relationship."""

    @classmethod
    def of(cls, emulator: Emulator) -> Truth:
        """Ask an emulator."""
        served: dict[str, set[str]] = {}
        for one in emulator.memberships():
            served.setdefault(one["customer_id"], set()).add(one["reseller_id"])
        return cls(
            {customer["id"]: customer["companyProfile"] for customer in emulator.customers()},
            {reseller["id"]: reseller for reseller in emulator.resellers()},
            served,
            {(one["customer_id"], one["id"]) for one in emulator.relationships()},
        )

    def named(self, resellers: set[str]) -> str:
        """Names of resellers as the queries join them."""
        return " | ".join(sorted(self.resellers[one]["name"] for one in resellers))


@dataclass(frozen=True)
class Loaded:
    """The tables after two loads, and what each load read."""

    before: Truth
    after: Truth
    misled: str
    """A customer whose relationships named another reseller."""


class Ask(Protocol):
    """Runs a file of docs/sql and returns its answer: a row is its columns' text."""

    def __call__(self, name: str) -> list[dict[str, str]]: ...


@pytest.fixture(scope="module")
def loaded(pipe: Pipe) -> Iterator[Loaded]:
    """The data of `uv run demo`, loaded, changed and loaded again with soft delete."""
    with Emulator(Options(link_form="rotate")) as emulator:
        pipe.load(emulator, SCHEMA, **DELETES)
        assert_equal(pipe.server, SCHEMA, emulator)
        before = Truth.of(emulator)
        resellers = list(before.resellers)
        double = [one for one, served in before.served.items() if len(served) == 2]
        moved, direct, gone, misled, *_ = (
            one for one, served in before.served.items() if served == {resellers[0]}
        )
        emulator.move_customer(moved, resellers[5])
        emulator.move_customer(direct, None)
        emulator.remove_customer(gone)
        emulator.remove_customer(double[0])
        (kept, _) = sorted(before.served[double[1]])
        emulator.move_customer(double[1], kept)
        emulator.create_customer("Brand New, Inc.", reseller_id=resellers[11])
        emulator.create_customer("Direct GmbH")
        other = before.resellers[resellers[7]]
        answer = {"totalCount": 1, "items": [other], "attributes": {"objectType": "Collection"}}
        emulator.faults = [Fault(place="relationships", customer_id=misled, json=answer)]
        pipe.load(emulator, SCHEMA, **DELETES)
        after = Truth.of(emulator)
        after.relations.remove((misled, resellers[0]))
        after.relations.add((misled, other["id"]))
        yield Loaded(before, after, misled)


@pytest.fixture
def ask(loaded: Loaded, pipe: Pipe, capfd: pytest.CaptureFixture[str]) -> Ask:
    assert loaded

    def ask_psql(name: str) -> list[dict[str, str]]:
        capfd.readouterr()
        assert pipe.server.psql(SCHEMA, "--csv", f"--file={FOLDER / name}.sql") == 0
        return list(csv.DictReader(capfd.readouterr().out.splitlines()))

    return ask_psql


def test_customers_without_reseller(loaded: Loaded, ask: Ask) -> None:
    """In the order of their ids, with name and domain."""
    now = loaded.after
    direct = sorted(set(now.customers) - set(now.served))
    assert len(direct) > 50
    assert ask("customers_without_reseller") == [
        {
            "id": one,
            "customer": now.customers[one]["companyName"],
            "domain": now.customers[one]["domain"],
        }
        for one in direct
    ]


def test_moved_customers(loaded: Loaded, ask: Ask) -> None:
    """Each customer that is there, with each reseller it left and each it has."""
    before, now = loaded.before, loaded.after
    expected = []
    for one in sorted(set(before.served) & set(now.served)):
        for old, new in product(before.served[one] - now.served[one], now.served[one]):
            names = [now.resellers[reseller]["name"] for reseller in (old, new)]
            expected.append([one, now.customers[one]["companyName"], *names])
    assert len(expected) == 2
    answer = ask("moved_customers")
    assert all(row.pop("noticed_at") for row in answer)
    assert [list(row.values()) for row in answer] == expected


def test_customers_with_several_resellers(loaded: Loaded, ask: Ask) -> None:
    """With the names of all of them."""
    now = loaded.after
    several = sorted(one for one, served in now.served.items() if len(served) > 1)
    assert several
    assert ask("customers_with_several_resellers") == [
        {
            "id": one,
            "customer": now.customers[one]["companyName"],
            "resellers": str(len(now.served[one])),
            "names": now.named(now.served[one]),
        }
        for one in several
    ]


def test_resellers_by_customers(loaded: Loaded, ask: Ask) -> None:
    """The largest first; the shares make a whole."""
    now = loaded.after
    sizes = Counter(reseller for served in now.served.values() for reseller in served)
    rows = [(-sizes[one], reseller["name"], one) for one, reseller in now.resellers.items()]
    answer = ask("resellers_by_customers")
    assert [(row["id"], row["reseller"], int(row["customers"])) for row in answer] == [
        (one, name, -size) for size, name, one in sorted(rows)
    ]
    for row in answer:
        share = 100 * int(row["customers"]) / sizes.total()
        assert float(row["percent"]) == pytest.approx(share, abs=0.05)


def test_customers_by_country(loaded: Loaded, ask: Ask) -> None:
    """A customer of two resellers counts in both countries, and once in one."""
    now = loaded.after
    customers: dict[str, set[str]] = {}
    resellers: dict[str, set[str]] = {}
    for one, served in now.served.items():
        for reseller in served:
            country = now.resellers[reseller]["location"]
            customers.setdefault(country, set()).add(one)
            resellers.setdefault(country, set()).add(reseller)
    order = sorted(customers, key=lambda country: (-len(customers[country]), country))
    assert len(order) > 2
    assert ask("customers_by_country") == [
        {
            "country": country,
            "resellers": str(len(resellers[country])),
            "customers": str(len(customers[country])),
        }
        for country in order
    ]


def test_vanished_customers(loaded: Loaded, ask: Ask) -> None:
    """With the name and resellers that they had when they were last seen."""
    before = loaded.before
    vanished = sorted(set(before.customers) - set(loaded.after.customers))
    assert len(vanished) == 2
    answer = ask("vanished_customers")
    assert all(row.pop("noticed_at") for row in answer)
    assert answer == [
        {
            "id": one,
            "customer": before.customers[one]["companyName"],
            "last_resellers": before.named(before.served[one]),
        }
        for one in vanished
    ]


def test_disagreeing_relationships(loaded: Loaded, ask: Ask) -> None:
    """Here one customer's relationships name another reseller than the one that lists it."""
    now = loaded.after
    listed = {(one, reseller) for one, served in now.served.items() for reseller in served}
    pairs = [
        *((*pair, "customer_relationships") for pair in now.relations - listed),
        *((*pair, "reseller_customers") for pair in listed - now.relations),
    ]
    assert {customer for customer, _, _ in pairs} == {loaded.misled}
    answer = ask("disagreeing_relationships")
    assert [tuple(row.values()) for row in answer] == sorted(pairs)


def test_every_question_is_tested() -> None:
    """A file of docs/sql has a test of its name."""
    assert {path.stem for path in FOLDER.iterdir()} == {
        name.removeprefix("test_") for name in globals() if name.startswith("test_")
    } - {"every_question_is_tested"}
