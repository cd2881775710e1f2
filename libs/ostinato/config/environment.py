"""Reads settings from environment variables and collects everything that is wrong with them.

Each getter returns a usable value even when it notes a violation, so that one start tells all mistakes at once.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from ostinato.errors import InvalidArgument, Violation

E = TypeVar("E", bound=StrEnum)
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class InvalidSettings(InvalidArgument):
    """Names every offending variable and the rule that it breaks."""

    reason = "INVALID_SETTINGS"


class EnvironmentReader:
    """One pass over the environment. `finish` raises what was noted."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: set[str] = set()
        self._violations: list[Violation] = []

    def refuse(self, name: str, rule: str) -> None:
        self._violations.append(Violation(name, rule))

    def given(self, name: str) -> str:
        """The trimmed text, empty when absent: an empty variable is the same as none."""
        self._known.add(name)
        return self._environ.get(name, "").strip()

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        text = self.given(name)
        if not text:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            self.refuse(name, f"must be a whole number from {low} to {high}")
            return default
        return int(text)

    def seconds(self, name: str, default: timedelta, *, high: int) -> timedelta:
        return timedelta(seconds=self.integer(name, int(default.total_seconds()), low=0, high=high))

    def switch(self, name: str, *, default: bool) -> bool:
        text = self.given(name).lower()
        if text and text not in _SWITCHES:
            self.refuse(name, "must be true or false")
        return _SWITCHES.get(text, default)

    def choice(self, name: str, default: E) -> E:
        text = self.given(name).lower()
        kind = type(default)
        if text and text not in [member.value for member in kind]:
            self.refuse(name, "must be one of: " + ", ".join(kind))
            return default
        return kind(text) if text else default

    def texts(self, name: str) -> tuple[str, ...]:
        """A list separated by commas; empty items don't count."""
        return tuple(item.strip() for item in self.given(name).split(",") if item.strip())

    def address(self, name: str, default: str) -> str:
        text = self.given(name) or default
        try:
            split_address(text)
        except ValueError as error:
            self.refuse(name, str(error))
            return default
        return text

    def url(self, name: str, default: str, *, schemes: Sequence[str], several_hosts: bool = False) -> str:
        """`several_hosts`: they may be separated by commas, each with its port, as PostgreSQL's clients read it."""
        text = self.given(name) or default
        if text and not _is_url(text, schemes, several_hosts=several_hosts):
            self.refuse(name, "must be a URL that begins with " + " or ".join(f"{scheme}://" for scheme in schemes))
            return default
        return text

    def keys(self, name: str, *, at_least: int) -> tuple[bytes, ...]:
        """Hexadecimal secrets separated by commas. A violation never repeats the text."""
        keys = [_from_hex(text) for text in self.texts(name)]
        if any(key is None or len(key) < at_least for key in keys):
            self.refuse(name, f"must be hexadecimal, at least {at_least} bytes ({2 * at_least} digits) each")
            return ()
        return tuple(key for key in keys if key is not None)

    def networks(self, name: str) -> tuple[Network, ...]:
        """Ranges of addresses separated by commas; one address is a range too."""
        networks = [_network_in(text) for text in self.texts(name)]
        if None in networks:
            self.refuse(name, "must be networks such as 10.0.0.0/8 or fd00::/8, with no bits set beyond the prefix")
            return ()
        return tuple(network for network in networks if network is not None)

    def refuse_unknown(self, prefix: str) -> None:
        """Variables that begin with `prefix` and that nobody asked for are misspelt, or Kubernetes' doing."""
        for name in sorted(self._environ):
            if name.startswith(prefix) and name not in self._known and not _SERVICE_LINK.fullmatch(name, len(prefix)):
                close = difflib.get_close_matches(name, self._known, n=1, cutoff=0.8)
                self.refuse(name, "is unknown" + (f", did you mean {close[0]}?" if close else ""))

    def finish(self) -> None:
        if self._violations:
            raise InvalidSettings(self._violations)


# What Kubernetes tells every container about a Service of that name.
_SERVICE_LINK = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)?")


def split_address(address: str) -> tuple[str, int]:
    """`127.0.0.1:7070` or `[::1]:7070`; raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("must be HOST:PORT with a port from 0 to 65535")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 host must stand in brackets, as in [::1]:7070")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    host, _ = split_address(address)
    return is_loopback_host(host)


def is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_HOST = re.compile(r"([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def is_host(text: str) -> bool:
    """`HOST` or `HOST:PORT`, as it may stand in a URL."""
    return _HOST.fullmatch(text) is not None and _is_url(f"//{text}", ("",), several_hosts=False)


def _is_url(text: str, schemes: Sequence[str], *, several_hosts: bool) -> bool:
    try:
        parts = urlsplit(text)
        hosts = parts.netloc.rpartition("@")[2].split(",") if several_hosts else [parts.netloc]
        ports = [urlsplit(f"//{host}").port for host in hosts]  # parsed only now
    except ValueError:
        return False
    return parts.scheme in schemes and 0 not in ports


def _network_in(text: str) -> Network | None:
    """An IPv4 network that is written as IPv6 would not be met by IPv4 addresses: none."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return None
    return None if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped else network


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
