"""Who may everything. Without a setting, in dev mode, it is the default user alone."""

from __future__ import annotations

from ostinato.auth.identity import DEV_DEFAULT_USER, Identity
from ostinato.config.authentication import AuthMode, AuthSettings


def administrators_of(settings: AuthSettings) -> frozenset[Identity]:
    if settings.admins:
        return frozenset(Identity(admin) for admin in settings.admins)
    return frozenset({DEV_DEFAULT_USER}) if settings.mode is AuthMode.DEV else frozenset()
