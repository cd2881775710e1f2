"""Reading what `ostinato simulate` replays: what a file may say, and every mistake with its path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.cli.simulation_file import read_simulation
from ostinato.errors import InvalidArgument
from ostinato.scheduling.job_definition import Intake, Overflow, PolicyKind, TriggeringPolicy
from ostinato.scheduling.simulating import Arrival, RunLength

SECOND = timedelta(seconds=1)
START = datetime(2026, 12, 1, 9, tzinfo=UTC)
TIMES = "start: 2026-12-01T09:00:00Z\nuntil: 2026-12-01T10:00:00Z\nrun_takes: 90s\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(InvalidArgument) as caught:
        read_simulation(text)
    return [str(violation) for violation in caught.value.violations]


def test_times_and_triggers() -> None:
    scenario = read_simulation(
        TIMES
        + """
triggers:
  - {at: 2026-12-01T09:00:05Z}
  - {after: 1.5s, count: 3}
  - {after: 10s, count: 2, every: 2s, id: edit, run_takes: 4s}
"""
    ).scenario
    assert (scenario.start, scenario.until) == (START, START + timedelta(hours=1))
    assert scenario.run_length == RunLength(90 * SECOND, 90 * SECOND)
    assert scenario.arrivals == [
        Arrival(START + 5 * SECOND, ("t1",)),
        Arrival(START + 1.5 * SECOND, ("t2", "t3", "t4")),
        Arrival(START + 10 * SECOND, ("edit-1",), 4 * SECOND),
        Arrival(START + 12 * SECOND, ("edit-2",), 4 * SECOND),
    ]


def test_a_schedule_is_that_of_the_stanza_with_its_terms() -> None:
    scenario = read_simulation(
        TIMES
        + """
project: shop
job:
  {id: nightly, schedule: "H 11 * * *", time_zone: Europe/Rome, offset: 5m, start_deadline: 1m, noop: {sleep: 1s}}
"""
    ).scenario
    slot = scenario.timetable.next_after(START)
    assert slot is not None
    assert slot.hour == 10
    assert scenario.timetable.due_time(slot) == slot + timedelta(minutes=5)
    assert scenario.start_limit is not None
    assert scenario.start_limit.deadline(slot) == slot + timedelta(minutes=6)


def test_without_policies_the_jobs_own_is_tried() -> None:
    (only,) = read_simulation(TIMES + "job: {max_pending_triggers: 7}").candidates
    assert (only.name, only.policy, only.intake) == ("job", TriggeringPolicy(), Intake(max_pending=7))


def test_what_a_policy_leaves_out_is_as_in_the_job() -> None:
    first, second = read_simulation(
        TIMES
        + """
job: {triggering_policy: {max_concurrent_invocations: 3}, max_pending_triggers: 7, min_triage_interval: 5s}
policies:
  - {max_pending_triggers: 9, overflow: REJECT}
  - {name: newest, triggering_policy: {kind: NEWEST_FIRST, pending_timeout: 3s}, min_triage_interval: 0s}
"""
    ).candidates
    assert (first.name, first.policy) == ("policy 1", TriggeringPolicy(max_concurrent_invocations=3))
    assert first.intake == Intake(max_pending=9, overflow=Overflow.REJECT, min_interval=5 * SECOND)
    assert (second.name, second.intake) == ("newest", Intake(max_pending=7))
    assert second.policy == TriggeringPolicy(PolicyKind.NEWEST_FIRST, pending_timeout=3 * SECOND)


def test_every_mistake_is_told_with_its_path() -> None:
    assert mistakes(
        """
start: 2026-12-01T09:00:00Z
until: 2026-12-01T08:00:00Z
run_takes: -1s
run_takes_at_most: soon
project: SHOP
colour: red
job:
  schedule: "61 * * * *"
  blackouts: [{start_time: 2026-12-01T09:00:00Z}]
  blackout_calendars: [holidays]
policies:
  - {name: a, triggering_policy: {kind: FASTEST}}
  - {name: a, triggering_policy: {kind: LOGARITHMIC_BATCHING}, max_pending_triggers: 5001}
"""
    ) == [
        (
            "run_takes_at_most: must be a duration such as 3600s or 1h30m: expected a number with a unit "
            "(ns us µs ms s m h), such as 90s or 1h30m"
        ),
        "colour: is an unknown key",
        "policies[0].triggering_policy.kind: must be one of GREEDY_BATCHING, LOGARITHMIC_BATCHING, NEWEST_FIRST",
        "until: must lie after start, by at most 366 days",
        "run_takes: must be between 0s and 366 days",
        "project: must be 1 to 63 lower-case letters, digits and dashes, beginning with a letter",
        "job.blackouts[0].end_time: is required",
        "job.schedule: minute (field 1, column 1): 61 is out of range, expected 0-59",
        "job.blackout_calendars[0]: there is no calendar 'holidays' here: a simulation takes blackouts",
        "policies[1].name: 'a' is already the name of another policy",
        "policies[1].triggering_policy.log_base: must be between 1.0001 and 1e+06 with LOGARITHMIC_BATCHING",
        "policies[1].max_pending_triggers: must be between 1 and 5000",
    ]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{}", "triggers[0]: must say when: at or after"),
        ("{after: 1s, at: 2026-12-01T09:00:00Z}", "triggers[0].at: must not stand beside after"),
        ("{at: 2026-12-01T08:59:59Z}", "triggers[0].at: must lie between start and until"),
        ("{after: 3601s}", "triggers[0].after: must lie between start and until"),
        ("{after: 2562047h}", "triggers[0].after: must lie between start and until"),
        ("{after: 1s, count: -1}", "triggers[0].count: must be between 1 and 100000"),
        ("{after: 1s, count: 100001}", "triggers[0].count: must be between 1 and 100000"),
        ("{after: 0s, count: 100000, every: 8000h}", "triggers[0].count: the last of them comes after until"),
        ("{after: 0s, count: 2, every: -1s}", "triggers[0].every: must be between 0s and 366 days"),
        ("{after: 0s, run_takes: -1s}", "triggers[0].run_takes: must be between 0s and 366 days"),
        ("{after: 0s, id: 'slot:1'}", "triggers[0].id: must not begin with slot:"),
    ],
)
def test_what_a_trigger_must_not_say(entry: str, told: str) -> None:
    assert mistakes(f"{TIMES}triggers: [{entry}]") == [told]


def test_an_id_stands_for_one_trigger() -> None:
    assert mistakes(TIMES + "triggers: [{after: 0s, count: 2, id: a}, {after: 1s, id: a-2}]") == [
        "triggers[1].id: 'a-2' is already the id of another trigger"
    ]


def test_all_together_are_not_too_many() -> None:
    assert mistakes(TIMES + "triggers: [{after: 0s, count: 100000}, {after: 1s}]") == [
        "triggers: must be at most 100000 together"
    ]


def test_without_times_only_they_are_missing() -> None:
    assert mistakes("triggers: [{at: 2026-12-01T09:00:00Z}, {after: 2562047h, count: 2, every: 1s}]") == [
        "start: is required",
        "until: is required",
        "run_takes: is required",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "config: must be a mapping with the keys start, until, run_takes, job and triggers"),
        ("triggers: []", "start: is required"),
        (
            "start: 9990-12-01T09:00:00Z\nuntil: 9990-12-02T09:00:00Z\nrun_takes: 1s",
            "start: must lie in the years 1970",
        ),
        (
            "start: 9999-06-01T09:00:00Z\nuntil: 9999-12-31T00:00:00Z\nrun_takes: 1s",
            "start: must lie in the years 1970",
        ),
        ("start: [", "config: is not valid YAML: line 2"),
    ],
)
def test_files_that_are_no_simulation(text: str, told: str) -> None:
    assert mistakes(text)[0].startswith(told)
