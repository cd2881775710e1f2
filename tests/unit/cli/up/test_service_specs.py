"""What `ostinato up` starts each service with."""

from __future__ import annotations

from pathlib import Path

import pytest

from ostinato.cli.up.service_specs import DatabaseUrls, Services, plan_examples, plan_services
from ostinato.config import InvalidSettings, load_api_settings, load_engine_settings, load_ingester_settings

URLS = DatabaseUrls("postgresql://runtime:a@127.0.0.1:1/db", "postgresql://owner:b@127.0.0.1:1/db")
SECRET = "ab" * 32


def plan(engines: int = 1, **environ: str) -> Services:
    return plan_services({"PATH": "/bin", **environ}, URLS, secret=SECRET, engines=engines)


def test_every_service_reads_what_was_planned_for_it() -> None:
    services = plan()
    api, ingester, engine = (spec.environ for spec in services.specs)
    assert load_api_settings(api) == services.api
    assert load_ingester_settings(ingester) == services.ingester
    assert load_engine_settings(engine) == services.engines[0]
    assert services.api.database.url == URLS.runtime
    assert services.api.auth.secret == bytes.fromhex(SECRET)


def test_only_engines_are_given_the_role_that_changes_structure() -> None:
    services = plan(OSTINATO_MAINTENANCE_DATABASE_URL="postgresql://elsewhere/db")
    api, ingester, _ = services.specs
    assert services.engines[0].maintenance_url == URLS.maintenance
    assert "OSTINATO_MAINTENANCE_DATABASE_URL" not in {**api.environ, **ingester.environ}


def test_further_engines_get_ports_of_their_own() -> None:
    services = plan(engines=3, OSTINATO_ENGINE_HTTP_ADDRESS="127.0.0.1:8000")
    assert [spec.name for spec in services.specs] == ["api", "ingester", "engine", "engine-2", "engine-3"]
    assert [engine.grpc_address for engine in services.engines] == [f"127.0.0.1:{7071 + 100 * n}" for n in range(3)]
    assert [engine.http_address for engine in services.engines] == [f"127.0.0.1:{8000 + 100 * n}" for n in range(3)]
    assert services.specs[-1].arguments[-2:] == ("-m", "ostinato_engine")


def test_no_two_processes_share_an_address() -> None:
    services = plan(engines=5)
    settings = [services.api, services.ingester, *services.engines]
    addresses = [address for one in settings for address in (one.grpc_address, one.http_address)]
    assert len(set(addresses)) == len(addresses)


def test_work_reports_to_the_ingester_where_it_really_listens() -> None:
    assert plan(OSTINATO_INGESTER_HTTP_ADDRESS="127.0.0.1:9999").engines[0].notify_url == "http://127.0.0.1:9999/notify"
    elsewhere = plan(OSTINATO_ENGINE_NOTIFY_URL="https://ingester.example/notify")
    assert elsewhere.engines[0].notify_url == "https://ingester.example/notify"


def test_a_secret_of_the_users_wins() -> None:
    assert plan(OSTINATO_SECRET="cd" * 32).api.auth.secret == b"\xcd" * 32
    assert plan(OSTINATO_SECRET="").api.auth.secret == bytes.fromhex(SECRET)


def test_the_users_database_urls_give_way() -> None:
    services = plan(OSTINATO_DATABASE_URL="postgresql://other/db", DATABASE_URL="postgresql://another/db")
    assert {services.api.database.url, services.engines[0].database.url} == {URLS.runtime}


def test_mistakes_of_all_services_are_told_once_each() -> None:
    with pytest.raises(InvalidSettings) as caught:
        plan(OSTINATO_API_GRPC_ADDRESS="x", OSTINATO_ENGINE_GRPC_ADDRESS="y", OSTINATO_LOG_LEVEL="loud")
    assert [violation.path for violation in caught.value.violations] == [
        "OSTINATO_API_GRPC_ADDRESS",
        "OSTINATO_LOG_LEVEL",
        "OSTINATO_ENGINE_GRPC_ADDRESS",
    ]


def test_the_programs_of_an_examples_folder_are_its_services(tmp_path: Path) -> None:
    for name in ("b_service.py", "a_service.py", "example.yaml", "notes.py"):
        (tmp_path / name).write_text("")
    specs = plan_examples(tmp_path, {"PATH": "/bin"})
    assert [spec.name for spec in specs] == ["a_service", "b_service"]
    assert specs[0].arguments[-1] == str(tmp_path / "a_service.py")
