"""SQL text stands beside its row mapper: in stores, in storage and in the embedded queue, nowhere else."""

from __future__ import annotations

import re

import pytest

from tests.architecture.source_tree import Source, own_sources, string_constants

MAY_CONTAIN_SQL = re.compile(
    r"""
    .*_store\.py
    | libs/ostinato/storage/ .*
    | libs/ostinato/taskqueue/embedded/ .*
    | libs/ostinato/testing/ .*          # creates databases and replaces the clock function
    """,
    re.VERBOSE,
)
SQL = re.compile(
    r"""
    \s*(
      select\s.*\bfrom\s | select\s+[\w.]+\(  | select\s+(1|true)\b
      | insert\s+into\s | update\s+\w+\s.*\bset\s | delete\s+from\s | merge\s+into\s
      | with\s+(recursive\s+)?\w+\s*(\([^)]*\)\s*)?as\s+(materialized\s+|not\s+materialized\s+)?\(
      | (create|drop|alter)\s+(or\s+replace\s+)?((unlogged|temporary|temp|unique)\s+)?
        (table|index|function|database|role|sequence|schema)\b
      | (grant|revoke)\s.*\bon\s | lock\s+table\s | truncate\s | copy\s+\w+\s*\( | explain\s
      | (listen|notify|unlisten)\s+\w+ | set\s+(local\s+|session\s+)?\w+\s*(=|\bto\b)
      | (begin|commit|rollback)\s*;?\s*$
    )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def misplaced_sql(source: Source) -> list[str]:
    if MAY_CONTAIN_SQL.match(source.path):
        return []
    return [f"{source.path}:{line} {text[:60]!r}" for line, text in string_constants(source) if SQL.match(text)]


def test_sql_is_written_only_in_stores() -> None:
    assert [found for source in own_sources() for found in misplaced_sql(source)] == []


@pytest.mark.parametrize(
    "planted",
    [
        "select job_id, name from job where project = $1",
        "\\n  update job\\n set paused = true",
        "insert into trigger (job_id) values ($1)",
        "delete from tq_ready where id = any($1)",
        "with due as materialized (select 1) select * from due",
        "select ostinato_now()",
        "SELECT 1",
        "create table x (id int)",
        "listen tq_wake",
        "lock table job in share mode",
    ],
)
def test_misplaced_sql_is_found(planted: str) -> None:
    assert misplaced_sql(Source("services/ostinato_engine/cron_loop.py", f'SQL = "{planted}"'))
    assert misplaced_sql(Source("services/ostinato_engine/cron_loop.py", f'SQL = f"{planted} {{1}}"'))
    assert not misplaced_sql(Source("libs/ostinato/jobstore/job_store.py", f'SQL = "{planted}"'))


@pytest.mark.parametrize(
    "prose", ["select a job first", "with 10m interval", "update the config", "set to 1", "commit failed"]
)
def test_prose_is_not_taken_for_sql(prose: str) -> None:
    assert not misplaced_sql(Source("services/ostinato_engine/cron_loop.py", f'TEXT = "{prose}"'))


def test_docstrings_are_not_taken_for_sql() -> None:
    assert not misplaced_sql(Source("libs/ostinato/cli/main.py", 'def f():\n    """Delete from the list."""\n'))
