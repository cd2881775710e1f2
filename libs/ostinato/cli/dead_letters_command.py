"""`ostinato dead-letters`, and what it does to them: `show`, `requeue`, `purge`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from ostinato.cli.session import Session, session_options

if TYPE_CHECKING:
    from ostinato.client import OstinatoClient

# What one call takes.
_MOST_IDS = 500
_LARGEST_ID = 2**63 - 1


@click.group(invoke_without_command=True)
@click.option("--queue", default="", help="Only of this queue.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@session_options
@click.pass_context
def dead_letters(ctx: click.Context, queue: str, limit: int) -> None:
    """List tasks that were given up, newest first.

    `show` tells all of one, `requeue` gives them another chance, `purge` deletes them.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.obj, queue, limit)


def _list(session: Session, queue: str, limit: int) -> None:
    from ostinato.cli.queue_view import print_dead_letters
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
@click.argument("id", type=click.IntRange(1, _LARGEST_ID))
@session_options
@click.pass_obj
def show(session: Session, id: int) -> None:  # noqa: A002 - the name of the argument
    """Show all that is known of a dead letter, with what it was to do."""
    from ostinato.cli.queue_view import print_dead_letter

    letter = session.call(lambda client: client.get_dead_letter(id))
    session.show(letter, lambda: print_dead_letter(letter))


@dead_letters.command
@click.argument("ids", type=click.IntRange(1, _LARGEST_ID), nargs=-1, required=True, metavar="ID...")
@session_options
@click.pass_obj
def requeue(session: Session, ids: tuple[int, ...]) -> None:
    """Put dead letters back into their queues, with fresh retries."""
    from ostinato.pb.scheduler.v1.admin_pb2 import RequeueDeadLettersResponse

    requeued = _each(session, ids, lambda client, chunk: client.requeue_dead_letters(chunk))
    session.show(RequeueDeadLettersResponse(requeued=requeued.count), lambda: click.echo(requeued.text("requeued")))
    requeued.refuse_missing()


@dead_letters.command
@click.argument("ids", type=click.IntRange(1, _LARGEST_ID), nargs=-1, metavar="[ID...]")
@click.option("--queue", default="", help="Instead of ids: all of this queue.")
@click.option("--older-than", type=click.IntRange(0, 3660), metavar="DAYS", help="Instead of ids: what died before.")
@click.option("--yes", is_flag=True, help="Don't ask. Who names ids is not asked.")
@session_options
@click.pass_obj
def purge(session: Session, ids: tuple[int, ...], queue: str, older_than: int | None, *, yes: bool) -> None:
    """Delete dead letters for good: those with these ids, or those of a queue, of an age, or both."""
    from ostinato.pb.scheduler.v1.admin_pb2 import PurgeDeadLettersResponse

    described = bool(queue) or older_than is not None
    if described == bool(ids):
        raise click.UsageError("give either ids, or --queue or --older-than.")
    if described:
        if not yes:
            click.confirm("Delete these dead letters?", abort=True, err=True)
        age = None if older_than is None else timedelta(days=older_than)
        count = session.call(lambda client: client.purge_old_dead_letters(queue=queue, older_than=age))
        session.show(PurgeDeadLettersResponse(purged=count), lambda: click.echo(f"{count} purged."))
        return
    purged = _each(session, ids, lambda client, chunk: client.purge_dead_letters(chunk))
    session.show(PurgeDeadLettersResponse(purged=purged.count), lambda: click.echo(purged.text("purged")))
    purged.refuse_missing()


@dataclass(frozen=True, slots=True)
class _Done:
    count: int
    asked: int

    def text(self, what: str) -> str:
        return f"{self.count} of {self.asked} {what}."

    def refuse_missing(self) -> None:
        from ostinato.cli.refusal import Refusal

        if self.count < self.asked:
            raise Refusal("some of these ids are no dead letters (any more).")


def _each(
    session: Session, ids: Collection[int], change: Callable[[OstinatoClient, Sequence[int]], Awaitable[int]]
) -> _Done:
    """In calls of what one call takes."""
    asked = sorted(set(ids))
    chunks = [asked[start : start + _MOST_IDS] for start in range(0, len(asked), _MOST_IDS)]

    async def change_all(client: OstinatoClient) -> int:
        return sum([await change(client, chunk) for chunk in chunks])

    return _Done(session.call(change_all), len(asked))
