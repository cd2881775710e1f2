"""`ostinato runs`, `ostinato run`, `ostinato cancel` and `ostinato retry`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ostinato.cli.arguments import JOB, RUN
from ostinato.cli.session import Session, session_options


@click.command
@click.argument("job", type=JOB)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many at most.")
@session_options
@click.pass_obj
def runs(session: Session, job: str, limit: int) -> None:
    """List the runs of JOB, newest first."""
    from ostinato.cli.run_view import print_runs
    from ostinato.client import OstinatoClient
    from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation, ListInvocationsResponse

    async def find(client: OstinatoClient) -> Sequence[Invocation]:
        found: list[Invocation] = []
        async for invocation in client.list_invocations(job, page_size=min(limit, 100)):
            found.append(invocation)
            if len(found) == limit:
                break
        return found

    found = session.call(find)
    session.show(ListInvocationsResponse(invocations=found), lambda: print_runs(found))


@click.command
@click.argument("name", type=RUN, metavar="RUN")
@session_options
@click.pass_obj
def run(session: Session, name: str) -> None:
    """Show RUN: how it went, what caused it, and what it caused."""
    from ostinato.cli.run_view import print_run

    found = session.call(lambda client: client.get_invocation(name))
    session.show(found, lambda: print_run(found))


@click.command
@click.argument("name", type=RUN, metavar="RUN")
@click.option("--reason", default="", help="Kept in the run's log.")
@session_options
@click.pass_obj
def cancel(session: Session, name: str, reason: str) -> None:
    """End RUN now. One that has ended stays as it is."""
    from ostinato.cli.formatting import short_name
    from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation

    ended = session.call(lambda client: client.abort_invocation(name, reason=reason))
    what = "is ABORTED" if ended.status == Invocation.ABORTED else f"had ended: {Invocation.Status.Name(ended.status)}"
    session.show(ended, lambda: click.echo(f"{short_name(ended.name)} {what}."))


@click.command
@click.argument("name", type=RUN, metavar="RUN")
@session_options
@click.pass_obj
def retry(session: Session, name: str) -> None:
    """Run once more what RUN was, with the same triggers and the job as it is now. RUN must have ended."""
    from ostinato.cli.formatting import short_name

    trigger = session.call(lambda client: client.retry_invocation(name))
    what = f"Attempt {trigger.retry.attempt} of {short_name(trigger.retry.invocation)}"
    session.show(trigger, lambda: click.echo(f"{what} starts as soon as the job has room."))
