"""Which network addresses an http target may reach. Checked when a connection is opened, so nothing gets around it:
neither a redirect, nor a name that resolves to such an address, nor another spelling of it.

Link-local and metadata addresses hand out the machine's credentials: never. Loopback is the engine's own machine:
only while developing. Private ranges are allowed: who runs their services there needs them; a deployment may forbid
them, or any others. Addresses that carry an IPv4 address inside are judged by that one too.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp.connector import AddrInfoType

from ostinato.config.environment import Network

Address = IPv4Address | IPv6Address

# Services of clouds that answer with credentials or settings and are not link-local.
_METADATA = frozenset(
    map(
        ip_address,
        (
            "fd00:ec2::254",  # AWS
            "fd20:ce::254",  # Google Cloud
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle Cloud
        ),
    )
)
_THIS_HOST = IPv4Network("0.0.0.0/8")  # Linux connects to itself
_BROADCAST = IPv4Address("255.255.255.255")
# The last 32 bits are an IPv4 address: RFC 6052, RFC 8215, RFC 4291 §2.5.5.1, RFC 2765 §2.1.
_IPV4_INSIDE = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))


class AddressRefused(OSError):  # noqa: N818 - a state of affairs, not a fault
    """The address may not be called. Looks like a failed connect to the client in between."""

    def __init__(self, rule: str) -> None:
        super().__init__(errno.EACCES, rule)


class AddressRules:
    """What is refused in this deployment; `forbidden` comes on top of what is refused everywhere."""

    def __init__(self, *, allow_loopback: bool, forbidden: Sequence[Network] = ()) -> None:
        self._allow_loopback = allow_loopback
        self._forbidden = tuple(forbidden)

    def check(self, text: str) -> None:
        """Raises AddressRefused. `text` is a numeric address; a zone index is ignored."""
        for address in _meanings(ip_address(text.partition("%")[0])):
            if rule := self._broken_rule(address):
                raise AddressRefused(rule)

    def open_socket(self, info: AddrInfoType) -> socket.socket:
        """A socket factory for aiohttp's connector."""
        family, kind, protocol, _, address = info
        self.check(str(address[0]))
        return socket.socket(family, kind, protocol)

    def _broken_rule(self, address: Address) -> str | None:
        if address.is_link_local or address in _METADATA:
            return "link-local and metadata addresses are refused"
        if address.is_multicast or address == _BROADCAST:
            return "multicast and broadcast addresses are refused"
        if not self._allow_loopback and _is_own_machine(address):
            return "loopback addresses are refused"
        if any(address in network for network in self._forbidden):
            return "addresses of this network are forbidden by OSTINATO_ENGINE_FORBIDDEN_NETWORKS"
        return None


def _is_own_machine(address: Address) -> bool:
    if isinstance(address, IPv4Address) and address in _THIS_HOST:
        return True
    return address.is_loopback or address.is_unspecified


def _meanings(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses that it may stand for."""
    yield address
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if any(address in network for network in _IPV4_INSIDE):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
