"""The settings of the three services: one frozen class each, read from the environment.

Variables of a service begin with its prefix (`OSTINATO_API_`, …); the groups they share have no service in
their name. An unknown variable under a service's prefix is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from ostinato.config.authentication import (
    AuthSettings,
    read_auth,
    read_notification_keys,
    require_loopback,
)
from ostinato.config.cloud_tasks import CloudTasksSettings, read_cloud_tasks
from ostinato.config.database import DatabaseSettings, read_database, read_maintenance_url
from ostinato.config.environment import EnvironmentReader, Network
from ostinato.config.oidc import OidcSettings, read_oidc
from ostinato.config.pubsub import PubSubSettings, read_pubsub
from ostinato.config.queue_limits import QueueLimits, read_queue_limits
from ostinato.config.tracing import TracingSettings, read_tracing

DEFAULT_GRACE = timedelta(seconds=20)


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class QueueBackend(StrEnum):
    """Where tasks wait. Another one is refused: a deployment must not believe in a queue that nobody runs."""

    EMBEDDED = "embedded"
    CLOUD_TASKS = "cloud_tasks"


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What every service process has. Addresses are HOST:PORT, `[::1]:PORT` for IPv6.

    `cloud_tasks`: where tasks wait; None: in the database.
    """

    database: DatabaseSettings
    auth: AuthSettings
    grpc_address: str
    http_address: str
    shutdown_grace: timedelta
    log_level: LogLevel
    tracing: TracingSettings
    cloud_tasks: CloudTasksSettings | None


@dataclass(frozen=True, slots=True)
class ApiSettings(ProcessSettings):
    """Settings of the api."""

    notification_keys: tuple[bytes, ...] = field(repr=False)  # newest first; empty: derived from the secret


@dataclass(frozen=True, slots=True)
class EngineSettings(ProcessSettings):
    """Settings of the engine."""

    maintenance_url: str = field(repr=False)  # of the role that makes partitions
    notify_url: str  # where running work reports; sent to it with its token
    notification_keys: tuple[bytes, ...] = field(repr=False)  # newest first; empty: derived from the secret
    queue_limits: tuple[QueueLimits, ...] = ()  # queues that are not named have none
    oidc: OidcSettings = field(default_factory=OidcSettings)
    forbidden_networks: tuple[Network, ...] = ()  # that http targets may not reach, besides those they never may


@dataclass(frozen=True, slots=True)
class IngesterSettings(ProcessSettings):
    """Settings of the ingester."""

    notification_keys: tuple[bytes, ...] = field(repr=False)
    pubsub: PubSubSettings = field(default_factory=PubSubSettings)
    oidc: OidcSettings = field(default_factory=OidcSettings)


def load_api_settings(environ: Mapping[str, str]) -> ApiSettings:
    """Raises InvalidSettings with everything that is wrong, as do its siblings."""
    reader = EnvironmentReader(environ)
    keys = read_notification_keys(reader)
    process = _process(reader, "api", ports=(7070, 7080), secret_required=True)
    settings = ApiSettings(*process, notification_keys=keys)
    _finish(reader, "api")
    return settings


def load_engine_settings(environ: Mapping[str, str]) -> EngineSettings:
    reader = EnvironmentReader(environ)
    keys = read_notification_keys(reader)
    process = _process(reader, "engine", ports=(7071, 7081), secret_required=not keys)
    settings = EngineSettings(
        *process,
        maintenance_url=read_maintenance_url(reader, process[0].url),
        notify_url=reader.url("OSTINATO_ENGINE_NOTIFY_URL", "http://127.0.0.1:7082/notify", schemes=("http", "https")),
        notification_keys=keys,
        queue_limits=read_queue_limits(reader, "OSTINATO_ENGINE_QUEUE_LIMITS"),
        oidc=read_oidc(reader),
        forbidden_networks=reader.networks("OSTINATO_ENGINE_FORBIDDEN_NETWORKS"),
    )
    _finish(reader, "engine")
    return settings


def load_ingester_settings(environ: Mapping[str, str]) -> IngesterSettings:
    reader = EnvironmentReader(environ)
    keys = read_notification_keys(reader)
    process = _process(reader, "ingester", ports=(7072, 7082), secret_required=not keys)
    settings = IngesterSettings(*process, notification_keys=keys, pubsub=read_pubsub(reader), oidc=read_oidc(reader))
    _finish(reader, "ingester")
    return settings


def read_log_level(reader: EnvironmentReader) -> LogLevel:
    return reader.choice("OSTINATO_LOG_LEVEL", LogLevel.INFO)


def _process(
    reader: EnvironmentReader, service: str, *, ports: tuple[int, int], secret_required: bool
) -> tuple[DatabaseSettings, AuthSettings, str, str, timedelta, LogLevel, TracingSettings, CloudTasksSettings | None]:
    """The fields of ProcessSettings, in order."""
    prefix = _prefix(service)
    auth = read_auth(reader, secret_required=secret_required)
    grpc_address = reader.address(f"{prefix}GRPC_ADDRESS", f"127.0.0.1:{ports[0]}")
    require_loopback(reader, auth, f"{prefix}GRPC_ADDRESS", grpc_address)
    backend = reader.choice("OSTINATO_QUEUE_BACKEND", QueueBackend.EMBEDDED)
    return (
        read_database(reader, f"ostinato-{service}"),
        auth,
        grpc_address,
        reader.address(f"{prefix}HTTP_ADDRESS", f"127.0.0.1:{ports[1]}"),
        reader.seconds(f"{prefix}SHUTDOWN_GRACE", DEFAULT_GRACE, high=3600),
        read_log_level(reader),
        read_tracing(reader),
        read_cloud_tasks(reader) if backend is QueueBackend.CLOUD_TASKS else None,
    )


def _finish(reader: EnvironmentReader, service: str) -> None:
    reader.refuse_unknown(_prefix(service))
    reader.finish()


def _prefix(service: str) -> str:
    return f"OSTINATO_{service.upper()}_"
