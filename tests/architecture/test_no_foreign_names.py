"""The repository names no machine but the reader's own: no foreign hosts, no developers' paths, no registries."""

from __future__ import annotations

import ipaddress
import re

import pytest

from tests.architecture.source_tree import ROOT, project_files

NOT_TEXT = (".binpb",)  # protos as buf compiles them, those of google included
THIS_FILE = "tests/architecture/test_no_foreign_names.py"
URL_HOST = re.compile(r"\b[a-z][a-z+]*://(?:[^\s/@\"'<>]*@)?(\[[0-9a-f:]+\]|[A-Za-z0-9.-]*[A-Za-z0-9])", re.IGNORECASE)
ADDRESS = re.compile(r"(?<![\d.\w-])\d{1,3}(?:\.\d{1,3}){3}(?![\d.\w-])")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work(?=/)|root(?=/)|home/[a-z]\w*|Users/\w+|tmp/(?:design|bash_jobs))\b")
# Names that can't be anybody's, this machine, and the public home of a text that is quoted.
HARMLESS_HOST = re.compile(
    r"""
    localhost | \[(::1|fe80:[0-9a-f:]*|2001:db8:[0-9a-f:]*)\] | 127\.[\d.]+ | 0\.0\.0\.0
    | ([\w-]+\.)*(example|test|invalid|localhost) | ([\w-]+\.)*example\.(com|org|net)
    | ([\w-]+\.)+svc(\.cluster\.local)?          # inside a cluster
    | www\.apache\.org
    | accounts\.google\.com | www\.googleapis\.com  # whose tokens are believed by default
    | [\w-]+                                     # a bare name: a service of one's own network
    """,
    re.VERBOSE | re.IGNORECASE,
)
HARMLESS_NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "0.0.0.0/8",
        "10.0.0.0/24",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "169.254.0.0/16",
        # Metadata services of clouds, which jobs must not reach.
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
    )
]
# What may be called and what may not is these files' subject.
ABOUT_ADDRESSES = re.compile(r".*/(test_)?address_rules\.py")


def foreign_names(text: str, path: str = "") -> list[str]:
    hosts = [
        host for host in URL_HOST.findall(text) if not ADDRESS.fullmatch(host) and not HARMLESS_HOST.fullmatch(host)
    ]
    addresses = [address for address in ADDRESS.findall(text) if not _harmless(address)]
    return [*hosts, *([] if ABOUT_ADDRESSES.fullmatch(path) else addresses), *MACHINE_PATH.findall(text)]


def _harmless(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return True  # four numbers, but no address
    return any(parsed in network for network in HARMLESS_NETWORKS)


def _text(name: str) -> str:
    return (ROOT / name).read_text(errors="replace")


def test_no_file_names_a_foreign_machine() -> None:
    checked = {name: _text(name) for name in project_files() if name != THIS_FILE and not name.endswith(NOT_TEXT)}
    assert len(checked) > 100
    assert {name: names for name, text in checked.items() if (names := foreign_names(text, name))} == {}


def test_locks_hold_versions_and_hashes_but_no_addresses() -> None:
    locks = [name for name in project_files() if re.fullmatch(r"requirements[\w.-]*\.(lock|txt)", name)]
    assert locks
    for lock in locks:
        text = (ROOT / lock).read_text()
        assert "--hash=sha256:" in text, lock
        assert not re.search(r"://|--(extra-)?index-url|--find-links| @ ", text), lock


@pytest.mark.parametrize(
    "planted",
    [
        "https://registry.corp.internal/simple",
        "postgresql://u:p@db7.prod.cloud:5432/x",
        "listens on 10.3.0.17",
        "see /home/ana/notes.md",
        "cd /work/main",
        "/root/.cache",
    ],
)
def test_a_foreign_name_is_found(planted: str) -> None:
    assert foreign_names(planted)


@pytest.mark.parametrize(
    "harmless",
    [
        "http://127.0.0.1:7070/x",
        "https://shop.example/report",
        "postgresql://postgres@localhost/x",
        "http://[::1]:80",
        "refuses 169.254.169.254",
        "http://ostinato-ingester:7082/notify",
        "version 2.10.0",
        "/workspace",
        "http://{host}/x",
    ],
)
def test_a_harmless_name_is_accepted(harmless: str) -> None:
    assert not foreign_names(harmless)
