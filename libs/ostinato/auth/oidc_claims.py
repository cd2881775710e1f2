"""What an identity token must say, once its signature is known to be genuine. Pure.

Answers name the broken rule, never what the token says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from ostinato.errors import PermissionDenied, Unauthenticated

# How far the issuer's clock may be from ours.
LEEWAY = timedelta(seconds=10)

_DEFAULT_PORTS: Mapping[str, int] = MappingProxyType({"https": 443, "http": 80})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OidcRules:
    """Whose tokens count, and whom they must name: e-mails in lower case."""

    issuers: frozenset[str]
    callers: frozenset[str]


def caller_of(claims: Mapping[str, object], rules: OidcRules, *, host: str, now: datetime) -> str:
    """The caller's e-mail in lower case. `host` is the Host of the request.

    Raises Unauthenticated for a token that is not from the issuer, not for this host or not current, PermissionDenied
    where it names nobody who is authorised.
    """
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in rules.issuers:
        raise not_valid("it is from another issuer")
    if not _is_for(claims.get("aud"), host):
        raise not_valid("its audience is another host")
    _require_current(claims, now)
    email = claims.get("email")
    if not isinstance(email, str) or claims.get("email_verified") is not True or email.lower() not in rules.callers:
        raise PermissionDenied("the caller is not authorised")
    return email.lower()


def not_valid(why: str) -> Unauthenticated:
    return Unauthenticated(f"the identity token is not valid: {why}")


def is_audience(audience: str, host: str) -> bool:
    """Whether the URL `audience` is of `host`, in any case; a port that the scheme implies need not be named."""
    try:
        meant, called = urlsplit(audience), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(meant.scheme)
        ports = {default if parts.port is None else parts.port for parts in (meant, called)}
    except ValueError:
        return False
    return default is not None and bool(meant.hostname) and meant.hostname == called.hostname and len(ports) == 1


def _is_for(audience: object, host: str) -> bool:
    audiences = audience if isinstance(audience, list) else [audience]
    return any(isinstance(item, str) and is_audience(item, host) for item in audiences)


def _require_current(claims: Mapping[str, object], now: datetime) -> None:
    seconds = (now - _EPOCH).total_seconds()
    leeway = LEEWAY.total_seconds()
    if _instant(claims, "exp") <= seconds - leeway:
        raise not_valid("it has expired")
    if _instant(claims, "iat") > seconds + leeway or ("nbf" in claims and _instant(claims, "nbf") > seconds + leeway):
        raise not_valid("it is from the future")


def _instant(claims: Mapping[str, object], name: str) -> float:
    """Seconds since 1970. What is no number says nothing about time, and NaN would be neither early nor late."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise not_valid(f"{name} must be a number of seconds since 1970")
    return value
