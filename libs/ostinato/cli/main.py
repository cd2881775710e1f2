"""The `ostinato` command: a client of the api, and what starts and migrates an installation.

Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 2 wrong usage; 3 `verify` found something;
130 following was interrupted.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import Final

import click

from ostinato.cli.lazy_group import LazyCommand, LazyGroup
from ostinato.cli.session import DEFAULT_ADDRESS, OUTPUT_CHOICE, OutputFormat, Session, check_address

_COMMANDS: Final = {
    "up": LazyCommand("ostinato.cli.up.up_command", "up", "Start PostgreSQL and the three services here."),
    "migrate": LazyCommand("ostinato.cli.migrate_command", "migrate", "Bring the database schema up to date."),
    "apply": LazyCommand("ostinato.cli.apply_command", "apply", "Apply project configs."),
    "jobs": LazyCommand("ostinato.cli.jobs_command", "jobs", "List jobs."),
    "job": LazyCommand("ostinato.cli.jobs_command", "job", "Show one job."),
    "trigger": LazyCommand("ostinato.cli.trigger_command", "trigger", "Give a job a reason to run."),
    "pause": LazyCommand("ostinato.cli.pause_command", "pause", "Stop a job's automatic starts."),
    "resume": LazyCommand("ostinato.cli.pause_command", "resume", "Let a paused job start again."),
    "runs": LazyCommand("ostinato.cli.runs_command", "runs", "List the runs of a job, newest first."),
    "run": LazyCommand("ostinato.cli.runs_command", "run", "Show one run."),
    "logs": LazyCommand("ostinato.cli.logs_command", "logs", "Print the log of a run."),
    "cancel": LazyCommand("ostinato.cli.runs_command", "cancel", "End a run."),
    "retry": LazyCommand("ostinato.cli.runs_command", "retry", "Run once more what has ended."),
    "explain": LazyCommand("ostinato.cli.explain_command", "explain", "Tell why a job is not running."),
    "verify": LazyCommand("ostinato.cli.verify_command", "verify", "Audit what became of a job's slots."),
    "preview": LazyCommand("ostinato.cli.preview_command", "preview", "List the coming slots of a schedule."),
    "forecast": LazyCommand("ostinato.cli.forecast_command", "forecast", "Tell when the starts of a project crowd."),
    "simulate": LazyCommand("ostinato.cli.simulate_command", "simulate", "Try triggering policies, offline."),
    "queues": LazyCommand("ostinato.cli.queues_command", "queues", "Show the task queues; pause, resume or purge one."),
    "dead-letters": LazyCommand(
        "ostinato.cli.dead_letters_command", "dead_letters", "List tasks that were given up; requeue or purge them."
    ),
    "sweep": LazyCommand(
        "ostinato.cli.sweep_command", "sweep", "Look for tasks that never reached their remote queue."
    ),
}


class OstinatoGroup(LazyGroup):
    lazy_commands = MappingProxyType(_COMMANDS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuses bytes that are no text, which no message to the api can carry."""
        for argument in args:
            if not _is_text(argument):
                raise click.UsageError(f"{argument!r} is not UTF-8 text.", ctx)
        return super().parse_args(ctx, args)


def _is_text(argument: str) -> bool:
    """Python hands bytes that it can't decode on as halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


@click.command(cls=OstinatoGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--address",
    metavar="HOST:PORT",
    default=DEFAULT_ADDRESS,
    show_default=True,
    envvar="OSTINATO_ADDRESS",
    callback=check_address,
    help="Where the api listens for gRPC.",
)
@click.option(
    "--output",
    type=OUTPUT_CHOICE,
    default=OutputFormat.TABLE.value,
    show_default=True,
    help="Tables for people, JSON for programs.",
)
@click.version_option(package_name="ostinato")
@click.pass_context
def cli(ctx: click.Context, address: str, output: str) -> None:
    """Ostinato: a scheduler that fires on time and delivers stubbornly.

    JOB is project/job, RUN is project/job/id; full resource names are taken as well.
    """
    user = os.environ.get("OSTINATO_USER", "")
    if not (user.isascii() and user.isprintable()):
        raise click.UsageError("OSTINATO_USER must be printable ASCII such as user:ana@shop.example.", ctx)
    ctx.obj = Session(address, OutputFormat(output), user=user)


def main() -> None:
    # gRPC's own log lines on stderr say nothing that the command's message doesn't.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    cli.main(prog_name="ostinato")
