"""What `ostinato up --cloud` tells the services of the local clouds."""

from __future__ import annotations

import pytest

from ostinato.cli.up.local_cloud import HTTP_ADDRESS, local_cloud_environ, local_cloud_spec
from ostinato.cli.up.service_specs import DatabaseUrls, plan_services
from ostinato.config import InvalidSettings

URLS = DatabaseUrls("postgresql://runtime:a@127.0.0.1:1/db", "postgresql://owner:b@127.0.0.1:1/db")


def test_the_services_read_what_the_local_clouds_are_started_with() -> None:
    environ = local_cloud_environ({"OSTINATO_ENGINE_HTTP_ADDRESS": "127.0.0.1:8081", HTTP_ADDRESS: "127.0.0.1:9999"})
    services = plan_services(environ, URLS, secret="ab" * 32, engines=2)
    settings = services.api.cloud_tasks
    assert settings is not None
    assert settings == services.ingester.cloud_tasks == services.engines[1].cloud_tasks
    assert settings.target_url == "http://127.0.0.1:8081"
    assert services.engines[0].oidc.jwks_url == "http://127.0.0.1:9999/jwks"
    arguments = local_cloud_spec(environ).arguments
    assert arguments[-4:] == ("--grpc", settings.server_address, "--http", "127.0.0.1:9999")


def test_what_is_given_stays() -> None:
    given = {"OSTINATO_CLOUD_PROJECT": "mine", "OSTINATO_CLOUD_TASKS_ADDRESS": "127.0.0.1:7"}
    assert {**given, **local_cloud_environ(given)} == local_cloud_environ(given)
    assert local_cloud_environ(given)["OSTINATO_CLOUD_PROJECT"] == "mine"


@pytest.mark.parametrize("name", ["OSTINATO_CLOUD_TASKS_ADDRESS", HTTP_ADDRESS])
def test_local_clouds_stay_on_loopback(name: str) -> None:
    with pytest.raises(InvalidSettings, match=name):
        local_cloud_environ({name: "0.0.0.0:9022"})
