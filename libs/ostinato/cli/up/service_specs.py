"""What each service is started with. Pure: environment in, child specs out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ostinato.cli.up.child import ChildSpec
from ostinato.config import (
    ApiSettings,
    EngineSettings,
    IngesterSettings,
    InvalidSettings,
    load_api_settings,
    load_engine_settings,
    load_ingester_settings,
)
from ostinato.config.services import ProcessSettings
from ostinato.errors import Violation

# Python without the current folder on its path: what runs is what is installed.
PYTHON = (sys.executable, "-P")
PORT_STEP = 100  # 10 would lead from the gRPC port of one engine to the HTTP port of another
_AFTER_GRACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """How the services reach the database, and how the role that may change the schema does."""

    runtime: str
    maintenance: str


@dataclass(frozen=True, slots=True)
class Services:
    """The settings of all service processes, as they will read them, and how each is started."""

    api: ApiSettings
    ingester: IngesterSettings
    engines: tuple[EngineSettings, ...]
    specs: tuple[ChildSpec, ...]


def plan_services(environ: Mapping[str, str], urls: DatabaseUrls, *, secret: str, engines: int) -> Services:
    """Raises InvalidSettings with all that any of the services would refuse."""
    common = _common_environ(environ, urls, secret)
    _refuse_invalid((load_api_settings, load_ingester_settings, load_engine_settings), common)
    api, ingester = load_api_settings(common), load_ingester_settings(common)
    engine_environs = [_engine_environ(common, urls, ingester, number) for number in range(engines)]
    loaded = tuple(load_engine_settings(engine_environ) for engine_environ in engine_environs)
    specs = [_spec("api", common, api), _spec("ingester", common, ingester)]
    specs += [
        _spec("engine" if number == 0 else f"engine-{number + 1}", engine_environ, settings)
        for number, (engine_environ, settings) in enumerate(zip(engine_environs, loaded, strict=True))
    ]
    return Services(api, ingester, loaded, tuple(specs))


def plan_examples(folder: Path, environ: Mapping[str, str]) -> tuple[ChildSpec, ...]:
    """The programs that the example jobs call: `*_service.py`."""
    return tuple(
        ChildSpec(path.stem, (*PYTHON, str(path)), dict(environ)) for path in sorted(folder.glob("*_service.py"))
    )


def _common_environ(environ: Mapping[str, str], urls: DatabaseUrls, secret: str) -> dict[str, str]:
    common = {**environ, "OSTINATO_DATABASE_URL": urls.runtime}
    common["OSTINATO_SECRET"] = environ.get("OSTINATO_SECRET") or secret
    common.pop("OSTINATO_MAINTENANCE_DATABASE_URL", None)  # only the engine changes structure: its partitions
    return common


def _engine_environ(
    common: Mapping[str, str], urls: DatabaseUrls, ingester: IngesterSettings, number: int
) -> dict[str, str]:
    first = load_engine_settings(common)
    notify_url = common.get("OSTINATO_ENGINE_NOTIFY_URL") or f"http://{ingester.http_address}/notify"
    return {
        **common,
        "OSTINATO_MAINTENANCE_DATABASE_URL": urls.maintenance,
        "OSTINATO_ENGINE_NOTIFY_URL": notify_url,
        "OSTINATO_ENGINE_GRPC_ADDRESS": _moved(first.grpc_address, number),
        "OSTINATO_ENGINE_HTTP_ADDRESS": _moved(first.http_address, number),
    }


def _moved(address: str, number: int) -> str:
    """The address for engine `number`, the first of which is 0."""
    head, _, port = address.rpartition(":")
    return f"{head}:{int(port) + PORT_STEP * number}"


def _spec(name: str, environ: Mapping[str, str], settings: ProcessSettings) -> ChildSpec:
    module = f"ostinato_{name.partition('-')[0]}"
    return ChildSpec(
        name,
        (*PYTHON, "-m", module),
        environ,
        grace=settings.shutdown_grace + _AFTER_GRACE,
        http_address=settings.http_address,
    )


def _refuse_invalid(loaders: Sequence[Callable[[Mapping[str, str]], object]], environ: Mapping[str, str]) -> None:
    violations = [violation for load in loaders for violation in _violations(load, environ)]
    if violations:
        raise InvalidSettings(dict.fromkeys(violations))  # each once, in order


def _violations(load: Callable[[Mapping[str, str]], object], environ: Mapping[str, str]) -> tuple[Violation, ...]:
    try:
        load(environ)
    except InvalidSettings as error:
        return error.violations
    return ()
