"""`ostinato preview`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from ostinato.cli.arguments import INSTANT, JOB
from ostinato.cli.session import Session, session_options


@click.command
@click.argument("job", type=JOB, required=False)
@click.option("--schedule", metavar="EXPR", help="An expression that no job has yet, such as '0 3 * * *'.")
@click.option("--from", "start", type=INSTANT, help="Slots after this instant. Default: now.")
@click.option("--count", type=click.IntRange(1, 500), default=10, show_default=True, help="How many at most.")
@session_options
@click.pass_obj
def preview(session: Session, job: str | None, schedule: str | None, start: datetime | None, count: int) -> None:
    """List the coming slots of JOB's schedule, or of --schedule EXPR, one per line."""
    if (job is None) == (schedule is None):
        raise click.UsageError("Give either JOB or --schedule EXPR.")

    from ostinato.cli.formatting import format_time
    from ostinato.cli.tables import note
    from ostinato.pb.scheduler.v1.jobs_pb2 import PreviewScheduleRequest

    request = PreviewScheduleRequest(limit=count)
    if job is not None:
        request.job = job
    if schedule is not None:
        request.schedule = schedule
    if start is not None:
        request.start_time.FromDatetime(start)
    answer = session.call(lambda client: client.preview_schedule(request))

    def print_slots() -> None:
        for slot in answer.slots:
            click.echo(format_time(slot.ToDatetime(tzinfo=UTC)))
        if not answer.slots:
            note("No slot comes.")

    session.show(answer, print_slots)
