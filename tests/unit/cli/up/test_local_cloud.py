"""What `ostinato up --cloud` tells the services of the local clouds."""

from __future__ import annotations

import pytest

from ostinato.cli.up.local_cloud import HTTP_ADDRESS, local_cloud_environ, local_cloud_spec
from ostinato.cli.up.service_specs import DatabaseUrls, plan_services
from ostinato.config import InvalidSettings
from ostinato.localcloud.arguments import parse_arguments

URLS = DatabaseUrls("postgresql://runtime:a@127.0.0.1:1/db", "postgresql://owner:b@127.0.0.1:1/db")


def test_the_services_read_what_the_local_clouds_are_started_with() -> None:
    environ = local_cloud_environ({"OSTINATO_ENGINE_HTTP_ADDRESS": "127.0.0.1:8081", HTTP_ADDRESS: "127.0.0.1:9999"})
    services = plan_services(environ, URLS, secret="ab" * 32, engines=2)
    settings = services.api.cloud_tasks
    assert settings is not None
    assert settings == services.ingester.cloud_tasks == services.engines[1].cloud_tasks
    assert settings.target_url == "http://127.0.0.1:8081"
    assert services.engines[0].oidc.jwks_url == "http://127.0.0.1:9999/jwks"
    arguments = local_cloud_spec(environ, ["127.0.0.1:8081"]).arguments
    assert arguments[-4:] == ("--grpc", settings.server_address, "--http", "127.0.0.1:9999")


def test_several_engines_share_what_is_pushed_to_the_first() -> None:
    environ = local_cloud_environ({})
    engines = [engine.http_address for engine in plan_services(environ, URLS, secret="ab" * 32, engines=2).engines]
    assert environ["OSTINATO_CLOUD_TARGET_URL"] == f"http://{engines[0]}"
    arguments = local_cloud_spec(environ, engines).arguments
    assert arguments[-2:] == ("--balance", "127.0.0.1:7081=127.0.0.1:7081,127.0.0.1:7181")
    assert parse_arguments(arguments[4:]).balanced == {engines[0]: (*engines,)}


def test_what_is_given_stays() -> None:
    given = {"OSTINATO_CLOUD_PROJECT": "mine", "OSTINATO_CLOUD_TASKS_ADDRESS": "127.0.0.1:7"}
    assert {**given, **local_cloud_environ(given)} == local_cloud_environ(given)
    assert local_cloud_environ(given)["OSTINATO_CLOUD_PROJECT"] == "mine"


@pytest.mark.parametrize("name", ["OSTINATO_CLOUD_TASKS_ADDRESS", HTTP_ADDRESS])
def test_local_clouds_stay_on_loopback(name: str) -> None:
    with pytest.raises(InvalidSettings, match=name):
        local_cloud_environ({name: "0.0.0.0:9022"})
