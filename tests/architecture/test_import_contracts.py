"""Who may import whom. The layers are contracts of import-linter (pyproject.toml); what it can't say is said here."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT, Source, imports, own_sources

GRPC = re.compile(r"(grpc|grpc_health|grpc_reflection|grpc_status)(\.|$)|.*_pb2_grpc(\.|$)")
MAY_USE_GRPC = re.compile(
    r"""
    libs/ostinato/(rpc|client|cli|testing)/ .*
    | services/ostinato_\w+/ (.*_servicer|main|__main__)\.py
    | services/ostinato_engine/targets/ .*
    | services/ostinato_ingester/ (pubsub_clients|subscriber_loop)\.py
    | libs/ostinato/taskqueue/cloud_tasks/cloud_client\.py
    | libs/ostinato/localcloud/ (.*_servicer|unary_methods)\.py
    """,
    re.VERBOSE,
)
GOOGLE_CLIENT = re.compile(r"google\.(api_core|auth|cloud|iam|pubsub_v1)(\.|$)")
MAY_USE_GOOGLE_CLIENTS = re.compile(
    r"""
    libs/ostinato/(localcloud|taskqueue/cloud_tasks)/ .*
    | services/ostinato_ingester/ (held_messages|prepare_subscription|pubsub_clients|subscriber_loop)\.py
    """,
    re.VERBOSE,
)
# import-linter knows packages; these are parts of the standard library that a pure module has no use for.
IMPURE = re.compile(r"(urllib\.(request|error)|importlib|pathlib|io|sys|select|tempfile|shutil)(\.|$)")
CALLS_ITSELF_PURE = re.compile(r"\bPure\.|\bis pure\b|\ba pure\b")
DOES_THINGS = re.compile(
    r"(asyncio|asyncpg|aiohttp\.client|concurrent|grpc|logging|multiprocessing|os|random|secrets|signal|socket|structlog"
    r"|subprocess|threading|time|ostinato\.storage\.(database|transaction))(\.|$)"
)


def misplaced_grpc(source: Source) -> list[str]:
    if MAY_USE_GRPC.match(source.path):
        return []
    return [f"{source.path}:{line} {name}" for line, name in imports(source) if GRPC.match(name)]


def misplaced_google_clients(source: Source) -> list[str]:
    if MAY_USE_GOOGLE_CLIENTS.match(source.path):
        return []
    return [f"{source.path}:{line} {name}" for line, name in imports(source) if GOOGLE_CLIENT.match(name)]


def impure_imports(source: Source) -> list[str]:
    return [f"{source.path}:{line} {name}" for line, name in imports(source) if IMPURE.match(name)]


def broken_promises(source: Source) -> list[str]:
    """Imports of a module whose docstring says that it is pure."""
    if not CALLS_ITSELF_PURE.search(ast.get_docstring(source.tree) or ""):
        return []
    return [f"{source.path}:{line} {name}" for line, name in imports(source) if DOES_THINGS.match(name)]


def test_every_import_contract_holds() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_grpc_is_known_only_where_something_is_served_or_dialled() -> None:
    assert [found for source in own_sources() for found in misplaced_grpc(source)] == []


def test_clients_of_google_are_known_only_where_its_services_are_called() -> None:
    assert [found for source in own_sources() for found in misplaced_google_clients(source)] == []
    planted = Source("services/ostinato_ingester/pubsub_intake.py", "from google.pubsub_v1 import types")
    assert misplaced_google_clients(planted)


def test_the_scheduling_core_reads_nothing_of_the_world() -> None:
    core = [source for source in own_sources() if source.path.startswith("libs/ostinato/scheduling/")]
    assert core
    assert [found for source in core for found in impure_imports(source)] == []


def test_a_module_that_calls_itself_pure_is_pure() -> None:
    assert [found for source in own_sources() for found in broken_promises(source)] == []


def test_a_broken_promise_is_found() -> None:
    assert broken_promises(Source("x.py", '"""Decides things. Pure."""\nimport random\n'))
    assert not broken_promises(Source("x.py", '"""Decides things."""\nimport random\n'))


@pytest.mark.parametrize(
    "planted",
    [
        "import grpc",
        "from grpc_health.v1 import health_pb2",
        "def f():\n    from ostinato.pb.scheduler.v1 import jobs_pb2_grpc as g",
        "from grpc.aio import Channel",
    ],
)
def test_misplaced_grpc_is_found(planted: str) -> None:
    assert misplaced_grpc(Source("libs/ostinato/jobstore/job_store.py", planted))
    assert misplaced_grpc(Source("services/ostinato_engine/cron_loop.py", planted))
    assert not misplaced_grpc(Source("services/ostinato_api/job_servicer.py", planted))


@pytest.mark.parametrize("planted", ["from pathlib import Path", "import urllib.request", "import sys"])
def test_an_impure_import_is_found(planted: str) -> None:
    assert impure_imports(Source("libs/ostinato/scheduling/triage.py", planted))
    assert not impure_imports(Source("libs/ostinato/scheduling/triage.py", "from urllib.parse import urlsplit"))
