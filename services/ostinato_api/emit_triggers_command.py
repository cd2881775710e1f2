"""EmitTriggers: all jobs get their triggers in one transaction, or none does. Safe to repeat with the same ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from ostinato.auth.call_access import CallAccess
from ostinato.auth.permissions import Access
from ostinato.errors import InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from ostinato.jobflow.emit_triggers import Emission, Emitted, emit_triggers
from ostinato.jobstore.job_definition_codec import decode_intake
from ostinato.jobstore.job_listing_store import JobScope, find_job_scopes
from ostinato.jobstore.job_store import JobKey
from ostinato.jobstore.trigger_store import count_pending
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest, EmitTriggersResponse, Trigger
from ostinato.rpc.struct_rules import MAX_STRUCT_BYTES, SIZE_RULE, broken_struct_rule
from ostinato.scheduling.job_definition import Overflow
from ostinato.scheduling.names import job_name
from ostinato.scheduling.trigger import MAX_TRIGGER_ID_BYTES, RESERVED_ID_PREFIXES
from ostinato.storage.transaction import Tx
from ostinato_api.api_resources import ApiResources
from ostinato_api.project_config.bindings import policy_of
from ostinato_api.request_checks import RequestChecks

MAX_BATCHES = 1000
MAX_EMISSIONS = 10_000
# Of all triggers, each counted once per job that gets it: a process holds them all in memory until the commit.
MAX_EMITTED_BYTES = 32 * 1024 * 1024
MAX_TITLE_BYTES = 1000
MAX_URL_BYTES = 2000
# How far the caller's clock may be off (LUCI Scheduler).
CLOCK_TOLERANCE = timedelta(minutes=15)
# These are made by the scheduler itself.
_INTERNAL_PAYLOADS = ("cron", "upstream", "retry")


@dataclass(frozen=True, slots=True)
class _Order:
    """One trigger for some jobs; `position` makes earlier batches older."""

    trigger: Trigger
    position: int
    jobs: tuple[JobKey, ...]


async def emit_triggers_command(
    api: ApiResources, access: CallAccess, request: EmitTriggersRequest
) -> EmitTriggersResponse:
    checks = RequestChecks()
    timestamp = checks.instant(request, "timestamp")
    orders = _read_batches(checks, request.batches)
    checks.finish()
    return await api.db.transact(lambda tx: _apply(tx, api, access, orders, timestamp))


async def _apply(
    tx: Tx, api: ApiResources, access: CallAccess, orders: Sequence[_Order], timestamp: datetime | None
) -> EmitTriggersResponse:
    """Takes no job's lock: a job that is paused at this moment drops what it got at its next triage."""
    created_at = _checked(timestamp, await tx.now())
    scopes = await _get_scopes(tx, access, orders)
    emissions = [
        Emission(scope.job_id, scope.project_id, _stamped(order, created_at, access))
        for order in orders
        for scope in (scopes[key] for key in order.jobs)
        if _refusal(scope) is None
    ]
    emitted = await emit_triggers(tx, api.dispatcher, emissions)
    await _refuse_overflow(tx, scopes.values(), emitted)
    return _response(orders, scopes, emitted)


async def _refuse_overflow(tx: Tx, scopes: Iterable[JobScope], emitted: Mapping[int, Emitted]) -> None:
    """Raises ResourceExhausted if a job that rejects what is too much has too much now.

    Calls at the same time don't see each other's triggers: the cap may be passed by as many as are under way.
    """
    caps = {scope: cap for scope in scopes if _brings(emitted, scope) and (cap := _rejecting_cap(scope))}
    if not caps:
        return
    pending = await count_pending(tx, [scope.job_id for scope in caps], most=max(caps.values()) + 1)
    full = [f"{scope.resource_name} ({cap})" for scope, cap in caps.items() if pending[scope.job_id] > cap]
    if full:
        raise ResourceExhausted(f"these jobs have as many pending triggers as they take: {', '.join(full)}")


def _brings(emitted: Mapping[int, Emitted], scope: JobScope) -> bool:
    return scope.job_id in emitted and bool(emitted[scope.job_id].accepted)


def _rejecting_cap(scope: JobScope) -> int | None:
    """None for jobs that drop the oldest, and for such as can't be read: those start nothing and say so."""
    try:
        intake = decode_intake(scope.definition)
    except DecodeError:
        return None
    return intake.max_pending if intake.overflow is Overflow.REJECT else None


def _read_batches(checks: RequestChecks, batches: Sequence[EmitTriggersRequest.Batch]) -> list[_Order]:
    checks.at_most(batches, "batches", MAX_BATCHES)
    if sum(len(batch.jobs) for batch in batches) > MAX_EMISSIONS:
        checks.refuse("batches", f"must not ask for more than {MAX_EMISSIONS} triggers, one per batch and job")
    if sum(batch.trigger.ByteSize() * len(batch.jobs) for batch in batches) > MAX_EMITTED_BYTES:
        checks.refuse("batches", f"must be at most {MAX_EMITTED_BYTES} bytes, each trigger counted once per job")
    return [_read_batch(checks, batch, position) for position, batch in enumerate(batches)]


def _read_batch(checks: RequestChecks, batch: EmitTriggersRequest.Batch, position: int) -> _Order:
    path = f"batches[{position}]"
    trigger, payload = batch.trigger, batch.trigger.WhichOneof("payload")
    if not trigger.id:
        checks.refuse(f"{path}.trigger.id", f"must be 1 to {MAX_TRIGGER_ID_BYTES} bytes")
    if trigger.id.startswith(RESERVED_ID_PREFIXES):
        checks.refuse(f"{path}.trigger.id", f"must not begin with {' or '.join(RESERVED_ID_PREFIXES)}")
    checks.text(trigger.id, f"{path}.trigger.id", max_bytes=MAX_TRIGGER_ID_BYTES)
    checks.text(trigger.title, f"{path}.trigger.title", max_bytes=MAX_TITLE_BYTES)
    checks.text(trigger.url, f"{path}.trigger.url", max_bytes=MAX_URL_BYTES)
    if payload is not None and (rule := _broken_payload_rule(trigger, payload)):
        checks.refuse(f"{path}.trigger.{payload}", rule)
    jobs = tuple(checks.job(name, f"{path}.jobs[{index}]") for index, name in enumerate(batch.jobs))
    return _Order(trigger, position, jobs)


def _broken_payload_rule(trigger: Trigger, payload: str) -> str | None:
    if payload in _INTERNAL_PAYLOADS:
        return "is made by the scheduler only"
    if payload == "event":
        return broken_struct_rule(trigger.event)
    return SIZE_RULE if getattr(trigger, payload).ByteSize() > MAX_STRUCT_BYTES else None


def _checked(timestamp: datetime | None, now: datetime) -> datetime:
    if timestamp is None:
        return now
    if abs(timestamp - now) > CLOCK_TOLERANCE:
        raise InvalidArgument.of("timestamp", f"must lie within 15 minutes of the server's clock, which says {now}")
    return timestamp


async def _get_scopes(tx: Tx, access: CallAccess, orders: Sequence[_Order]) -> Mapping[JobKey, JobScope]:
    """Of all jobs. Raises NotFound naming all that are missing or invisible, else PermissionDenied."""
    access.is_needless()  # each job below is asked about; there may be none
    keys = list(dict.fromkeys(key for order in orders for key in order.jobs))
    scopes = await find_job_scopes(tx, keys)
    verdicts = {key: access.access_to_job(policy_of(scope.bindings), scope.realm) for key, scope in scopes.items()}
    missing = [job_name(*key) for key in keys if verdicts.get(key, Access.INVISIBLE) is Access.INVISIBLE]
    if missing:
        raise NotFound(f"these jobs do not exist, or you may not see them: {', '.join(missing)}", resource=missing[0])
    denied = [job_name(*key) for key in keys if verdicts[key] is Access.DENIED]
    if denied:
        raise PermissionDenied(f"{access.caller.identity} lacks {access.permission} on {', '.join(denied)}")
    return scopes


def _stamped(order: _Order, created_at: datetime, access: CallAccess) -> Trigger:
    trigger = Trigger()
    trigger.CopyFrom(order.trigger)
    trigger.DiscardUnknownFields()  # no limit applies to them
    trigger.create_time.FromDatetime(created_at)
    trigger.order_in_batch = order.position
    trigger.emitted_by = access.caller.identity
    trigger.ClearField("not_before")
    trigger.traceparent = ""  # becomes that of the call
    return trigger


def _refusal(scope: JobScope) -> str | None:
    """Why a job takes no triggers, None if it does."""
    if not scope.enabled:
        return "DISABLED"
    return "PAUSED" if scope.paused else None


def _response(
    orders: Sequence[_Order], scopes: Mapping[JobKey, JobScope], emitted: Mapping[int, Emitted]
) -> EmitTriggersResponse:
    response = EmitTriggersResponse()
    asked = Counter(key for order in orders for key in order.jobs)
    for key, count in asked.items():
        scope = scopes[key]
        result = response.results.add(job=scope.resource_name)
        if reason := _refusal(scope):
            result.dropped.add(reason=reason, count=count)
            continue
        result.accepted = len(emitted[scope.job_id].accepted)
        result.duplicate = len(emitted[scope.job_id].duplicates)
    return response
