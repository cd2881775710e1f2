"""`ostinato queues`."""

from __future__ import annotations

import click

from ostinato.cli.session import Session, session_options


@click.command
@session_options
@click.pass_obj
def queues(session: Session) -> None:
    """Show how much waits, runs and was given up in each task queue."""
    from ostinato.cli.queue_view import print_queues
    from ostinato.pb.scheduler.v1.admin_pb2 import ListQueuesResponse

    found = session.call(lambda client: client.list_queues())
    session.show(ListQueuesResponse(queues=found), lambda: print_queues(found))
