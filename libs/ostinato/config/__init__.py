"""Settings from the environment."""

from __future__ import annotations

from ostinato.config.authentication import AuthMode, AuthSettings
from ostinato.config.check_config import settings_or_exit
from ostinato.config.database import DatabaseSettings, load_migration_database
from ostinato.config.environment import InvalidSettings, split_address
from ostinato.config.services import (
    ApiSettings,
    EngineSettings,
    IngesterSettings,
    LogLevel,
    load_api_settings,
    load_engine_settings,
    load_ingester_settings,
)
from ostinato.config.tracing import TracingSettings

__all__ = [
    "ApiSettings",
    "AuthMode",
    "AuthSettings",
    "DatabaseSettings",
    "EngineSettings",
    "IngesterSettings",
    "InvalidSettings",
    "LogLevel",
    "TracingSettings",
    "load_api_settings",
    "load_engine_settings",
    "load_ingester_settings",
    "load_migration_database",
    "settings_or_exit",
    "split_address",
]
