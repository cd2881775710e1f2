"""The file that `ostinato simulate` replays: YAML → a scenario and the policies to try, or every mistake in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ostinato.errors import InvalidArgument, Violation
from ostinato.jobstore.job_definition_codec import to_definition
from ostinato.jobstore.schedule_terms_codec import check_blackout_message
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.pb.scheduler.v1.simulation_pb2 import Simulation
from ostinato.scheduling.job_definition import Intake, JobDefinition, TriggeringPolicy
from ostinato.scheduling.names import job_name
from ostinato.scheduling.schedule import Timetable
from ostinato.scheduling.simulating import MAX_TRIGGERS, SLOT_PREFIX, Arrival, RunLength, Scenario
from ostinato.scheduling.start_limit import StartLimit
from ostinato.scheduling.validate_job import validate_intake, validate_job, validate_policy, validate_project_id
from ostinato.yamlfile.message_reader import MessageReader
from ostinato.yamlfile.mistakes import Mistakes, not_caused_by
from ostinato.yamlfile.yaml_tree import ROOT, YamlMapping, parse_yaml
from ostinato.zones import load_zone

MAX_POLICIES = 10
# So long may it last, and so long may a run take.
MAX_SPAN = timedelta(days=366)
_YEARS = range(1970, 2100)
_LENGTH_RULE = f"must be between 0s and {MAX_SPAN.days} days"
_DEFAULT_PROJECT, _DEFAULT_JOB = "simulation", "job"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One policy to try."""

    name: str
    policy: TriggeringPolicy
    intake: Intake


@dataclass(frozen=True, slots=True)
class SimulationFile:
    scenario: Scenario
    candidates: Sequence[Candidate]


def read_simulation(text: str) -> SimulationFile:
    """Raises InvalidArgument with the path of each mistake."""
    mistakes = Mistakes()
    root = parse_yaml(text, mistakes)
    if not isinstance(root, YamlMapping):
        raise InvalidArgument.of(ROOT, "must be a mapping with the keys start, until, run_takes, job and triggers")
    message = Simulation()
    MessageReader(mistakes).fill(message, root)
    _fill_defaults(message)
    definition = to_definition(message.job)
    arrivals, broken_triggers = _read_triggers(message)
    candidates = _read_policies(message, definition)
    unreadable = mistakes.violations
    broken = [
        *_check_times(message),
        *validate_project_id(message.project, "project"),
        *_check_job(message, definition),
        *broken_triggers,
        *_check_policies(candidates, definition),
    ]
    if violations := [*unreadable, *not_caused_by(unreadable, broken)]:
        raise InvalidArgument(violations)
    return SimulationFile(_scenario(message, definition, arrivals), candidates)


def _fill_defaults(message: Simulation) -> None:
    message.project = message.project or _DEFAULT_PROJECT
    message.job.id = message.job.id or _DEFAULT_JOB
    if message.job.WhichOneof("target") is None:
        message.job.noop.SetInParent()


def _scenario(message: Simulation, definition: JobDefinition, arrivals: Sequence[Arrival]) -> Scenario:
    terms, name = definition.terms, job_name(message.project, definition.id)
    timetable = Timetable.make(definition.schedule, terms, zone=load_zone(terms.time_zone), job_name=name)
    deadline = definition.start_deadline
    shortest = message.run_takes.ToTimedelta()
    longest = message.run_takes_at_most.ToTimedelta() if message.HasField("run_takes_at_most") else shortest
    return Scenario(
        start=_start(message),
        until=message.until.ToDatetime(tzinfo=UTC),
        timetable=timetable,
        arrivals=arrivals,
        run_length=RunLength(shortest, longest, message.seed),
        start_limit=None if deadline is None else StartLimit(timetable.delay, deadline),
    )


def _start(message: Simulation) -> datetime:
    return message.start.ToDatetime(tzinfo=UTC)


def _check_times(message: Simulation) -> Iterator[Violation]:
    missing = [name for name in ("start", "until", "run_takes") if not message.HasField(name)]
    yield from (Violation(name, "is required") for name in missing)
    start, until = message.start.ToDatetime(), message.until.ToDatetime()
    if _is_bounded(message):
        if not timedelta(0) < until - start <= MAX_SPAN:
            yield Violation("until", f"must lie after start, by at most {MAX_SPAN.days} days")
        if start.year not in _YEARS or until.year not in _YEARS:
            yield Violation("start", "must lie in the years 1970 to 2099, as must until")
    shortest, longest = message.run_takes.ToTimedelta(), message.run_takes_at_most.ToTimedelta()
    if not timedelta(0) <= shortest <= MAX_SPAN:
        yield Violation("run_takes", _LENGTH_RULE)
    if message.HasField("run_takes_at_most") and not shortest <= longest <= MAX_SPAN:
        yield Violation("run_takes_at_most", f"must be at least run_takes and at most {MAX_SPAN.days} days")


def _is_bounded(message: Simulation) -> bool:
    return message.HasField("start") and message.HasField("until")


def _check_job(message: Simulation, definition: JobDefinition) -> Iterator[Violation]:
    for index, blackout in enumerate(message.job.blackouts):
        yield from check_blackout_message(blackout, f"job.blackouts[{index}]")
    yield from validate_job(definition, "job", project=message.project, find_zone=load_zone)
    for index, name in enumerate(message.job.blackout_calendars):
        rule = f"there is no calendar {name!r} here: a simulation takes blackouts"
        yield Violation(f"job.blackout_calendars[{index}]", rule)


def _read_triggers(message: Simulation) -> tuple[list[Arrival], list[Violation]]:
    arrivals: list[Arrival] = []
    violations: list[Violation] = []
    seen: set[str] = set()
    for index, entry in enumerate(message.triggers):
        path = f"triggers[{index}]"
        broken = list(_check_entry(message, entry, path))
        if not broken and len(seen) + _count(entry) > MAX_TRIGGERS:
            return arrivals, [*violations, Violation("triggers", f"must be at most {MAX_TRIGGERS} together")]
        if not broken:
            ids = [_trigger_id(entry, number, len(seen)) for number in range(1, _count(entry) + 1)]
            taken = next((each for each in ids if each in seen), None)
            if taken is not None:
                broken.append(Violation(f"{path}.id", f"{taken!r} is already the id of another trigger"))
            seen.update(ids)
            if _is_bounded(message):
                arrivals += _arrivals(entry, ids, _start(message) + _after(message, entry))
        violations += broken
    return arrivals, violations


def _check_entry(message: Simulation, entry: Simulation.Triggers, path: str) -> Iterator[Violation]:
    span = message.until.ToDatetime() - message.start.ToDatetime()
    when, after, every = entry.WhichOneof("when"), _after(message, entry), entry.every.ToTimedelta()
    if when is None:
        yield Violation(path, "must say when: at or after")
    elif _is_bounded(message) and not timedelta(0) <= after <= span:
        yield Violation(f"{path}.{when}", "must lie between start and until")
    if entry.count < 0 or entry.count > MAX_TRIGGERS:
        yield Violation(f"{path}.count", f"must be between 1 and {MAX_TRIGGERS}")
    elif not timedelta(0) <= every <= MAX_SPAN:
        yield Violation(f"{path}.every", _LENGTH_RULE)
    elif _is_bounded(message) and after + every * (_count(entry) - 1) > max(span, after):
        yield Violation(f"{path}.count", "the last of them comes after until")
    if not timedelta(0) <= entry.run_takes.ToTimedelta() <= MAX_SPAN:
        yield Violation(f"{path}.run_takes", _LENGTH_RULE)
    if entry.id.startswith(SLOT_PREFIX):
        yield Violation(f"{path}.id", f"must not begin with {SLOT_PREFIX}")


def _after(message: Simulation, entry: Simulation.Triggers) -> timedelta:
    """How long after `start` the first comes."""
    return entry.at.ToDatetime() - message.start.ToDatetime() if entry.HasField("at") else entry.after.ToTimedelta()


def _count(entry: Simulation.Triggers) -> int:
    return entry.count or 1


def _trigger_id(entry: Simulation.Triggers, number: int, before: int) -> str:
    if not entry.id:
        return f"t{before + number}"
    return entry.id if _count(entry) == 1 else f"{entry.id}-{number}"


def _arrivals(entry: Simulation.Triggers, ids: Sequence[str], first: datetime) -> Iterator[Arrival]:
    takes = entry.run_takes.ToTimedelta() if entry.HasField("run_takes") else None
    every = entry.every.ToTimedelta()
    if not every:
        yield Arrival(first, tuple(ids), takes)
        return
    for number, trigger_id in enumerate(ids):
        yield Arrival(first + number * every, (trigger_id,), takes)


def _read_policies(message: Simulation, definition: JobDefinition) -> list[Candidate]:
    if not message.policies:
        return [Candidate(definition.id, definition.policy, definition.intake)]
    return [_candidate(policy, message.job, number) for number, policy in enumerate(message.policies, 1)]


def _candidate(policy: Simulation.Policy, job: JobConfig, number: int) -> Candidate:
    """The stanza with what the policy says in its place."""
    stanza = JobConfig()
    stanza.CopyFrom(job)
    if policy.HasField("triggering_policy"):
        stanza.triggering_policy.CopyFrom(policy.triggering_policy)
    if policy.HasField("min_triage_interval"):
        stanza.min_triage_interval.CopyFrom(policy.min_triage_interval)
    stanza.max_pending_triggers = policy.max_pending_triggers or job.max_pending_triggers
    stanza.overflow = policy.overflow or job.overflow
    definition = to_definition(stanza)
    return Candidate(policy.name or f"policy {number}", definition.policy, definition.intake)


def _check_policies(candidates: Sequence[Candidate], definition: JobDefinition) -> Iterator[Violation]:
    """What is the job's own is told there."""
    if len(candidates) > MAX_POLICIES:
        yield Violation("policies", f"must be at most {MAX_POLICIES}")
    seen: set[str] = set()
    for index, candidate in enumerate(candidates):
        path = f"policies[{index}]"
        if candidate.name in seen:
            yield Violation(f"{path}.name", f"{candidate.name!r} is already the name of another policy")
        seen.add(candidate.name)
        if candidate.policy != definition.policy:
            yield from validate_policy(candidate.policy, f"{path}.triggering_policy")
        if candidate.intake != definition.intake:
            yield from validate_intake(candidate.intake, path)
