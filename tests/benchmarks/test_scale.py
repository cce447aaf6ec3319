"""The scale model keeps to its quota, loses nothing, and is what the documentation shows."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from partnercenter_benchmarks import documents, scale, scale_model
from partnercenter_benchmarks.results import Results
from partnercenter_benchmarks.results import load as load_results
from partnercenter_benchmarks.scale_figures import (
    FULL,
    QUICK,
    Case,
    ScaleFigures,
    Simulated,
    cases,
    load,
    together,
)
from partnercenter_benchmarks.scale_model import (
    PAGE_SIZE,
    STAGGER,
    Counting,
    Outcome,
    Scene,
    Service,
    Wanted,
    reseller_sizes,
    simulate,
)
from partnercenter_benchmarks.scale_tables import machine, operating_sections, sections, span
from tests.benchmarks.made_up import run, session

if TYPE_CHECKING:
    from pathlib import Path

PARTS = re.compile(r"<!-- figures: \w+ -->.*?<!-- end of figures -->", re.DOTALL)
#: The rest of a run's last minutes, in which some shards have ended, does not vanish among these.
SMALL = Scene(customers=6_000)
#: What the tests simulate again, of what the documentation shows: a second or two.
AGAIN = 12_000


@dataclasses.dataclass
class Asked:
    """What a service was asked for."""

    times: list[float] = dataclasses.field(default_factory=list)
    accepted: list[float] = dataclasses.field(default_factory=list)
    customers: Counter[int] = dataclasses.field(default_factory=Counter)


class Watched(Service):
    """Keeps what it was asked for."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.asked = Asked()

    def ask(self, now: float, wanted: Wanted) -> float | None:
        wait = super().ask(now, wanted)
        self.asked.times.append(now)
        if wait is None:
            self.asked.accepted.append(now)
            if wanted.kind == "relationships":
                self.asked.customers[wanted.customer] += 1
        return wait


def like(scene: Scene, **changes: Any) -> Scene:
    return msgspec.structs.replace(scene, **changes)


def watched(scene: Scene) -> tuple[Outcome, Asked]:
    service = Watched(scene)
    return simulate(scene, service), service.asked


def measured() -> Results:
    """A session in which 100 requests took half a second of the processor beyond the start."""
    results = session()
    results.runs.append(run(case="children-0ms", user=1.0))
    return results


@pytest.fixture(scope="module")
def quick() -> ScaleFigures:
    """All cases at the small sizes, in this process."""
    found = [
        Simulated(case, together(simulate(scene) for scene in case.scenes)) for case in cases(QUICK)
    ]
    return ScaleFigures(QUICK, found)


@pytest.mark.parametrize("quota", [0, 500])
@pytest.mark.parametrize("shards", [1, 4, 16])
def test_everything_is_read_exactly_once(shards: int, quota: int) -> None:
    """Children by one shard, the partitions by one shard, the lists by all."""
    scene = like(SMALL, shards=shards, quota=quota)
    outcome, asked = watched(scene)
    assert asked.customers == Counter(range(scene.customers))
    pages = math.ceil(scene.customers / PAGE_SIZE)
    assert outcome.relationships == scene.customers
    assert outcome.lists == shards * (pages + 2)
    assert outcome.partitions == sum(
        max(1, math.ceil(size / PAGE_SIZE)) for size in reseller_sizes(scene)
    )
    assert outcome.requests == len(asked.times)
    assert outcome.answered == len(asked.accepted)


def test_without_relationships_only_lists_are_read() -> None:
    """The streams that cost a request for hundreds of customers."""
    scene = like(SMALL, relationships=False, shards=4)
    outcome, _ = watched(scene)
    assert outcome.relationships == 0
    assert outcome.lists == 4 * (math.ceil(scene.customers / PAGE_SIZE) + 2)


@pytest.mark.parametrize("counting", ["fixed_window", "sliding_window", "token_bucket"])
@pytest.mark.parametrize("shards", [1, 16])
def test_the_quota_is_kept(counting: Any, shards: int) -> None:
    """No window has more accepted requests than it allows, counted here a second time."""
    scene = like(SMALL, shards=shards, counting=counting)
    _, asked = watched(scene)
    if counting == "fixed_window":
        windows: list[tuple[float, list[float]]] = []
        for at in asked.times:
            if not windows or at >= windows[-1][0] + 60:
                windows.append((at, []))
            windows[-1][1].append(at)
        for begin, _ in windows:
            used = sum(begin <= at < begin + 60 for at in asked.accepted)
            assert used <= scene.quota
    else:
        # A full bucket holds a minute's worth, to which another one comes in a minute.
        most = scene.quota * (2 if counting == "token_bucket" else 1)
        spans = zip(asked.accepted, asked.accepted[most:], strict=False)
        assert all(later - earlier > 59.999 for earlier, later in spans)


def test_requests_under_way_are_bounded() -> None:
    """No more than the setting of each shard: that many leave at once, and no others meanwhile."""
    scene = like(SMALL, quota=0, latency=10.0)
    _, asked = watched(scene)
    # No answer takes less than half the latency.
    spans = zip(asked.times, asked.times[scene.concurrency :], strict=False)
    assert all(later - earlier >= 5 for earlier, later in spans)


def test_the_same_scene_has_the_same_outcome() -> None:
    """And another seed another one."""
    scene = like(SMALL, shards=4)
    assert simulate(scene) == simulate(scene)
    assert simulate(scene) != simulate(like(scene, seed=2))


def test_more_shards_under_one_quota_save_no_time() -> None:
    """A service that grants so many requests grants no more to many clients."""
    alone = simulate(SMALL).seconds
    for shards in (4, 16):
        assert simulate(like(SMALL, shards=shards)).seconds >= 0.98 * alone


def test_more_tenants_save_time() -> None:
    """Each has a quota of its own."""
    alone = simulate(SMALL).seconds
    parted = together(simulate(each) for each in Case(like(SMALL, customers=1_200), 5).scenes)
    # The first minute's worth passes at once, in each tenant.
    assert parted.seconds < 0.3 * alone


def test_more_shards_save_time_where_latency_is_the_bound() -> None:
    """Without a quota; so do more requests at once in one process."""
    free = like(SMALL, quota=0)
    alone = simulate(free).seconds
    assert simulate(like(free, concurrency=32)).seconds < 0.4 * alone
    assert simulate(like(free, shards=4)).seconds < 0.4 * alone + STAGGER


@pytest.mark.parametrize("shards", [1, 4, 16])
def test_refusals_are_few(shards: int) -> None:
    """And no request is refused for so long that the run would fail."""
    outcome = simulate(like(SMALL, customers=20_000, shards=shards))
    assert outcome.refused_share <= 0.02
    assert outcome.patience < 900


@pytest.mark.parametrize("counting", get_args(Counting))
def test_many_shards_do_not_keep_each_other_out(counting: Counting) -> None:
    """Where refused requests hold the quota down, those that come back together get nothing."""
    outcome = simulate(like(SMALL, customers=20_000, shards=16, counting=counting))
    assert outcome.failed == 0
    assert outcome.refused_share <= 0.05


def test_a_shard_without_patience_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for nothing more, and the others go on."""
    monkeypatch.setattr(scale_model, "PATIENCE", 10.0)
    scene = like(SMALL, shards=4)
    outcome, asked = watched(scene)
    assert 0 < outcome.failed <= 4
    assert len(asked.customers) < scene.customers
    assert set(asked.customers.values()) == {1}


def test_shards_that_know_their_part_are_not_refused() -> None:
    """`max_requests_per_minute`, a part of the quota for each."""
    outcome = simulate(like(SMALL, shards=4, ceiling=500 // 4))
    assert outcome.refused == 0
    assert outcome.seconds <= simulate(like(SMALL, shards=4)).seconds


def test_the_pages_show_the_kept_figures() -> None:
    """Nobody has changed the one without the other, nor measured without showing it."""
    figures, results = load(scale.KEPT), load_results(documents.KEPT)
    for path, page in scale.pages(figures, results):
        assert path.read_text(encoding="utf-8") == page, (
            "run `scale --from benchmarks/scale.json --write-docs`"
        )


def test_the_kept_figures_are_the_models() -> None:
    """Simulated again where that is quick: a change of pacing or model must reach the pages."""
    kept = load(scale.KEPT)
    assert kept.sizes == FULL
    assert [each.case for each in kept.simulated] == sorted(
        cases(FULL), key=lambda case: -case.tenants * case.scene.customers
    )
    again = [each for each in kept.simulated if each.case.scene.customers <= AGAIN]
    assert len(again) >= 8
    for each in again:
        assert together(simulate(scene) for scene in each.case.scenes) == each.outcome


def test_prose_has_no_figures() -> None:
    """They would go stale: only a status of HTTP may stand there."""
    prose = PARTS.sub("", scale.PAGE.read_text(encoding="utf-8"))
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)
    assert set(re.findall(r"\b\d+\b", prose)) <= {"429"}


def test_tables_show_outcomes(quick: ScaleFigures) -> None:
    """A row for each case, and no empty cell but where nothing was measured."""
    parts = sections(quick, measured())
    assert "| customers, over all tenants | 5,000 |" in parts["assumptions"]
    assert len(parts["shards"].splitlines()) == 2 + 10
    assert len(parts["latencies"].splitlines()) == 2 + 4
    assert len(parts["counting"].splitlines()) == 2 + 3
    assert (
        parts["measured"].splitlines()[2].startswith("| The case children-100ms; 8 at once | 7.0 |")
    )
    assert "| processor time of one record of a page | 10.0 µs |" in parts["machine"]
    assert "| requests a minute that keep one core busy | 12,000 |" in parts["machine"]
    assert "| tenants at 500 requests a minute that keep one core busy | 24 |" in parts["machine"]
    costs = operating_sections(quick, measured())["costs"]
    assert len(costs.splitlines()) == 2 + 2 + 4
    assert "1,000 customers, without" in costs


def test_a_session_without_the_figures_shows_none(quick: ScaleFigures) -> None:
    """What was not measured is not computed."""
    empty = Results(python="", platform="", processors=1, versions={}, quick=True)
    assert machine(empty) is None
    for part in ("machine", "measured"):
        assert sections(quick, empty)[part] == "Not measured in this session."
    assert all(
        row.endswith("| – |")  # noqa: RUF001 - as in all tables of the documentation
        for row in operating_sections(quick, empty)["costs"].splitlines()[4:]
    )


def test_marks_and_parts_must_agree() -> None:
    """A part without a place would be lost silently."""
    with pytest.raises(ValueError, match="shards"):
        documents.filled("no marks", {"shards": ""})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (119, "119 s"), (600, "10 min"), (7_199, "120 min"), (63_000, "17.5 h")],
)
def test_times_are_told_in_the_unit_of_an_operator(seconds: float, text: str) -> None:
    """Seconds, minutes, hours."""
    assert span(seconds) == text


def test_the_command_writes_figures_and_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file, without simulating anything."""
    for name in ("PAGE", "OPERATING_PAGE"):
        page = tmp_path / f"{name}.md"
        page.write_text(getattr(scale, name).read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(scale, name, page)
    monkeypatch.setattr(scale, "KEPT", tmp_path / "kept.json")
    given = str(documents.ROOT / "benchmarks" / "scale.json")
    assert scale.main(["--from", given, "--write-docs"]) == 0
    figures, results = load(tmp_path / "kept.json"), load_results(documents.KEPT)
    printed = capsys.readouterr().out
    for text in (sections(figures, results) | operating_sections(figures, results)).values():
        assert text in printed
    for path, text in scale.pages(figures, results):
        assert path.read_text(encoding="utf-8") == text


def test_a_quick_look_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Its sizes are not those of the pages."""
    with pytest.raises(SystemExit):
        scale.main(["--quick", "--write-docs"])
    assert "--quick" in capsys.readouterr().err
