"""`ostinato verify`."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from ostinato.cli.arguments import DURATION, INSTANT, JOB
from ostinato.cli.session import Session, session_options

FOUND_SOMETHING = 3


@click.command
@click.argument("job", type=JOB)
@click.option("--from", "start", type=INSTANT, help="The first slot that counts. Default: 24 h before --to.")
@click.option("--to", "end", type=INSTANT, help="The last slot that counts. Default: now.")
@click.option("--late-after", type=DURATION, help="A run that starts later than this is late. Default: 1m.")
@session_options
@click.pass_obj
def verify(
    session: Session, job: str, start: datetime | None, end: datetime | None, late_after: timedelta | None
) -> None:
    """Audit the slots of JOB: has each exactly one outcome, and did its run start in time?

    Exits with 3 if something is missing, duplicated, late, or recorded of what is no slot.
    """
    from ostinato.cli.verification_view import count_faults, join_parts, print_verification
    from ostinato.client import OstinatoClient
    from ostinato.pb.scheduler.v1.jobs_pb2 import VerifyJobRequest, VerifyJobResponse

    request = VerifyJobRequest(name=job)
    if start is not None:
        request.start_time.FromDatetime(start)
    if end is not None:
        request.end_time.FromDatetime(end)
    if late_after is not None:
        request.late_after.FromTimedelta(late_after)

    async def all_parts(client: OstinatoClient) -> list[VerifyJobResponse]:
        return [part async for part in client.verify_job(request)]

    answer = join_parts(session.call(all_parts))
    session.show(answer, lambda: print_verification(answer))
    if count_faults(answer):
        raise click.exceptions.Exit(FOUND_SOMETHING)
