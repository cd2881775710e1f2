"""What administrators see of queues and dead letters, and do to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import DecodeError, Message

from ostinato.errors import FailedPrecondition, NotFound
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.pb.scheduler.v1.admin_pb2 import (
    DeadLetter,
    GetDeadLetterRequest,
    ListDeadLettersRequest,
    ListDeadLettersResponse,
    ListQueuesResponse,
    PauseQueueRequest,
    PurgeDeadLettersRequest,
    PurgeDeadLettersResponse,
    PurgeQueueRequest,
    PurgeQueueResponse,
    Queue,
    RemoteTasks,
    RequeueDeadLettersRequest,
    RequeueDeadLettersResponse,
    ResumeQueueRequest,
    SweepResponse,
)
from ostinato.taskqueue import DeadLetter as TaskLetter
from ostinato.taskqueue import RemoteDepth, administration, dead_letters
from ostinato.taskqueue.embedded.dead_letter_store import LetterKind
from ostinato.taskqueue.embedded.queue_store import QueueStats, queue_stats
from ostinato_api.api_resources import ApiResources
from ostinato_api.paging import cut_page, from_micros, to_micros
from ostinato_api.proto_time import set_time
from ostinato_api.request_checks import RequestChecks

MAX_QUEUE_NAME_BYTES = 200
MAX_LETTERS = 500  # of one call
MAX_RAW_PAYLOAD_BYTES = 4096
GREATEST_AGE = timedelta(days=3660)
_PAYLOADS: Mapping[str, type[Message]] = {task_class.name: task_class.payload for task_class in ENGINE_TASK_CLASSES}


async def list_queues(api: ApiResources) -> ListQueuesResponse:
    found = await queue_stats(api.db)
    depths = await _depths(api, [stats.name for stats in found])
    return ListQueuesResponse(queues=[_queue_message(stats, depths.get(stats.name)) for stats in found])


async def pause_queue(api: ApiResources, request: PauseQueueRequest) -> Queue:
    """May be repeated, as may its siblings. What waits in a remote queue is paused there and here."""
    name = _queue_name(request)
    if (remote := api.dispatcher.remote_of_queue(name)) is not None:
        await remote.pause(name)
    return await _shown(api, await administration.pause_queue(api.db, name))


async def resume_queue(api: ApiResources, request: ResumeQueueRequest) -> Queue:
    name = _queue_name(request)
    if (remote := api.dispatcher.remote_of_queue(name)) is not None:
        await remote.resume(name)
    return await _shown(api, await administration.resume_queue(api.db, name))


async def purge_queue(api: ApiResources, request: PurgeQueueRequest) -> PurgeQueueResponse:
    name = _queue_name(request)
    remote = api.dispatcher.remote_of_queue(name)
    if remote is None:
        return PurgeQueueResponse(purged=await administration.purge_queue(api.db, name))
    waiting = (await remote.depths([name]))[name].waiting
    reminders = await remote.purge(name)
    return PurgeQueueResponse(purged=reminders + await administration.purge_queue(api.db, name), purged_remote=waiting)


async def sweep(api: ApiResources) -> SweepResponse:
    """Begins one now, beside those that begin by themselves."""
    if api.queue.sweeping is None:
        raise FailedPrecondition("tasks wait in the database: nothing has to be swept")
    await api.queue.sweeping.sweeper.sweep()
    return SweepResponse()


async def _depths(api: ApiResources, names: Sequence[str]) -> Mapping[str, RemoteDepth]:
    """Of those among them whose tasks wait in the remote queue."""
    remotes = {name: remote for name in names if (remote := api.dispatcher.remote_of_queue(name)) is not None}
    if not remotes:
        return {}
    (remote,) = {*remotes.values()}
    return await remote.depths([*remotes])


async def _shown(api: ApiResources, stats: QueueStats) -> Queue:
    return _queue_message(stats, (await _depths(api, [stats.name])).get(stats.name))


def _queue_name(request: PauseQueueRequest | ResumeQueueRequest | PurgeQueueRequest) -> str:
    checks = RequestChecks()
    name = checks.text(request.name, "name", max_bytes=MAX_QUEUE_NAME_BYTES)
    if not name:
        checks.refuse("name", "must be given")
    checks.finish()
    return name


async def list_dead_letters(api: ApiResources, request: ListDeadLettersRequest) -> ListDeadLettersResponse:
    """Newest first. A queue that does not exist has none."""
    checks = RequestChecks()
    queue = checks.text(request.queue, "queue", max_bytes=MAX_QUEUE_NAME_BYTES)
    page = checks.page(api.page_tokens, request, ("ListDeadLetters", queue), (int, int))
    checks.finish()
    before = None if page.cursor is None else (from_micros(int(page.cursor[0])), int(page.cursor[1]))
    found = await dead_letters.list_dead_letters(api.db, queue=queue or None, before=before, limit=page.limit + 1)
    letters, next_token = cut_page(page, api.page_tokens, found, _letter_message, _cursor)
    return ListDeadLettersResponse(dead_letters=letters, next_page_token=next_token)


async def get_dead_letter(api: ApiResources, request: GetDeadLetterRequest) -> DeadLetter:
    letter = await dead_letters.find_dead_letter(api.db, request.id)
    if letter is None:
        raise NotFound(f"there is no dead letter {request.id}")
    message = _letter_message(letter)
    if not message.payload_json:
        message.raw_payload = letter.payload[:MAX_RAW_PAYLOAD_BYTES]
    return message


async def requeue_dead_letters(api: ApiResources, request: RequeueDeadLettersRequest) -> RequeueDeadLettersResponse:
    """Ids that are no dead letters any more are passed over, so this may be repeated."""
    checks = RequestChecks()
    checks.at_most(request.ids, "ids", MAX_LETTERS)
    checks.finish()
    requeued = await api.dispatcher.requeue_dead_letters(list(request.ids))
    return RequeueDeadLettersResponse(requeued=requeued)


async def purge_dead_letters(api: ApiResources, request: PurgeDeadLettersRequest) -> PurgeDeadLettersResponse:
    """Ids that are no dead letters any more are passed over. A queue that does not exist has none."""
    checks = RequestChecks()
    checks.at_most(request.ids, "ids", MAX_LETTERS)
    queue = checks.text(request.queue, "queue", max_bytes=MAX_QUEUE_NAME_BYTES)
    age = _age(checks, request)
    if request.ids and (queue or age is not None):
        checks.refuse("ids", "must be empty where queue or older_than is given")
    checks.finish()
    if queue or age is not None:
        purged = await administration.purge_old_dead_letters(api.db, queue=queue or None, older_than=age)
    else:
        purged = await dead_letters.purge_dead_letters(api.db, list(request.ids))
    return PurgeDeadLettersResponse(purged=purged)


def _age(checks: RequestChecks, request: PurgeDeadLettersRequest) -> timedelta | None:
    if not request.HasField("older_than"):
        return None
    seconds = request.older_than.seconds + request.older_than.nanos / 1e9
    if not 0 <= seconds <= GREATEST_AGE.total_seconds():
        checks.refuse("older_than", f"must be from 0 to {GREATEST_AGE.days} days")
        return None
    return timedelta(seconds=seconds)


def _queue_message(stats: QueueStats, depth: RemoteDepth | None) -> Queue:
    message = Queue(
        name=stats.name,
        ready=stats.ready,
        claimed=stats.claimed,
        later=stats.later,
        dead=stats.dead,
        paused=stats.paused_at is not None or (depth is not None and depth.is_paused),
        max_rate=stats.max_rate or 0,
        max_burst=stats.burst if stats.max_rate else 0,
        max_concurrent=stats.max_concurrent or 0,
    )
    set_time(message.oldest_ready_time, stats.oldest_ready_at)
    set_time(message.pause_time, stats.paused_at)
    if depth is not None:
        message.remote.CopyFrom(RemoteTasks(waiting=depth.waiting, reminders=depth.reminders))
    return message


def _letter_message(letter: TaskLetter) -> DeadLetter:
    message = DeadLetter(
        id=letter.id,
        queue=letter.queue,
        task_class=letter.class_name,
        attempts=letter.attempts,
        error=letter.error,
        payload_json=_payload_json(letter),
        failures=letter.failures,
        traceparent=letter.traceparent,
        payload_bytes=len(letter.payload),
        kind=letter.kind,
    )
    set_time(message.die_time, letter.died_at)
    return message


def _payload_json(letter: TaskLetter) -> str:
    """Empty for a class that this build does not know, and for bytes that can't be decoded."""
    kind = _PAYLOADS.get(letter.class_name)
    if kind is None or letter.kind is not LetterKind.TASK:
        return ""
    try:
        return MessageToJson(kind.FromString(letter.payload), indent=None)
    except (DecodeError, ValueError):
        return ""


def _cursor(letter: TaskLetter) -> tuple[int, int]:
    return to_micros(letter.died_at), letter.id
