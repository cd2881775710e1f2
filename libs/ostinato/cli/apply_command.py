"""`ostinato apply`."""

from __future__ import annotations

import click

from ostinato.cli.session import OutputFormat, Session, session_options


@click.command
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Only tell what would change.")
@session_options
@click.pass_obj
def apply(session: Session, files: tuple[str, ...], *, dry_run: bool) -> None:
    """Apply project configs, one project per file; `-` reads standard input.

    A file with mistakes changes nothing and all its mistakes are told; the other files are applied all the same.
    """
    from ostinato.cli.config_application import Applied, applied_as_json, apply_files, print_applied
    from ostinato.cli.refusal import Refusal

    outcomes = session.call(lambda client: apply_files(client, files, dry_run=dry_run))
    applied = [outcome.answer for outcome in outcomes if isinstance(outcome, Applied)]
    if session.output is OutputFormat.JSON:
        click.echo(applied_as_json(applied))
    else:
        print_applied(applied)
    if refused := [str(outcome) for outcome in outcomes if not isinstance(outcome, Applied)]:
        raise Refusal("\n".join(refused))
