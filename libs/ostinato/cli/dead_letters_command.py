"""`ostinato dead-letters` and `ostinato dead-letters requeue`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ostinato.cli.session import Session, session_options

# What one call takes.
_MOST_IDS = 500
_LARGEST_ID = 2**63 - 1


@click.group(invoke_without_command=True)
@click.option("--queue", default="", help="Only of this queue.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@session_options
@click.pass_context
def dead_letters(ctx: click.Context, queue: str, limit: int) -> None:
    """List tasks that were given up, newest first; `requeue` gives them another chance."""
    if ctx.invoked_subcommand is None:
        _list(ctx.obj, queue, limit)


def _list(session: Session, queue: str, limit: int) -> None:
    from ostinato.cli.queue_view import print_dead_letters
    from ostinato.client import OstinatoClient
    from ostinato.pb.scheduler.v1.admin_pb2 import DeadLetter, ListDeadLettersResponse

    async def find(client: OstinatoClient) -> Sequence[DeadLetter]:
        found: list[DeadLetter] = []
        async for letter in client.list_dead_letters(queue=queue, page_size=min(limit, 100)):
            found.append(letter)
            if len(found) == limit:
                break
        return found

    found = session.call(find)
    session.show(ListDeadLettersResponse(dead_letters=found), lambda: print_dead_letters(found))


@dead_letters.command
@click.argument("ids", type=click.IntRange(1, _LARGEST_ID), nargs=-1, required=True, metavar="ID...")
@session_options
@click.pass_obj
def requeue(session: Session, ids: tuple[int, ...]) -> None:
    """Put dead letters back into their queues, with fresh retries."""
    from ostinato.cli.refusal import Refusal
    from ostinato.client import OstinatoClient
    from ostinato.pb.scheduler.v1.admin_pb2 import RequeueDeadLettersResponse

    asked = sorted(set(ids))

    async def put_back(client: OstinatoClient) -> int:
        chunks = [asked[start : start + _MOST_IDS] for start in range(0, len(asked), _MOST_IDS)]
        return sum([await client.requeue_dead_letters(chunk) for chunk in chunks])

    requeued = session.call(put_back)
    text = f"{requeued} of {len(asked)} requeued."
    session.show(RequeueDeadLettersResponse(requeued=requeued), lambda: click.echo(text))
    if requeued < len(asked):
        raise Refusal("some of these ids are no dead letters (any more).")
