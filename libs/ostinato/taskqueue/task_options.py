"""What is rarely said of a single task. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ostinato.config.cloud_tasks import DEFAULT_ROUTING_PREFIX
from ostinato.errors import Violation
from ostinato.taskqueue.class_rules import retry_rules
from ostinato.taskqueue.task_class import Retry

MAX_TASK_URL_BYTES = 2083
_TITLE = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})+")
_NAME_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """`title`: for people, in log lines and at the end of the URL that a remote queue pushes to. `name_prefix`: begins
    the name that a dedup key makes; keys with different prefixes never meet. `retry`: instead of the class's. `here`:
    it waits in the dispatcher's own database, where a worker must look, although tasks of its class wait elsewhere.
    """

    title: str = ""
    name_prefix: str = ""
    retry: Retry | None = None
    here: bool = False


def task_path(routing_prefix: str, class_name: str, title: str) -> str:
    """Of the URL that a task is pushed to."""
    path = f"{(routing_prefix or DEFAULT_ROUTING_PREFIX).rstrip('/')}/{class_name}"
    return f"{path}/{title}" if title else path


def option_violations(options: TaskOptions, *, has_dedup_key: bool, url: str) -> Iterator[Violation]:
    """`url`: what the title makes of it; its path where there is no host."""
    if options.title and (not _TITLE.fullmatch(options.title) or {".", ".."} & {*options.title.split("/")}):
        yield Violation("options.title", "must be characters of a URL's path: no spaces, no `?` or `#`, no dots alone")
    if len(url.encode(errors="replace")) > MAX_TASK_URL_BYTES:
        yield Violation("options.title", f"makes a URL that is longer than {MAX_TASK_URL_BYTES} bytes")
    if options.name_prefix and not _NAME_PREFIX.fullmatch(options.name_prefix):
        yield Violation("options.name_prefix", "must be 1 to 100 letters, digits, `_` or `-`")
    if options.name_prefix and not has_dedup_key:
        yield Violation("options.name_prefix", "means nothing without a dedup key")
    if options.here and has_dedup_key:
        yield Violation("options.here", "must not be said with a dedup key, which counts where its class's tasks wait")
    if options.retry is not None:
        yield from (Violation(f"options.retry.{field}", rule) for field, rule in retry_rules(options.retry))
