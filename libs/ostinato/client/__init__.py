"""The Python client of the api. Start at `open_client`."""

from __future__ import annotations

from ostinato.client.client_error import ClientError
from ostinato.client.ostinato_client import OstinatoClient, open_client

__all__ = ["ClientError", "OstinatoClient", "open_client"]
