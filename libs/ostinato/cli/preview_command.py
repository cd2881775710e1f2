"""`ostinato preview`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from ostinato.cli.arguments import INSTANT, JOB
from ostinato.cli.session import Session, session_options


@click.command
@click.argument("job", type=JOB, required=False)
@click.option("--schedule", metavar="EXPR", help="An expression that no job has yet, such as '0 3 * * *'.")
@click.option("--zone", metavar="ZONE", help="Of --schedule: an IANA time zone. Default: UTC.")
@click.option("--gap", type=click.Choice(["SHIFT", "SKIP"]), help="Of --schedule, for times left out.")
@click.option("--fold", type=click.Choice(["FIRST", "LAST", "BOTH"]), help="Of --schedule, for times shown twice.")
@click.option("--from", "start", type=INSTANT, help="Slots after this instant. Default: now.")
@click.option("--count", type=click.IntRange(1, 500), default=10, show_default=True, help="How many at most.")
@session_options
@click.pass_obj
def preview(  # noqa: PLR0917  (click passes them by name)
    session: Session,
    job: str | None,
    schedule: str | None,
    zone: str | None,
    gap: str | None,
    fold: str | None,
    start: datetime | None,
    count: int,
) -> None:
    """List the coming slots of JOB's schedule, or of --schedule EXPR, one per line.

    Notes on what a change of the clock or a blackout does to them go to stderr.
    """
    if (job is None) == (schedule is None):
        raise click.UsageError("Give either JOB or --schedule EXPR.")
    if job is not None and (zone or gap or fold):
        raise click.UsageError("--zone, --gap and --fold are for --schedule: a job has its own.")

    from ostinato.cli.formatting import format_time
    from ostinato.cli.tables import note
    from ostinato.pb.scheduler.v1.jobs_pb2 import Job, PreviewScheduleRequest

    request = PreviewScheduleRequest(limit=count)
    if job is not None:
        request.job = job
    if schedule is not None:
        request.schedule = schedule
        request.time_zone = zone or ""
        request.gap_policy = Job.GapPolicy.Value(gap) if gap else Job.GAP_POLICY_UNSPECIFIED
        request.fold_policy = Job.FoldPolicy.Value(fold) if fold else Job.FOLD_POLICY_UNSPECIFIED
    if start is not None:
        request.start_time.FromDatetime(start)
    answer = session.call(lambda client: client.preview_schedule(request))

    def print_slots() -> None:
        for slot in answer.slots:
            click.echo(format_time(slot.ToDatetime(tzinfo=UTC)))
        if not answer.slots:
            note("No slot comes.")
        for told in answer.notes:
            until = f" to {format_time(told.until_time.ToDatetime(tzinfo=UTC))}" if told.HasField("until_time") else ""
            note(f"{format_time(told.time.ToDatetime(tzinfo=UTC))}{until}: {told.text}")

    session.show(answer, print_slots)
