"""`ostinato forecast`."""

from __future__ import annotations

from datetime import datetime

import click

from ostinato.cli.arguments import INSTANT, PROJECT
from ostinato.cli.session import Session, session_options


@click.command
@click.argument("project", type=PROJECT)
@click.option("--from", "start", type=INSTANT, help="Default: now.")
@click.option("--to", "end", type=INSTANT, help="At most 7 days later. Default: one day later.")
@session_options
@click.pass_obj
def forecast(session: Session, project: str, start: datetime | None, end: datetime | None) -> None:
    """Tell how many starts the schedules of PROJECT bring, and in which minutes they crowd.

    Each minute's count is in `--output json`.
    """
    from ostinato.cli.forecast_view import print_forecast
    from ostinato.pb.scheduler.v1.jobs_pb2 import ForecastStartsRequest

    request = ForecastStartsRequest(parent=project)
    if start is not None:
        request.start_time.FromDatetime(start)
    if end is not None:
        request.end_time.FromDatetime(end)
    answer = session.call(lambda client: client.forecast_starts(request))
    session.show(answer, lambda: print_forecast(answer))
