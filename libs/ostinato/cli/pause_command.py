"""`ostinato pause` and `ostinato resume`."""

from __future__ import annotations

import click

from ostinato.cli.arguments import JOB
from ostinato.cli.session import Session, session_options


@click.command
@click.argument("job", type=JOB)
@click.option("--reason", default="", help="Shown to whoever wonders why.")
@session_options
@click.pass_obj
def pause(session: Session, job: str, reason: str) -> None:
    """Stop JOB's automatic starts and forget what is pending. Running runs go on."""
    from ostinato.cli.formatting import short_name

    paused = session.call(lambda client: client.pause_job(job, reason=reason))
    session.show(paused, lambda: click.echo(f"{short_name(paused.name)} is paused."))


@click.command
@click.argument("job", type=JOB)
@click.option("--reason", default="", help="Kept with the change.")
@session_options
@click.pass_obj
def resume(session: Session, job: str, reason: str) -> None:
    """Let JOB start again, from its next slot on."""
    from ostinato.cli.formatting import short_name, time_of

    resumed = session.call(lambda client: client.resume_job(job, reason=reason))
    next_run = time_of(resumed, "next_run_time")
    ending = f", next run {next_run}." if next_run else "."
    session.show(resumed, lambda: click.echo(f"{short_name(resumed.name)} is active{ending}"))
