"""What the services read from their environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest

from ostinato.config import (
    AuthMode,
    InvalidSettings,
    LogLevel,
    load_api_settings,
    load_engine_settings,
    load_ingester_settings,
)

URL = "postgresql://scheduler:hush@db.example:5432/ostinato"
SECRET = "ab" * 32
NEEDED = {"OSTINATO_DATABASE_URL": URL, "OSTINATO_SECRET": SECRET}

Load = Callable[[Mapping[str, str]], object]


def refusals(load: Load, environ: Mapping[str, str]) -> dict[str, str]:
    with pytest.raises(InvalidSettings) as caught:
        load(environ)
    return {violation.path: violation.rule for violation in caught.value.violations}


def test_an_address_and_a_secret_are_enough() -> None:
    api = load_api_settings(NEEDED)
    assert (api.grpc_address, api.http_address) == ("127.0.0.1:7070", "127.0.0.1:7080")
    assert api.database.url == URL
    assert api.database.application_name == "ostinato-api"
    assert api.auth.mode is AuthMode.DEV
    assert api.auth.secret == bytes.fromhex(SECRET)
    assert api.shutdown_grace == timedelta(seconds=20)
    assert api.log_level is LogLevel.INFO


def test_each_service_has_its_own_default_ports() -> None:
    engine, ingester = load_engine_settings(NEEDED), load_ingester_settings(NEEDED)
    assert (engine.grpc_address, engine.http_address) == ("127.0.0.1:7071", "127.0.0.1:7081")
    assert (ingester.grpc_address, ingester.http_address) == ("127.0.0.1:7072", "127.0.0.1:7082")
    assert engine.notify_url == "http://127.0.0.1:7082/notify"


def test_a_database_may_have_several_hosts_of_which_one_takes_writes() -> None:
    pair = "postgresql://app:pw@db-1:5432,db-2:5433/ostinato?target_session_attrs=read-write"
    assert load_api_settings({**NEEDED, "OSTINATO_DATABASE_URL": pair}).database.url == pair
    with pytest.raises(InvalidSettings, match="OSTINATO_DATABASE_URL"):
        load_api_settings({**NEEDED, "OSTINATO_DATABASE_URL": pair.replace("5433", "0")})
    with pytest.raises(InvalidSettings, match="OSTINATO_ENGINE_NOTIFY_URL"):
        load_engine_settings({**NEEDED, "OSTINATO_ENGINE_NOTIFY_URL": "http://in-1:80,in-2:80/notify"})


def test_the_general_database_url_serves_where_ours_is_absent() -> None:
    assert load_api_settings({"DATABASE_URL": URL, "OSTINATO_SECRET": SECRET}).database.url == URL
    assert load_api_settings({**NEEDED, "DATABASE_URL": "postgresql://other/db"}).database.url == URL


def test_the_maintenance_role_is_the_services_own_unless_said() -> None:
    owner = "postgresql://owner:hush@db.example/ostinato"
    assert load_engine_settings(NEEDED).maintenance_url == URL
    assert load_engine_settings({**NEEDED, "OSTINATO_MAINTENANCE_DATABASE_URL": owner}).maintenance_url == owner


def test_lists_lose_blanks_and_empty_items() -> None:
    api = load_api_settings({**NEEDED, "OSTINATO_ADMINS": "user:ana@x.example, ,user:bo@x.example,"})
    assert api.auth.admins == ("user:ana@x.example", "user:bo@x.example")


def networks(text: str) -> list[str]:
    settings = load_engine_settings({**NEEDED, "OSTINATO_ENGINE_FORBIDDEN_NETWORKS": text})
    return [str(network) for network in settings.forbidden_networks]


def test_networks_are_read_and_nothing_is_forbidden_unless_said() -> None:
    assert networks(" 10.0.0.0/8 ,192.0.2.7,, fd00::/8") == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]
    assert networks("0.0.0.0/0,::/0") == ["0.0.0.0/0", "::/0"]
    assert load_engine_settings(NEEDED).forbidden_networks == ()


@pytest.mark.parametrize(
    "text",
    ["private", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8;fd00::/8", "10.*", "10", "fd00::/129", "::ffff:10.0.0.0/104"],
)
def test_a_network_that_would_forbid_something_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="OSTINATO_ENGINE_FORBIDDEN_NETWORKS: must be networks such as"):
        networks(f"fd00::/8, {text}")


@pytest.mark.parametrize("admins", ["ana", "user:ana, bo", "user: ana", "User:ana"])
def test_an_administrator_that_nobody_can_be_is_refused(admins: str) -> None:
    assert set(refusals(load_api_settings, {**NEEDED, "OSTINATO_ADMINS": admins})) == {"OSTINATO_ADMINS"}


def test_notification_keys_keep_their_order_and_make_the_secret_needless() -> None:
    environ = {"OSTINATO_DATABASE_URL": URL, "OSTINATO_NOTIFICATION_KEYS": f"{'02' * 32},{'01' * 40}"}
    assert load_ingester_settings(environ).notification_keys == (b"\x02" * 32, b"\x01" * 40)
    assert load_engine_settings(environ).notification_keys == (b"\x02" * 32, b"\x01" * 40)
    assert set(refusals(load_api_settings, environ)) == {"OSTINATO_SECRET"}


@pytest.mark.parametrize("load", [load_api_settings, load_engine_settings, load_ingester_settings])
def test_nothing_set_tells_all_that_is_missing(load: Load) -> None:
    assert set(refusals(load, {})) == {"OSTINATO_DATABASE_URL", "OSTINATO_SECRET"}


def test_an_empty_variable_counts_as_absent() -> None:
    assert set(refusals(load_api_settings, {"OSTINATO_DATABASE_URL": " ", "OSTINATO_SECRET": ""})) == {
        "OSTINATO_DATABASE_URL",
        "OSTINATO_SECRET",
    }


def test_what_kubernetes_says_about_a_service_of_our_name_is_no_misspelt_setting() -> None:
    links = (
        "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_7080_TCP", "PORT_7080_TCP_PROTO",
        "PORT_7080_TCP_PORT", "PORT_7080_TCP_ADDR",
    )  # fmt: skip
    assert load_api_settings({**NEEDED, **{f"OSTINATO_API_{link}": "tcp://10.0.0.1:7080" for link in links}})
    assert set(refusals(load_api_settings, {**NEEDED, "OSTINATO_API_GRPC_PORT": "1"})) == {"OSTINATO_API_GRPC_PORT"}


def test_all_mistakes_are_told_at_once() -> None:
    environ = {
        "OSTINATO_DATABASE_URL": "mysql://db",
        "OSTINATO_SECRET": "abc",
        "OSTINATO_API_GRPC_ADDRESS": "7070",
        "OSTINATO_API_SHUTDOWN_GRACE": "-1",
        "OSTINATO_LOG_LEVEL": "loud",
    }
    assert set(refusals(load_api_settings, environ)) == set(environ)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("OSTINATO_DATABASE_URL", "mysql://db", "postgresql://"),
        ("OSTINATO_DATABASE_URL", "postgresql://db:70000/x", "postgresql://"),
        ("OSTINATO_LISTEN_DATABASE_URL", "db:5432", "postgresql://"),
        ("OSTINATO_MAINTENANCE_DATABASE_URL", "db:5432", "postgresql://"),
        ("OSTINATO_DATABASE_POOL_SIZE", "0", "from 1 to 1000"),
        ("OSTINATO_DATABASE_POOL_SIZE", "ten", "from 1 to 1000"),
        ("OSTINATO_DATABASE_POOL_SIZE", "²", "from 1 to 1000"),
        ("OSTINATO_DATABASE_PREPARED_STATEMENTS", "maybe", "true or false"),
        ("OSTINATO_SECRET", "zz" * 32, "hexadecimal"),
        ("OSTINATO_SECRET", "ab" * 31, "at least 32 bytes"),
        ("OSTINATO_SECRET", f"{'ab' * 32},{'cd' * 32}", "not a list"),
        ("OSTINATO_NOTIFICATION_KEYS", f"{'ab' * 32},short", "hexadecimal"),
        ("OSTINATO_AUTH", "none", "must be one of: dev"),
        ("OSTINATO_QUEUE_BACKEND", "redis", "must be one of: embedded, cloud_tasks"),
        ("OSTINATO_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("OSTINATO_ENGINE_GRPC_ADDRESS", "localhost", "HOST:PORT"),
        ("OSTINATO_ENGINE_GRPC_ADDRESS", "127.0.0.1:99999", "65535"),
        ("OSTINATO_ENGINE_GRPC_ADDRESS", "::1:7071", "brackets"),
        ("OSTINATO_ENGINE_GRPC_ADDRESS", "0.0.0.0:7071", "loopback"),
        ("OSTINATO_ENGINE_GRPC_ADDRESS", "engine.example:7071", "loopback"),
        ("OSTINATO_ENGINE_HTTP_ADDRESS", ":7081", "HOST:PORT"),
        ("OSTINATO_ENGINE_NOTIFY_URL", "ftp://host/notify", "http://"),
        ("OSTINATO_ENGINE_SHUTDOWN_GRACE", "1.5", "whole number"),
        ("OSTINATO_ENGINE_GRPC_ADRESS", "127.0.0.1:1", "did you mean OSTINATO_ENGINE_GRPC_ADDRESS?"),
        ("OSTINATO_ENGINE_COLOUR", "red", "is unknown"),
    ],
)
def test_a_refusal_names_the_variable_and_the_rule(name: str, value: str, rule: str) -> None:
    told = refusals(load_engine_settings, {**NEEDED, name: value})
    assert list(told) == [name]
    assert rule in told[name]


@pytest.mark.parametrize("value", ["127.0.0.1:1", "127.8.9.1:0", "localhost:65535", "[::1]:7071"])
def test_loopback_addresses_are_accepted_in_dev(value: str) -> None:
    assert load_engine_settings({**NEEDED, "OSTINATO_ENGINE_GRPC_ADDRESS": value}).grpc_address == value


def test_probes_may_reach_the_http_port_from_outside() -> None:
    address = "0.0.0.0:7081"
    assert load_engine_settings({**NEEDED, "OSTINATO_ENGINE_HTTP_ADDRESS": address}).http_address == address


def test_another_services_variables_are_not_ours_to_judge() -> None:
    assert load_api_settings({**NEEDED, "OSTINATO_ENGINE_COLOUR": "red"})


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(InvalidSettings) as caught:
        load_api_settings({**NEEDED, "OSTINATO_SECRET": "hush-hush"})
    assert "hush" not in str(caught.value)


def test_secrets_are_not_in_the_repr() -> None:
    engine = load_engine_settings({**NEEDED, "OSTINATO_NOTIFICATION_KEYS": "cd" * 32})
    assert "hush" not in repr(engine)
    assert repr(bytes.fromhex(SECRET)) not in repr(engine)
    assert repr(b"\xcd" * 32) not in repr(engine)
