"""No spelling of a forbidden address gets through."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ostinato_engine.targets.address_rules import AddressRefused, AddressRules

PRODUCTION = AddressRules(allow_loopback=False)
DEV = AddressRules(allow_loopback=True)

NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "::ffff:100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "0.1.2.3", "::", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"]
ALLOWED = [
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "8.8.8.8",
    "2001:4860:4860::8888",
    "fd12:3456::1",
    "::ffff:10.0.0.1",
]


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("rules", [PRODUCTION, DEV], ids=["production", "dev"])
def test_link_local_metadata_and_multicast_addresses_are_refused_always(rules: AddressRules, address: str) -> None:
    with pytest.raises(AddressRefused):
        rules.check(address)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_for_developing_only(address: str) -> None:
    DEV.check(address)
    with pytest.raises(AddressRefused, match="loopback"):
        PRODUCTION.check(address)


NO_PRIVATE = AddressRules(
    allow_loopback=False, forbidden=[*map(ip_network, ("10.0.0.0/8", "192.168.1.7", "fc00::/7", "2001:db8::/32"))]
)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.0",
        "10.255.255.255",
        "192.168.1.7",
        "fd12:3456::1",
        "2001:db8:ffff::1",
        "2001:db8::1%eth0",
        "::ffff:10.0.0.1",
        "::ffff:a00:1",
        "::10.0.0.1",
        "64:ff9b::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "2002:a00:1::1",
    ],
)
def test_a_deployment_forbids_networks_in_every_spelling(address: str) -> None:
    PRODUCTION.check(address)
    with pytest.raises(AddressRefused, match="OSTINATO_ENGINE_FORBIDDEN_NETWORKS"):
        NO_PRIVATE.check(address)


@pytest.mark.parametrize("address", ["11.0.0.0", "9.255.255.255", "192.168.1.8", "2001:db7::1", "::ffff:11.0.0.1"])
def test_what_is_beside_a_forbidden_network_is_allowed(address: str) -> None:
    NO_PRIVATE.check(address)


def test_loopback_may_be_forbidden_while_developing_too() -> None:
    with pytest.raises(AddressRefused, match="OSTINATO_ENGINE_FORBIDDEN_NETWORKS"):
        AddressRules(allow_loopback=True, forbidden=[ip_network("127.0.0.0/8")]).check("::ffff:127.0.0.1")


@pytest.mark.parametrize("address", ALLOWED)
def test_public_and_private_addresses_are_allowed(address: str) -> None:
    PRODUCTION.check(address)
