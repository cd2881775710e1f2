"""`ostinato trigger`."""

from __future__ import annotations

import json
import uuid

import click

from ostinato.cli.arguments import JOB
from ostinato.cli.session import OutputFormat, Session, session_options


def _parse_data(_ctx: click.Context, _param: click.Parameter, text: str | None) -> dict[str, object] | None:
    if text is None:
        return None
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise click.BadParameter("must be JSON.") from None
    if not isinstance(data, dict):
        raise click.BadParameter('must be a JSON object such as {"path": "in.csv"}.')
    return data


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


@click.command
@click.argument("job", type=JOB)
@click.option("--id", "trigger_id", metavar="ID", help="The same id again does nothing. Default: a new one.")
@click.option("--data", metavar="JSON", callback=_parse_data, help="An object that the trigger carries.")
@session_options
@click.pass_obj
def trigger(session: Session, job: str, trigger_id: str | None, data: dict[str, object] | None) -> None:
    """Give JOB a reason to run, as if its time had come."""
    from ostinato.cli.formatting import printable, short_name
    from ostinato.cli.json_output import to_json
    from ostinato.cli.refusal import Refusal
    from ostinato.cli.trigger_emission import Fate, emission, fate_of

    new_id = trigger_id if trigger_id is not None else f"cli-{uuid.uuid4()}"
    request = emission(job, new_id, data)
    answer = session.call(lambda client: client.emit_triggers(request))
    fate, text = fate_of(answer)
    if session.output is OutputFormat.JSON:
        click.echo(to_json(answer, triggerId=new_id))
    elif fate is not Fate.DROPPED:
        click.echo(printable(f"{new_id} {text}"))
    if fate is Fate.DROPPED:
        raise Refusal(printable(f"{new_id}: {short_name(job)} did not take it: {text}"))
