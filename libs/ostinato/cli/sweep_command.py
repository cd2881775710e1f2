"""`ostinato sweep`."""

from __future__ import annotations

import click

from ostinato.cli.session import Session, session_options


@click.command
@session_options
@click.pass_obj
def sweep(session: Session) -> None:
    """Begin a sweep now: submit tasks that were committed and never reached their remote queue.

    Sweeps begin by themselves every 15 s; this one does not wait. Where tasks wait in the database there is nothing to
    sweep.
    """
    from ostinato.pb.scheduler.v1.admin_pb2 import SweepResponse

    session.call(lambda client: client.sweep())
    session.show(SweepResponse(), lambda: click.echo("A sweep has begun."))
