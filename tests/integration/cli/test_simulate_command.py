from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation, ListInvocationsResponse
from ostinato.pb.scheduler.v1.jobs_pb2 import Job, TriggeringPolicy
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]

EXAMPLE = Path(__file__).parents[3] / "examples" / "simulation.yaml"
START = datetime(2026, 12, 1, 9, tzinfo=UTC)
NEWEST = b"""
start: 2026-12-01T09:00:00Z
until: 2026-12-01T09:01:00Z
run_takes: 4s
triggers: [{after: 0s, count: 4}]
policies:
  - name: newest
    triggering_policy: {kind: NEWEST_FIRST, pending_timeout: 3s}
  - name: batches
    triggering_policy: {kind: LOGARITHMIC_BATCHING, log_base: 2}
"""


def test_policies_stand_side_by_side(ostinato: Ostinato, api: FakeApi) -> None:
    ran = ostinato("simulate", "-", stdin=NEWEST)
    assert (ran.exit_code, ran.err) == (0, "")
    assert ran.lines == [
        "TIME                  WAIT  newest                    WAIT  batches",
        "2026-12-01T09:00:00Z     3  +4 · run 1 ← t4              2  +4 · run 1 ← 2: t1…",
        "2026-12-01T09:00:03Z     0  DISCARDED_EXPIRED 3: t1…",
        "2026-12-01T09:00:04Z     0  run 1 ends                   1  run 1 ends · run 2 ← t3",
        "2026-12-01T09:00:08Z                                     0  run 2 ends · run 3 ← t4",
        "2026-12-01T09:00:12Z                                     0  run 3 ends",
        "",
        "TOTAL                   newest  batches",
        "triggers                     4        4",
        "runs                         1        3",
        "triggers per run, mean     1.0      1.3",
        "triggers per run, most       1        2",
        "wait, mean                 0ms       3s",
        "wait, longest              0ms       8s",
        "waiting, most                3        2",
        "DISCARDED_EXPIRED            3        0",
        "busy                        7%      20%",
        "waiting at the end           0        0",
        "running at the end           0        0",
    ]
    assert api.requests == []


def test_programs_get_every_trigger_and_the_totals(ostinato: Ostinato) -> None:
    newest, batches = ostinato("simulate", "-", "--output", "json", stdin=NEWEST).json["policies"]
    assert newest["timeline"][0]["started"] == [
        {"run": 1, "triggers": ["t4"], "waits": [0.0], "endTime": "2026-12-01T09:00:04Z"}
    ]
    assert newest["timeline"][1]["dropped"] == [{"reason": "DISCARDED_EXPIRED", "triggers": ["t1", "t2", "t3"]}]
    assert newest["totals"]["dropped"] == {"DISCARDED_EXPIRED": 3}
    assert batches["totals"]["longestWait"] == 8.0
    assert batches["waiting"] == []


def test_the_timeline_is_cut_where_one_says(ostinato: Ostinato) -> None:
    ran = ostinato("simulate", "-", "--timeline", "1", stdin=NEWEST)
    assert ran.lines[1:3] == ["2026-12-01T09:00:00Z     3  +4 · run 1 ← t4     2  +4 · run 1 ← 2: t1…", ""]
    assert ran.err == "4 more lines; --timeline 5 shows all.\n"
    assert ostinato("simulate", "-", "--timeline", "0", stdin=NEWEST).lines[0].startswith("TOTAL")


def test_the_example_of_the_guide_says_the_same_each_time(ostinato: Ostinato) -> None:
    first = ostinato("simulate", str(EXAMPLE))
    assert first.exit_code == 0
    assert first == ostinato("simulate", str(EXAMPLE))
    guide = (EXAMPLE.parents[1] / "docs" / "triggering.md").read_text()
    assert first.out[first.out.index("TOTAL") :] in guide


def test_mistakes_are_told_with_file_and_path(ostinato: Ostinato, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("start: 2026-12-01T09:00:00Z\nuntil: 2026-12-01T09:01:00Z\n")
    ran = ostinato("simulate", str(file))
    assert (ran.exit_code, ran.err) == (1, f"Error: {file}: run_takes: is required\n")


def test_more_slots_than_can_be_simulated_are_refused(ostinato: Ostinato, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostinato.scheduling.simulating.MAX_TRIGGERS", 100)
    endless = b"start: 2026-01-01T00:00:00Z\nuntil: 2026-12-31T00:00:00Z\nrun_takes: 3h\njob: {schedule: every 1s}\n"
    ran = ostinato("simulate", "-", stdin=endless)
    assert (ran.exit_code, ran.out) == (1, "")
    assert ran.err.startswith("Error: -: more than 100 triggers come up to 2026-01-01T00:01:41Z; an earlier")


@pytest.mark.parametrize("arguments", [[], ["-", "--export", "shop/nightly"], ["-", "--from", "2026-12-01"]])
def test_what_is_asked_for_must_be_one_thing(ostinato: Ostinato, arguments: list[str]) -> None:
    assert ostinato("simulate", *arguments, stdin=NEWEST).exit_code == 2


def run(number: int, after: float, took: float | None, *triggers: Trigger, retry_of: str = "") -> Invocation:
    found = Invocation(name=f"projects/shop/jobs/nightly/invocations/{number}", retry_of=retry_of)
    found.create_time.FromDatetime(START + timedelta(seconds=after))
    if took is not None:
        found.finish_time.FromDatetime(START + timedelta(seconds=after + took))
    found.incoming_triggers.extend(triggers)
    return found


def trigger(trigger_id: str, after: float, order: int = 0) -> Trigger:
    found = Trigger(id=trigger_id, order_in_batch=order)
    found.create_time.FromDatetime(START + timedelta(seconds=after))
    return found


def history(api: FakeApi) -> None:
    job = Job(name="projects/shop/jobs/nightly", schedule="every 5m", max_pending_triggers=50, overflow=Job.REJECT)
    job.triggering_policy.kind = TriggeringPolicy.LOGARITHMIC_BATCHING
    job.triggering_policy.max_concurrent_invocations = 1
    job.triggering_policy.max_batch_size = 5
    job.triggering_policy.log_base = 1.5
    api.answers["GetJob"] = job
    api.answers["ListInvocations"] = ListInvocationsResponse(
        invocations=[
            run(4, 80, None, trigger("a", 79)),
            run(3, 70, 5, trigger("retry:1", 60), retry_of="projects/shop/jobs/nightly/invocations/1"),
            run(2, 41.25, 12.5, trigger("c", 20.000001, 1), trigger("b", 20.000001, 0)),
            run(1, 10, 30, trigger("a", 10)),
        ]
    )


def test_an_export_has_what_came_and_how_long_it_took(ostinato: Ostinato, api: FakeApi) -> None:
    history(api)
    ran = ostinato("simulate", "--export", "shop/nightly")
    assert ran.err == "Left out: 1 retries, which follow from how runs ended.\n"
    policy = "kind: LOGARITHMIC_BATCHING, max_concurrent_invocations: 1, max_batch_size: 5, log_base: 1.5"
    assert [line for line in ran.lines if not line.startswith("#")] == [
        "start: 2026-12-01T09:00:10Z",
        "until: 2026-12-01T09:01:20Z",
        "run_takes: 12.5s  # the median",
        "project: shop",
        "job:",
        '  id: "nightly"',
        f"  triggering_policy: {{{policy}}}",
        "  max_pending_triggers: 50",
        "  overflow: REJECT",
        "policies:",
        "  - name: as it is",
        "triggers:",
        '  - {after: 0s, id: "a", run_takes: 30s}',
        '  - {after: 10.000001s, id: "b", run_takes: 12.5s}',
        '  - {after: 10.000001s, id: "c", run_takes: 12.5s}',
        '  - {after: 69s, id: "a#2"}',
    ]


def test_an_export_replays_to_the_runs_that_there_were(ostinato: Ostinato, api: FakeApi) -> None:
    history(api)
    exported = ostinato("simulate", "--export", "shop/nightly").out
    timeline = ostinato("simulate", "-", "--output", "json", stdin=exported.encode()).json["policies"][0]["timeline"]
    started = [(moment["time"], run["triggers"]) for moment in timeline for run in moment["started"]]
    assert started == [
        ("2026-12-01T09:00:10Z", ["a"]),
        ("2026-12-01T09:00:40Z", ["b"]),
        ("2026-12-01T09:00:52.500000Z", ["c"]),
        ("2026-12-01T09:01:19Z", ["a#2"]),
    ]


def test_an_export_of_a_stretch_has_only_what_came_in_it(ostinato: Ostinato, api: FakeApi) -> None:
    history(api)
    ran = ostinato(
        *("simulate", "--export", "shop/nightly", "--from", "2026-12-01T09:00:15Z", "--to", "2026-12-01T09:01:00Z")
    )
    assert ran.lines[3:5] == ["start: 2026-12-01T09:00:15Z", "until: 2026-12-01T09:01:01Z"]
    assert [line.split('"')[1] for line in ran.lines if line.startswith("  - {after")] == ["b", "c"]


def test_a_job_that_did_not_run_has_nothing_to_export(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers |= {"GetJob": Job(name="projects/shop/jobs/nightly"), "ListInvocations": ListInvocationsResponse()}
    ran = ostinato("simulate", "--export", "shop/nightly")
    assert (ran.exit_code, ran.err) == (1, "Error: no run of shop/nightly has a trigger of that time.\n")
