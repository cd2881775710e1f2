"""The local clouds as a process: serves both until it is asked to end.

The first line on stdout is JSON with the real addresses, once they are served.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ostinato.localcloud.arguments import parse_arguments
from ostinato.localcloud.local_cloud import LocalCloud, LocalCloudSettings, open_local_cloud
from ostinato.rpc.service_process import run_service
from ostinato.telemetry.logs import configure_logging


@asynccontextmanager
async def open_and_tell(settings: LocalCloudSettings) -> AsyncIterator[LocalCloud]:
    async with open_local_cloud(settings) as cloud:
        addresses = {
            "grpc": cloud.grpc_address,
            "http": cloud.http_address,
            "issuer": cloud.tokens.issuer,
            "jwks_url": cloud.jwks_url,
        }
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        yield cloud


def main() -> None:
    settings = parse_arguments(sys.argv[1:])
    configure_logging("info", "ostinato-localcloud")
    run_service(lambda: open_and_tell(settings))
