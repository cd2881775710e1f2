"""What `ostinato up` tells when everything runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from ostinato.cli.session import DEFAULT_ADDRESS
from ostinato.cli.up.data_directory import DataDirectory
from ostinato.cli.up.service_specs import Services


def running_lines(
    services: Services, directory: DataDirectory, database: str, example_logs: list[str], cwd: Path
) -> Iterator[str]:
    """Addresses, places and what to type next."""
    logs = _short(directory.logs, cwd)
    yield ""
    yield "Ostinato is running."
    yield f"  api        gRPC {services.api.grpc_address}   HTTP http://{services.api.http_address}"
    yield f"  ingester   gRPC {services.ingester.grpc_address}   HTTP http://{services.ingester.http_address}"
    for engine in services.engines:
        yield f"  engine     gRPC {engine.grpc_address}   HTTP http://{engine.http_address}"
    if services.api.cloud_tasks is not None:
        yield f"  tasks      Cloud Tasks {services.api.cloud_tasks.server_address or services.api.cloud_tasks.project}"
    yield f"  database   {database}"
    yield f"  data       {_short(directory.path, cwd)}"
    yield f"  logs       {logs}/*.log"
    yield ""
    yield "Try, in another terminal:"
    command = _command(services.api.grpc_address, cwd)
    if example_logs:
        yield f"  {command} jobs example"
        yield f"  {command} runs example/report"
        yield from (f"  tail -f {logs}/{name}.log" for name in example_logs)
    else:
        yield f"  {command} apply FILE.yaml"
    yield f"  {command} --help"
    yield ""
    yield "Ctrl-C stops everything; the next start continues where this one ended."


def _command(api_address: str, cwd: Path) -> str:
    beside = Path(sys.executable).parent / "ostinato"
    on_path = shutil.which("ostinato")
    program = "ostinato" if on_path and Path(on_path) == beside else _short(beside, cwd)
    return program if api_address == DEFAULT_ADDRESS else f"{program} --address {api_address}"


def _short(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
