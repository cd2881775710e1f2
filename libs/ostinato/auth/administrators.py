"""Who may everything: those named in the settings, and in dev mode the default user as well."""

from __future__ import annotations

from ostinato.auth.identity import DEV_DEFAULT_USER, Identity
from ostinato.config.authentication import AuthMode, AuthSettings


def administrators_of(settings: AuthSettings) -> frozenset[Identity]:
    named = frozenset(map(Identity, settings.admins))
    return named | {DEV_DEFAULT_USER} if settings.mode is AuthMode.DEV else named
