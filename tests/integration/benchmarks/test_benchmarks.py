"""Every measurement still works, at sizes whose numbers mean nothing."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import chosen
from benchmarks.comparison import Comparison, also_at_most, at_least, at_most, ratio_at_least
from benchmarks.laboratory import Laboratory, open_laboratory
from benchmarks.results import Sample, Series
from benchmarks.scenarios import GROUPS, SCENARIOS
from benchmarks.server import Server, open_server
from benchmarks.sizes import TINY
from tests.ci_share import ci_share

LINES = {
    "add1": 1,
    "add10": 1,
    "bulk": 1,
    "drain": 3,
    "strain": 2,
    "latency": 1,
    "polling": 2,
    "herd": 1,
    "business": 1,
    "pinned": 1,
    "crash": 1,
    "idle": 1,
    "jobs": 3,
    "hot": 2,
    "crons": 2,
    "rest": 1,
    "submits": 2,
    "sweep": 1,
    "nothing": 1,
    "fleet": 1,
    "slots": 5,
}
# A bare loop has nothing to compare with these.
ALONE = {"strain", "polling", "pinned", "crash", "idle", "nothing", "fleet", "slots", *GROUPS["engine"]}


@pytest.fixture
async def server(postgres_server_url: str) -> AsyncIterator[Server]:
    async with open_server(postgres_server_url) as opened:
        yield opened


@pytest.fixture
async def laboratory(server: Server) -> AsyncIterator[Laboratory]:
    async with open_laboratory(server) as opened:
        yield opened


def test_every_scenario_is_tried_here() -> None:
    assert LINES.keys() == SCENARIOS.keys()


def test_groups_stand_for_their_scenarios_and_nothing_for_all() -> None:
    assert chosen([]) == list(SCENARIOS)
    assert chosen(["engine", "bulk", "hot"]) == ["bulk", *GROUPS["engine"]]
    assert {name for group in GROUPS.values() for name in group} == SCENARIOS.keys()


@pytest.mark.parametrize("name", ci_share(SCENARIOS))
async def test_a_scenario_measures_what_it_says(laboratory: Laboratory, name: str) -> None:
    lines = await SCENARIOS[name](laboratory, TINY)
    assert len(lines) == LINES[name]
    for line in lines:
        assert math.isfinite(line.ours.median)
        assert line.ours.highest > 0
        assert (line.raw is None) == (name in ALONE)
    assert report.main_table(lines).count("\n") == len(lines)
    assert report.detail_table(lines).count("\n") == len(lines) * (1 if name in ALONE else 2)


def line(ours: list[float], raw: list[float] | None) -> Comparison:
    def series(values: list[float]) -> Series:
        return Series(tuple(Sample(value, also={"p99": value * 10}) for value in values))

    return Comparison("work", "tasks/s", series(ours), None if raw is None else series(raw))


def test_a_ratio_is_the_ratio_of_the_medians() -> None:
    assert line([50, 60, 1000], [100, 120, 1]).ratio == 0.6
    assert line([50], None).ratio is None


def test_targets_are_judged_by_medians() -> None:
    measured = line([50, 60, 1000], [100, 120, 1])
    assert ratio_at_least(0.6).reached(measured)
    assert not ratio_at_least(0.61).reached(measured)
    assert at_least(60, "tasks/s").reached(measured)
    assert at_most(60, "tasks/s").reached(measured)
    assert not also_at_most("p99", 599, "ms").reached(measured)
    assert (ratio_at_least(0.9) | at_least(1, "tasks/s")).reached(measured)
    assert not (ratio_at_least(0.9) & at_least(1, "tasks/s")).reached(measured)
    assert not ratio_at_least(0.1).reached(line([50], None))


def test_the_json_document_has_every_repetition(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    report.write_json(path, Server("postgresql://localhost", {"fsync": "on"}), [line([1, 2], [4])])
    document = json.loads(path.read_text())
    assert [sample["value"] for sample in document["lines"][0]["samples"]["ours"]] == [1, 2]
    assert document["server"] == {"fsync": "on"}
