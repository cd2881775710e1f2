"""`ostinato explain`."""

from __future__ import annotations

from datetime import datetime

import click

from ostinato.cli.arguments import INSTANT, JOB
from ostinato.cli.session import Session, session_options


@click.command
@click.argument("job", type=JOB)
@click.option("--at", type=INSTANT, help="Why it did not run then, instead of why it is not running now.")
@click.option("--records", type=click.IntRange(1, 500), default=10, show_default=True, help="How many triages to show.")
@session_options
@click.pass_obj
def explain(session: Session, job: str, at: datetime | None, records: int) -> None:
    """Tell why JOB is not running. The first line is the answer; its last triages follow, newest first."""
    from ostinato.cli.explanation_view import print_explanation
    from ostinato.pb.scheduler.v1.jobs_pb2 import ExplainJobRequest

    request = ExplainJobRequest(name=job, limit=records)
    if at is not None:
        request.at.FromDatetime(at)
    answer = session.call(lambda client: client.explain_job(request))
    session.show(answer, lambda: print_explanation(answer))
