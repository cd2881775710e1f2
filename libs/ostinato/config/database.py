"""Where the database is and how to talk to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ostinato.config.environment import EnvironmentReader

POSTGRES_SCHEMES = ("postgresql", "postgres")
DATABASE_URL = "OSTINATO_DATABASE_URL"
MAINTENANCE_URL = "OSTINATO_MAINTENANCE_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Addresses carry passwords, so they are not part of the repr."""

    url: str = field(repr=False)
    listen_url: str = field(default="", repr=False)  # direct, when `url` goes through pgbouncer; empty: `url`
    pool_size: int = 10
    prepared_statements: bool = True
    statement_timeout: timedelta = timedelta(seconds=30)
    # Shorter than a worker's lease. Who waits longer for a lock gives up those that it holds, and begins anew.
    lock_timeout: timedelta = timedelta(seconds=5)
    # How long a transaction may do nothing before the server ends its session: a process that hangs holds locks.
    idle_transaction_timeout: timedelta = timedelta(seconds=10)
    application_name: str = "ostinato"
    # The scheduler's tables are empty one moment and large the next. A plan that was kept from the empty ones once
    # made a set-based update cubic; planning for the sizes of the moment costs a batch next to nothing. Reading a
    # whole table is never cheaper for long either: every change of 300 runs read all active ones. The queue's own
    # statements have no choice of plans and need neither.
    plans_anew: bool = False

    @property
    def can_listen(self) -> bool:
        """A pgbouncer in transaction mode takes a LISTEN, and gives the session that listens to somebody else."""
        return bool(self.listen_url) or self.prepared_statements


def read_database(reader: EnvironmentReader, application_name: str) -> DatabaseSettings:
    return DatabaseSettings(
        url=read_database_url(reader),
        listen_url=reader.url("OSTINATO_LISTEN_DATABASE_URL", "", schemes=POSTGRES_SCHEMES, several_hosts=True),
        pool_size=reader.integer("OSTINATO_DATABASE_POOL_SIZE", 10, low=1, high=1000),
        prepared_statements=reader.switch("OSTINATO_DATABASE_PREPARED_STATEMENTS", default=True),
        application_name=application_name,
        plans_anew=True,
    )


def read_database_url(reader: EnvironmentReader) -> str:
    plain = reader.url("DATABASE_URL", "", schemes=POSTGRES_SCHEMES, several_hosts=True)
    url = reader.url(DATABASE_URL, plain, schemes=POSTGRES_SCHEMES, several_hosts=True)
    if not reader.given("DATABASE_URL") and not reader.given(DATABASE_URL):
        reader.refuse(DATABASE_URL, "must be set (or DATABASE_URL): postgresql://user:password@host:5432/database")
    return url


def read_maintenance_url(reader: EnvironmentReader, default: str) -> str:
    """The address of the role that may change the schema; the services' own by default."""
    return reader.url(MAINTENANCE_URL, default, schemes=POSTGRES_SCHEMES, several_hosts=True)


def load_migration_database(environ: Mapping[str, str]) -> DatabaseSettings:
    """The database as `ostinato migrate` reaches it: by the maintenance address where there is one."""
    reader = EnvironmentReader(environ)
    own = "" if reader.given(MAINTENANCE_URL) else read_database_url(reader)
    settings = DatabaseSettings(read_maintenance_url(reader, own), application_name="ostinato-migrate")
    reader.finish()
    return settings
