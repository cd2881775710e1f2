"""Names of topics and subscriptions, as Pub/Sub takes them. Pure.

Projects need not be made first: each that could exist does.
"""

from __future__ import annotations

import re

from ostinato.errors import InvalidArgument

DELETED_TOPIC = "_deleted-topic_"

_PROJECT = r"[a-z](?:[a-z0-9.:-]{0,61}[a-z0-9])?"
_ID = r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}"
_PROJECT_NAME = re.compile(rf"projects/{_PROJECT}")
_RULE = "3 to 255 letters, digits and - . _ ~ + %, beginning with a letter and not with goog"


def check_topic_name(name: str, field: str) -> None:
    _check(name, "topics", field)


def check_subscription_name(name: str, field: str) -> None:
    _check(name, "subscriptions", field)


def check_project_name(name: str, field: str) -> None:
    if not _PROJECT_NAME.fullmatch(name):
        raise InvalidArgument.of(field, f"Invalid [projects] name: (name={name}), it must be projects/PROJECT")


def project_of(name: str) -> str:
    """`projects/p` of `projects/p/topics/t`."""
    return "/".join(name.split("/")[:2])


def last_part(name: str) -> str:
    """The id alone: `t` of `projects/p/topics/t`."""
    return name.rpartition("/")[2]


def _check(name: str, kind: str, field: str) -> None:
    if not re.fullmatch(rf"projects/{_PROJECT}/{kind}/{_ID}", name):
        rule = f"Invalid [{kind}] name: (name={name}), it must be projects/PROJECT/{kind}/ID, and ID {_RULE}"
        raise InvalidArgument.of(field, rule)
