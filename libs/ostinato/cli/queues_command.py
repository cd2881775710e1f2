"""`ostinato queues`, and what it does to one: `pause`, `resume`, `purge`."""

from __future__ import annotations

import click

from ostinato.cli.session import Session, session_options

_WHAT_IS_LOST = {
    "notifications": " These reports are kept nowhere else: runs whose end is among them last until their timeout.",
}


@click.group(invoke_without_command=True)
@session_options
@click.pass_context
def queues(ctx: click.Context) -> None:
    """Show how much waits, runs and was given up in each task queue, and its limits."""
    if ctx.invoked_subcommand is None:
        _list(ctx.obj)


def _list(session: Session) -> None:
    from ostinato.cli.queue_view import print_queues
    from ostinato.pb.scheduler.v1.admin_pb2 import ListQueuesResponse

    found = session.call(lambda client: client.list_queues())
    session.show(ListQueuesResponse(queues=found), lambda: print_queues(found))


@queues.command
@click.argument("queue")
@session_options
@click.pass_obj
def pause(session: Session, queue: str) -> None:
    """Start nothing more of QUEUE; what runs, runs on. Pausing `launches` stops all new runs."""
    from ostinato.cli.queue_view import told_waiting

    paused = session.call(lambda client: client.pause_queue(queue))
    session.show(paused, lambda: click.echo(f"{paused.name} is paused: {told_waiting(paused)}, {paused.claimed} run."))


@queues.command
@click.argument("queue")
@session_options
@click.pass_obj
def resume(session: Session, queue: str) -> None:
    """Let QUEUE start tasks again."""
    from ostinato.cli.queue_view import told_waiting

    resumed = session.call(lambda client: client.resume_queue(queue))
    session.show(resumed, lambda: click.echo(f"{resumed.name} is active: {told_waiting(resumed)}."))


@queues.command
@click.argument("queue")
@click.option("--yes", is_flag=True, help="Don't ask.")
@session_options
@click.pass_obj
def purge(session: Session, queue: str, *, yes: bool) -> None:
    """Delete every task of QUEUE that has not started. What they were to do will not be done."""
    from ostinato.cli.queue_view import told_purged

    if not yes:
        click.confirm(f"Delete what waits in {queue}?{_WHAT_IS_LOST.get(queue, '')}", abort=True, err=True)
    purged = session.call(lambda client: client.purge_queue(queue))
    session.show(purged, lambda: click.echo(told_purged(purged)))
