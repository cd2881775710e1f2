"""The local clouds as one more process under `ostinato up --cloud`, and what the services are told of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ostinato.cli.up.child import ChildSpec
from ostinato.cli.up.service_specs import PYTHON
from ostinato.config import InvalidSettings
from ostinato.config.cloud_tasks import TARGET_URL, TASKS_ADDRESS
from ostinato.config.environment import is_loopback
from ostinato.config.oidc import ISSUERS, JWKS_URL
from ostinato.errors import Violation

HTTP_ADDRESS = "OSTINATO_LOCAL_CLOUD_HTTP_ADDRESS"
PUBSUB_ADDRESS = "OSTINATO_INGESTER_PUBSUB_ADDRESS"

_GRPC_DEFAULT = "127.0.0.1:9022"
_HTTP_DEFAULT = "127.0.0.1:9023"
_ENGINE_DEFAULT = "127.0.0.1:7081"
_PUSHER = "tasks@ostinato.example"


def local_cloud_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for services whose tasks wait in the local Cloud Tasks. What it says already stays as it is.

    Tasks are pushed to the address of the first engine, which stands for all. Raises InvalidSettings.
    """
    grpc = environ.get(TASKS_ADDRESS, "") or _GRPC_DEFAULT
    http = environ.get(HTTP_ADDRESS, "") or _HTTP_DEFAULT
    refused = [
        Violation(name, "must be an address of loopback")
        for name, address in ((TASKS_ADDRESS, grpc), (HTTP_ADDRESS, http))
        if not is_loopback(address)
    ]
    if refused:
        raise InvalidSettings(refused)
    usual = {
        "OSTINATO_CLOUD_PROJECT": "local",
        "OSTINATO_CLOUD_LOCATION": "here",
        "OSTINATO_CLOUD_PUSH_AS": _PUSHER,
        TARGET_URL: f"http://{_engine_address(environ)}",
        PUBSUB_ADDRESS: grpc,
    }
    return {
        **environ,
        **{name: value for name, value in usual.items() if not environ.get(name, "").strip()},
        "OSTINATO_QUEUE_BACKEND": "cloud_tasks",
        TASKS_ADDRESS: grpc,
        HTTP_ADDRESS: http,
        ISSUERS: f"http://{http}",
        JWKS_URL: f"http://{http}/jwks",
    }


def local_cloud_spec(environ: Mapping[str, str], engines: Sequence[str]) -> ChildSpec:
    """`environ` is what `local_cloud_environ` made, `engines` are the HTTP addresses of all, which share the pushes."""
    arguments = ["--grpc", environ[TASKS_ADDRESS], "--http", environ[HTTP_ADDRESS]]
    if len(engines) > 1:
        arguments += ["--balance", f"{engines[0]}={','.join(engines)}"]
    return ChildSpec(
        "local-cloud",
        (*PYTHON, "-m", "ostinato.localcloud", *arguments),
        dict(environ),
        http_address=environ[HTTP_ADDRESS],
    )


def _engine_address(environ: Mapping[str, str]) -> str:
    return environ.get("OSTINATO_ENGINE_HTTP_ADDRESS", "").strip() or _ENGINE_DEFAULT
