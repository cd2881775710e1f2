"""`ostinato jobs` and `ostinato job`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ostinato.cli.arguments import JOB, PROJECT
from ostinato.cli.session import Session, session_options


@click.command
@click.argument("project", type=PROJECT, required=False, default="projects/-")
@session_options
@click.pass_obj
def jobs(session: Session, project: str) -> None:
    """List the jobs of PROJECT, or of every project you may see."""
    from ostinato.cli.job_view import print_jobs
    from ostinato.client import OstinatoClient
    from ostinato.pb.scheduler.v1.jobs_pb2 import Job, ListJobsResponse

    async def find(client: OstinatoClient) -> Sequence[Job]:
        return [found async for found in client.list_jobs(project)]

    found = session.call(find)
    session.show(ListJobsResponse(jobs=found), lambda: print_jobs(found))


@click.command
@click.argument("name", type=JOB, metavar="JOB")
@session_options
@click.pass_obj
def job(session: Session, name: str) -> None:
    """Show JOB: its definition, its state, and how it went lately."""
    from ostinato.cli.job_view import print_job

    found = session.call(lambda client: client.get_job(name))
    session.show(found, lambda: print_job(found))
