"""`ostinato logs`."""

from __future__ import annotations

import click

from ostinato.cli.arguments import RUN
from ostinato.cli.session import OutputFormat, Session, quiet_on_interrupt, session_options


@click.command
@click.argument("name", type=RUN, metavar="RUN")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended.")
@session_options
@click.pass_obj
def logs(session: Session, name: str, *, follow: bool) -> None:
    """Print the log of RUN. With --follow and --output json: one object per line.

    --follow goes on while the api restarts. It exits with 0 once the run has ended, however it ended; Ctrl-C leaves the
    run alone and exits with 130.
    """
    from ostinato.cli.log_reading import follow_log, print_as_json_line, print_line, print_lines, read_log

    if follow:
        show = print_as_json_line if session.output is OutputFormat.JSON else print_line
        with quiet_on_interrupt():
            session.call(lambda client: follow_log(client, name, show))
        return
    found = session.call(lambda client: read_log(client, name))
    session.show(found, lambda: print_lines(found.lines))
