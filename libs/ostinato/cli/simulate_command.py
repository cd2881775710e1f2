"""`ostinato simulate`."""

from __future__ import annotations

from datetime import datetime

import click

from ostinato.cli.arguments import INSTANT, JOB
from ostinato.cli.session import OutputFormat, Session, session_options


@click.command
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--timeline", type=click.IntRange(min=0), default=50, show_default=True, help="How many lines of it.")
@click.option("--export", "job", type=JOB, metavar="JOB", help="Instead: write such a file from the runs of JOB.")
@click.option("--from", "start", type=INSTANT, help="Of --export: triggers that came then or later.")
@click.option("--to", "end", type=INSTANT, help="Of --export: triggers that came before. Default: now.")
@session_options
@click.pass_obj
def simulate(  # noqa: PLR0917  (click passes them by name)
    session: Session, file: str | None, timeline: int, job: str | None, start: datetime | None, end: datetime | None
) -> None:
    """Replay the triggers and the schedule in FILE against its policies, and tell what would have run.

    Nothing runs, and no api is asked; `-` reads standard input. What FILE says is in docs/triggering.md.
    """
    if (file is None) == (job is None):
        raise click.UsageError("Give either FILE or --export JOB.")
    if job is None and (start or end):
        raise click.UsageError("--from and --to are for --export: a file says so itself.")
    if job is not None:
        _export(session, job, start, end)
    elif file is not None:
        _simulate(session, file, timeline)


def _simulate(session: Session, file: str, timeline: int) -> None:
    from ostinato.cli.refusal import Refusal, tell
    from ostinato.cli.simulation_file import read_simulation
    from ostinato.cli.simulation_view import Tried, print_simulation, to_json
    from ostinato.errors import InvalidArgument
    from ostinato.scheduling.simulating import TooManyTriggersError, add_up, simulate

    try:
        with click.open_file(file, "rb") as opened:
            found = read_simulation(opened.read().decode("utf-8"))
        outcomes = [simulate(found.scenario, each.policy, each.intake) for each in found.candidates]
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{file}: can't be read: {error}") from None
    except InvalidArgument as error:
        raise Refusal(f"{file}: {tell(error.violations)}") from None
    except TooManyTriggersError as error:
        raise Refusal(f"{file}: {error}; an earlier `until` makes it fewer.") from None
    tried = [
        Tried(candidate, outcome, add_up(found.scenario, outcome))
        for candidate, outcome in zip(found.candidates, outcomes, strict=True)
    ]
    if session.output is OutputFormat.JSON:
        click.echo(to_json(tried))
    else:
        print_simulation(tried, most_lines=timeline)


def _export(session: Session, job: str, start: datetime | None, end: datetime | None) -> None:
    from ostinato.cli.simulation_export import load_history, write_simulation
    from ostinato.cli.tables import note

    history = session.call(lambda client: load_history(client, job, start, end))
    click.echo(write_simulation(history), nl=False)
    if history.retries:
        note(f"Left out: {history.retries} retries, which follow from how runs ended.")
