from __future__ import annotations

import pytest

from ostinato.config.environment import EnvironmentReader, InvalidSettings
from ostinato.config.oidc import OidcSettings, read_oidc

ISSUER, KEYS = "https://issuer.example", "https://issuer.example/keys"


def read(**environ: str) -> OidcSettings:
    reader = EnvironmentReader({f"OSTINATO_OIDC_{name}": value for name, value in environ.items()})
    settings = read_oidc(reader)
    reader.finish()
    return settings


def test_tokens_are_googles_unless_somebody_else_is_named() -> None:
    assert "https://accounts.google.com" in read().issuers
    assert read().jwks_url.startswith("https://www.googleapis.com/")
    assert read(ISSUERS=f"{ISSUER}, issuer.example", JWKS_URL=KEYS) == OidcSettings((ISSUER, "issuer.example"), KEYS)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"ISSUERS": ISSUER}, "OSTINATO_OIDC_ISSUERS: needs OSTINATO_OIDC_JWKS_URL beside it"),
        ({"JWKS_URL": KEYS}, "OSTINATO_OIDC_JWKS_URL: needs OSTINATO_OIDC_ISSUERS beside it"),
        ({"ISSUERS": ISSUER, "JWKS_URL": "http://issuer.example/keys"}, "OSTINATO_OIDC_JWKS_URL: must be https"),
        ({"ISSUERS": ISSUER, "JWKS_URL": "https:///keys"}, "OSTINATO_OIDC_JWKS_URL: must be https"),
        ({"ISSUERS": ISSUER, "JWKS_URL": "keys"}, "OSTINATO_OIDC_JWKS_URL: must be a URL"),
    ],
)
def test_what_could_not_work_or_be_trusted_is_refused(environ: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidSettings, match=named):
        read(**environ)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/jwks", "http://[::1]:9000/jwks", "http://localhost/jwks"])
def test_keys_on_this_machine_need_no_https(url: str) -> None:
    assert read(ISSUERS=ISSUER, JWKS_URL=url).jwks_url == url
