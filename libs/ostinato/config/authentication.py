"""Who may call, and the secret that all keys are derived from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from ostinato.config.environment import EnvironmentReader, is_loopback

MIN_SECRET_BYTES = 32
ADMINS = "OSTINATO_ADMINS"
SECRET = "OSTINATO_SECRET"  # noqa: S105 - the variable's name
NOTIFICATION_KEYS = "OSTINATO_NOTIFICATION_KEYS"

# What nobody can be called would let nobody in, and nobody would know why.
_IDENTITY = re.compile(r"[a-z][^:\s]*:\S+")


class AuthMode(StrEnum):
    DEV = "dev"


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """`secret` is empty only in processes that were given their keys one by one."""

    mode: AuthMode
    admins: tuple[str, ...]
    secret: bytes = field(repr=False)


def read_auth(reader: EnvironmentReader, *, secret_required: bool) -> AuthSettings:
    secrets = reader.keys(SECRET, at_least=MIN_SECRET_BYTES)
    if len(secrets) > 1:
        reader.refuse(SECRET, "must be one secret, not a list")
    if secret_required and not reader.given(SECRET):
        reader.refuse(SECRET, f"must be set: at least {MIN_SECRET_BYTES} random bytes in hexadecimal")
    admins = reader.texts(ADMINS)
    if not all(_IDENTITY.fullmatch(admin) for admin in admins):
        reader.refuse(ADMINS, "must be identities such as user:ana@shop.example, separated by commas")
    return AuthSettings(
        mode=reader.choice("OSTINATO_AUTH", AuthMode.DEV),
        admins=admins,
        secret=secrets[0] if secrets else b"",
    )


def read_notification_keys(reader: EnvironmentReader) -> tuple[bytes, ...]:
    """Newest first. Empty: to be derived from the secret."""
    return reader.keys(NOTIFICATION_KEYS, at_least=MIN_SECRET_BYTES)


def require_loopback(reader: EnvironmentReader, auth: AuthSettings, name: str, address: str) -> None:
    """Without an identity provider everybody who can connect is believed."""
    if auth.mode is AuthMode.DEV and not is_loopback(address):
        reader.refuse(name, "must be a loopback address such as 127.0.0.1:PORT while OSTINATO_AUTH is dev")
