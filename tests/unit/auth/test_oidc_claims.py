from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.auth.oidc_claims import LEEWAY, OidcRules, caller_of, is_audience
from ostinato.errors import CallerError, PermissionDenied, Unauthenticated

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOST = "ingester.example"
CALLER = "pusher@shop.example"
RULES = OidcRules(issuers=frozenset({"https://issuer.example"}), callers=frozenset({CALLER}))
GOOD: dict[str, object] = {
    "iss": "https://issuer.example",
    "aud": f"https://{HOST}/pubsub/push",
    "email": CALLER,
    "email_verified": True,
    "iat": int(NOW.timestamp()) - 60,
    "exp": int(NOW.timestamp()) + 3540,
}


def refused(**changes: object) -> CallerError:
    claims = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    with pytest.raises(CallerError) as caught:
        caller_of(claims, RULES, host=HOST, now=NOW)
    return caught.value


def accepted(**changes: object) -> str:
    return caller_of(GOOD | changes, RULES, host=HOST, now=NOW)


def at(moment: datetime) -> float:
    return moment.timestamp()


def test_a_good_token_tells_the_caller() -> None:
    assert accepted() == CALLER
    assert accepted(email="Pusher@Shop.EXAMPLE") == CALLER


@pytest.mark.parametrize(
    "issuer", [..., None, "", "https://issuer.example/", "https://other.example", 7, ["https://issuer.example"], {}]
)
def test_another_issuer_is_refused(issuer: object) -> None:
    assert isinstance(refused(iss=issuer), Unauthenticated)


@pytest.mark.parametrize(
    "audience", [..., None, "", HOST, "https://", [], ["https://other.example"], {"a": 1}, 7, "https://other.example/x"]
)
def test_another_audience_is_refused(audience: object) -> None:
    assert isinstance(refused(aud=audience), Unauthenticated)


def test_one_of_several_audiences_is_enough() -> None:
    assert accepted(aud=["https://other.example", f"https://{HOST}"]) == CALLER


def test_a_token_is_good_for_a_little_longer_than_it_says() -> None:
    assert accepted(exp=at(NOW - LEEWAY + timedelta(seconds=1))) == CALLER
    assert isinstance(refused(exp=at(NOW - LEEWAY)), Unauthenticated)


def test_a_token_from_a_clock_a_little_ahead_is_good() -> None:
    assert accepted(iat=at(NOW + LEEWAY), nbf=at(NOW + LEEWAY)) == CALLER
    assert isinstance(refused(iat=at(NOW + LEEWAY) + 1), Unauthenticated)
    assert isinstance(refused(nbf=at(NOW + LEEWAY) + 1), Unauthenticated)


@pytest.mark.parametrize("value", [..., None, "1893456000", True, float("nan"), float("inf"), 10**400, -(10**400), []])
def test_an_expiry_that_is_no_time_is_refused(value: object) -> None:
    assert isinstance(refused(exp=value), Unauthenticated)


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_other_times_must_be_times_too(name: str) -> None:
    assert isinstance(refused(**{name: "soon"}), Unauthenticated)


@pytest.mark.parametrize(
    "changes",
    [
        {"email": ...},
        {"email": None},
        {"email": ["pusher@shop.example"]},
        {"email": "stranger@shop.example"},
        {"email": f"{CALLER} "},
        {"email_verified": ...},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": 1},
    ],
)
def test_whoever_is_not_authorised_is_denied(changes: dict[str, object]) -> None:
    assert isinstance(refused(**changes), PermissionDenied)


def test_an_answer_says_nothing_that_stands_in_the_token() -> None:
    planted = {"iss": "https://secret.example", "aud": "https://secret.example", "email": "secret@shop.example"}
    for name, value in planted.items():
        assert "secret" not in str(refused(**{name: value}))


@pytest.mark.parametrize(
    ("audience", "host"),
    [
        ("https://a.example", "a.example"),
        ("https://A.Example/path?query", "a.eXample"),
        ("https://a.example:443/", "a.example"),
        ("https://a.example", "a.example:443"),
        ("http://a.example", "a.example:80"),
        ("http://127.0.0.1:7082/x", "127.0.0.1:7082"),
        ("http://[::1]:7082/x", "[::1]:7082"),
    ],
)
def test_an_audience_is_of_its_host(audience: str, host: str) -> None:
    assert is_audience(audience, host)


@pytest.mark.parametrize(
    ("audience", "host"),
    [
        ("https://a.example", "b.example"),
        ("https://a.example", "a.example:80"),
        ("http://a.example", "a.example:443"),
        ("https://a.example:8443", "a.example"),
        ("https://a.example:0", "a.example"),
        ("https://a.example.evil.example", "a.example"),
        ("https://evil.example/https://a.example", "a.example"),
        ("a.example", "a.example"),
        ("//a.example", "a.example"),
        ("ftp://a.example", "a.example"),
        ("https://", ""),
        ("https:///x", ""),
        ("https://[::1", "[::1"),
        ("https://a.example:x", "a.example"),
        ("https://a.example", "a.example:99999"),
    ],
)
def test_an_audience_is_of_no_other_host(audience: str, host: str) -> None:
    assert not is_audience(audience, host)
