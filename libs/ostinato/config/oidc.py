"""Whose identity tokens are believed where another system calls in: Google's, unless settings name another issuer."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ostinato.config.environment import EnvironmentReader, is_loopback_host

ISSUERS = "OSTINATO_OIDC_ISSUERS"
JWKS_URL = "OSTINATO_OIDC_JWKS_URL"
# Google's tokens have either spelling.
GOOGLE_ISSUERS = ("https://accounts.google.com", "accounts.google.com")
GOOGLE_JWKS_URL = "https://www.googleapis.com/oauth2/v3/certs"


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """`issuers`: what a token may say in `iss`. `jwks_url`: where their signing keys are."""

    issuers: tuple[str, ...] = GOOGLE_ISSUERS
    jwks_url: str = GOOGLE_JWKS_URL


def read_oidc(reader: EnvironmentReader) -> OidcSettings:
    issuers = reader.texts(ISSUERS)
    url = reader.url(JWKS_URL, "", schemes=("https", "http"))
    for name, other in ((ISSUERS, JWKS_URL), (JWKS_URL, ISSUERS)):
        if reader.given(name) and not reader.texts(other):
            reader.refuse(name, f"needs {other} beside it")
    if url and not _is_trustworthy(url):
        reader.refuse(JWKS_URL, "must be https://HOST/…, because whoever alters the keys signs as anybody")
    return OidcSettings(issuers, url) if issuers and url else OidcSettings()


def _is_trustworthy(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return bool(host) if parts.scheme == "https" else is_loopback_host(host)
