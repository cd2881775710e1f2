"""A call that came to nothing, told to a person: one line, or one line per broken rule."""

from __future__ import annotations

from collections.abc import Sequence

import click
import grpc

from ostinato.cli.formatting import printable
from ostinato.client import ClientError
from ostinato.errors import Violation


class Refusal(click.ClickException):
    """Ends the command with exit code 1."""


def refusal(error: ClientError, address: str) -> Refusal:
    if error.is_unanswered:
        return Refusal(
            f"no api answers at {address}. Start one with `make run`, or name another with --address HOST:PORT."
        )
    if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Refusal(f"no answer from {address} in time; what was asked may or may not have happened.")
    return Refusal(explain(error))


def explain(error: ClientError) -> str:
    return tell(error.violations) if error.violations else printable(_with_reason(error))


def tell(violations: Sequence[Violation]) -> str:
    """At least one."""
    if len(violations) == 1:
        return _told(violations[0])
    return "\n  ".join([f"{_count(violations)} rules are broken:", *map(_told, violations)])


def _count(violations: Sequence[Violation]) -> str:
    return str(len(violations)) if violations[-1].path else f"more than {len(violations) - 1}"


def _told(violation: Violation) -> str:
    # The last of a long list has no path: it says how many more there are.
    return printable(str(violation) if violation.path else violation.rule)


def _with_reason(error: ClientError) -> str:
    return f"{error.message} ({error.reason or error.code.name})"
