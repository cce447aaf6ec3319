"""Simulated nights with changes, failures and kills: what must hold after each of them."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from typing_extensions import override

from partnercenter_emulator import Emulator, Fault
from tests.models import Models
from tests.nights import CHILDREN, DAY, KEYS, LISTS, Row, Tables, World, contents, held, read, turns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from partnercenter_demo.postgres import Server
    from tests.command_line import Result

pytestmark = pytest.mark.slow


class Warehouse(Tables):
    """PostgreSQL tables with dbt's models as well: both must agree."""

    def __init__(self, models: Models) -> None:
        super().__init__()
        self.models = models
        models.empty()

    @override
    def load(self, lines: Iterable[str]) -> None:
        lines = list(lines)
        super().load(lines)
        self.models.load(map(json.loads, lines))

    @override
    def today(self, stream: str) -> list[Row]:
        found = self.models.today(stream)
        assert contents(found) == contents(super().today(stream)), stream
        return found

    def assert_answers(self, emulator: Emulator, before: Iterable[str]) -> None:
        """Check that the marts match the emulator, and list who left since the last build."""
        names = {one["id"]: one["name"] for one in emulator.resellers()}
        pairs = [(one["reseller_id"], one["customer_id"]) for one in emulator.memberships()]
        sizes = Counter(reseller for reseller, _ in pairs)
        answer = self.models.rows("customers_by_reseller")
        assert {row["reseller_name"]: row["customers"] for row in answer} == {
            name: sizes[key] for key, name in names.items()
        }
        customers = {one["id"] for one in emulator.customers()}
        answer = self.models.rows("customers_without_reseller")
        assert {row["customer_id"] for row in answer} == customers - {one for _, one in pairs}
        answer = self.models.rows("vanished_customers")
        assert {row["customer_id"] for row in answer} == {*before} - customers


class Simulation:
    """Nights with changes, failures, kills and missed runs; and the checks after each."""

    def __init__(self, days: int, seed: int, tables: Tables) -> None:
        self.days = days
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self.world = World(customers=24, audit_per_day=0)
        self.world.tables = tables
        #: For each customer and child stream: since when it held which rows.
        self.history: defaultdict[tuple[str, str], list[tuple[float, list[str]]]]
        self.history = defaultdict(lambda: [(0.0, [])])
        #: Changes in the audit log: the customer, when it happened, and when it is logged.
        self.audited: list[tuple[str, float, float]] = []
        #: When the last complete run started.
        self.complete = 0.0
        #: Requests for children in each complete night, and their upper limit.
        self.requests: list[tuple[int, int]] = []

    def night(self, *, quiet: bool = False) -> None:
        """Let a day pass, and run; after a failure perhaps run again."""
        world, rng = self.world, self.random.random
        morning = world.now
        for moment in sorted(rng() for _ in range(0 if quiet else self.random.randint(0, 3))):
            world.now = morning + moment * DAY
            self.change()
            self.note()
        world.now = morning + DAY
        self.note()
        if not quiet and rng() < 0.1:
            return  # the machine was off
        places: list[Any] = ["customers", "continuation", "subscriptions", "relationships"]
        place: Any = self.random.choice([*places, "resellers", "partition", "audit_records"])
        fault = Fault(place=place, skip=self.random.randint(0, 5), times=1, status=501)
        world.emulator.faults = [fault] if rng() < 0.3 and not quiet else []
        cut = rng() if rng() < 0.15 and not quiet else 1.0
        if not self.run(cut) and rng() < 0.6:
            world.now += DAY / 24
            world.emulator.faults = []
            self.run(1.0)
        world.now = morning + DAY

    def change(self) -> None:
        """Change something of a customer; the audit log has it at once, late, or never."""
        emulator, pick = self.world.emulator, self.random.choice
        audit: Any = {
            "audited": self.random.random() < 0.6,
            "late": pick([0.0, 0.0, 0.7, 1.9]) * DAY,
        }
        one = pick(held(emulator, "subscriptions"))
        customer, key = one["customer_id"], one["id"]
        kind = self.random.randrange(7)
        if kind == 0:
            customer = pick(self.world.ids())
            emulator.add("subscriptions", {}, customer, **audit)
        elif kind == 1:
            emulator.remove("subscriptions", key, customer, **audit)
        elif kind == 2:
            audit["audited"] = False
            resellers = [None, *(one["id"] for one in emulator.resellers())]
            emulator.move_customer(pick(self.world.ids()), pick(resellers))
        elif kind == 3:
            emulator.remove_customer(customer, **audit)
        elif kind == 4:
            customer = emulator.create_customer("New, Inc.", **audit)["id"]
        else:
            quantity = {"quantity": self.random.randint(1, 99)}
            emulator.change("subscriptions", key, quantity, customer, **audit)
        if audit["audited"]:
            self.audited.append((customer, self.world.now, self.world.now + audit["late"]))

    def note(self) -> None:
        """Record what each customer holds from now on."""
        for (customer, stream), rows in self.held().items():
            known = self.history[customer, stream]
            if known[-1][1] != rows:
                known.append((self.world.now, rows))

    def held(self) -> dict[tuple[str, str], list[str]]:
        return grouped({s: held(self.world.emulator, s) for s in CHILDREN}, self.world.ids())

    def run(self, cut: float) -> bool:
        """Run and check everything that must hold; return whether the run was complete."""
        world, started = self.world, self.world.now
        # What a failed run had sent may still arrive.
        seen = -1
        while seen < (seen := len(world.emulator.requests)):
            time.sleep(0.02)
        world.asked()
        result = world.run(full_refresh_days=self.days, cut=cut)
        asked = world.asked()
        assert len(json.dumps(world.state)) < 1500
        if result.exit_code or cut < 1:
            return False
        resumed = any("resumed where" in line for line in result.log)
        # Departures are known if the list was read in one go.
        here = {*world.ids()} | {row["id"] for row in world.tables.today("customers") if resumed}
        today = {stream: world.tables.today(stream) for stream in CHILDREN}
        for (customer, stream), rows in grouped(today, here).items():
            if customer in world.ids():
                self.assert_fresh(customer, stream, rows)
        if not resumed:
            world.tables.assert_current_rows(world.emulator, *LISTS)
            self.count(result, asked)
        self.complete = started
        return True

    def assert_fresh(self, customer: str, stream: str, rows: list[str]) -> None:
        """Check that the rows are from one moment of the last days, with all audited changes."""
        now, known = self.world.now, self.history[customer, stream]
        ends = [*(since for since, _ in known[1:]), now + 1]
        assert any(
            rows == then and until > now - self.days * DAY
            for (_, then), until in zip(known, ends, strict=True)
        ), (customer, stream, rows, known)
        if any(
            one == customer and self.complete < recorded_at <= now
            for one, _, recorded_at in self.audited
        ):
            assert rows == known[-1][1], (customer, stream)

    def count(self, result: Result, asked: dict[str, int]) -> None:
        """Check that requests stay within those for turns and changes."""
        everything = {*read(result).values()} == {"all"}
        today, before = int(self.world.now // DAY), int(self.complete // DAY)
        due = turns(self.world, self.days, today - before)
        named = {one for one, done, _ in self.audited if done >= (before - 2) * DAY}
        most = len(CHILDREN) * len({*self.world.ids()} if everything else due | named)
        requests = asked.get("subscriptions", 0) + asked.get("relationships", 0)
        assert requests <= most
        reasons = read(result).values()
        failed = any("audit records cannot be" in line for line in result.levels("WARNING"))
        assert everything == ("all" in reasons) or not reasons
        assert not everything or failed or self.days == 1 or today - before >= self.days
        self.requests.append((requests, most))


def grouped(
    rows: dict[str, list[Row]], customers: Iterable[str]
) -> dict[tuple[str, str], list[str]]:
    """The rows of each customer and child stream, even if there are none."""
    found: dict[tuple[str, str], list[Row]] = {
        (customer, stream): [] for customer in customers for stream in rows
    }
    for stream, all_rows in rows.items():
        for row in all_rows:
            found[row["customer_id"], stream].append(row)
    return {place: contents(own) for place, own in found.items()}


def test_incremental_refresh_keeps_its_guarantees() -> None:
    """Children are never too old, audited changes come at once, and in the end all rows match."""
    simulation = Simulation(3, 1, Tables())
    with simulation.world.emulator:
        simulation.note()
        for _ in range(9):
            simulation.night()
        for _ in range(simulation.days):
            simulation.night(quiet=True)
        simulation.world.tables.assert_current_rows(simulation.world.emulator)


@pytest.fixture(scope="module")
def models(database: Server, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The models of empty tables."""
    models = Models(database, tmp_path_factory.mktemp("dbt"), KEYS)
    models.create()
    return models


#: How many nights are tried for each number of days: sixty with `--hypothesis-profile whole`.
SAMPLE = {1: 6, 3: 12, 7: 16, 30: 10}


@pytest.mark.e2e
@pytest.mark.parametrize("days", SAMPLE)
def test_models_keep_their_guarantees(days: int, models: Models) -> None:
    """After each night, on PostgreSQL; after some quiet ones, exactly what the API holds."""
    warehouse = Warehouse(models)
    simulation = Simulation(days, days, warehouse)
    world = simulation.world
    is_whole = settings.get_current_profile_name() == "whole"
    builds = is_whole or days == 7
    with world.emulator:
        simulation.note()
        for _ in range(60 if is_whole else SAMPLE[days]):
            simulation.night()
        simulation.night(quiet=True)
        if builds:
            models.build()
        before = world.ids()
        # The next build notices who had customers and has none now.
        world.emulator.remove_customer(before[0])
        world.emulator.move_customer(before[1], None)
        simulation.note()
        for _ in range(days):
            simulation.night(quiet=True)
        warehouse.assert_current_rows(world.emulator)
        if builds:
            models.build()
            warehouse.assert_answers(world.emulator, before)
    print(f"\n{days} days: requests, and the most: {simulation.requests}")  # noqa: T201 - for -s
