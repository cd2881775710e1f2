"""No spelling of a forbidden address gets through."""

from __future__ import annotations

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


@pytest.mark.parametrize("address", ALLOWED)
def test_public_and_private_addresses_are_allowed(address: str) -> None:
    PRODUCTION.check(address)
