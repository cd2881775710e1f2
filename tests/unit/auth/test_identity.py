"""Identities and how dev mode finds one."""

from __future__ import annotations

import pytest

from ostinato.auth.identity import DEV_DEFAULT_USER, dev_identity, parse_identity
from ostinato.errors import Unauthenticated


@pytest.mark.parametrize("text", ["user:ana@shop.example", "service:billing", "a:b", "user:" + "x" * 195, "user:é"])
def test_an_identity_is_a_kind_and_a_value(text: str) -> None:
    assert parse_identity(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "ana", ":ana", "user:", "User:ana", "user:a b", "user:a\n", "user:a\x00", "user:" + "x" * 196, " user:a"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="KIND:VALUE"):
        parse_identity(text)


def test_whoever_says_nothing_in_dev_mode_is_the_default_user() -> None:
    assert dev_identity([]) == DEV_DEFAULT_USER


def test_whoever_names_itself_in_dev_mode_is_believed() -> None:
    assert dev_identity(["user:ana@shop.example"]) == "user:ana@shop.example"


@pytest.mark.parametrize("claims", [["ana"], ["user:a", "user:a"], [b"user:a"], [""]])
def test_a_malformed_claim_is_nobody(claims: list[str | bytes]) -> None:
    with pytest.raises(Unauthenticated, match="x-ostinato-user"):
        dev_identity(claims)
