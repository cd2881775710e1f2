from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.auth.notification_token import (
    NotificationClaims,
    NotificationTokens,
    TokenFault,
    TokenRejected,
    TokenRejection,
)
from ostinato.errors import Unauthenticated

NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
LIFE = timedelta(hours=48)
KEY, OLD_KEY, FOREIGN_KEY = b"k" * 32, b"o" * 32, b"f" * 32
INVOCATION = 9_063_279_517_011_443_680


def issued(keys: list[bytes] | None = None, *, lifetime: timedelta = LIFE) -> str:
    return NotificationTokens(keys or [KEY]).issue(INVOCATION, 7, now=NOW, lifetime=lifetime)


def test_a_token_tells_whose_run_it_is_and_how_long_it_is_good() -> None:
    claims = NotificationTokens([KEY]).verify(issued(), now=NOW + timedelta(hours=1))
    to_the_millisecond = NOW.replace(microsecond=123000)
    assert claims == NotificationClaims(INVOCATION, 7, to_the_millisecond, to_the_millisecond + LIFE)


def test_a_token_fits_a_header_and_needs_no_escaping() -> None:
    assert len(issued()) == 87
    assert issued().replace("-", "a").replace("_", "a").isalnum()


def test_every_configured_key_verifies_and_the_first_one_signs() -> None:
    rotated = NotificationTokens([KEY, OLD_KEY])
    assert rotated.verify(issued([OLD_KEY]), now=NOW).job_id == 7
    assert issued([KEY, OLD_KEY]) == issued([KEY])


@pytest.mark.parametrize(
    ("elapsed", "accepted"),
    [
        pytest.param(LIFE - timedelta(milliseconds=1), True, id="last millisecond"),
        pytest.param(LIFE, False, id="expiry"),
        pytest.param(timedelta(seconds=-30), True, id="verifier 30 s behind"),
        pytest.param(timedelta(seconds=-30, milliseconds=-1), False, id="more than 30 s behind"),
    ],
)
def test_a_token_is_good_from_30_seconds_before_its_issue_until_its_expiry(elapsed: timedelta, accepted: bool) -> None:
    tokens, token = NotificationTokens([KEY]), issued()
    at = NOW.replace(microsecond=123000) + elapsed
    if accepted:
        assert tokens.verify(token, now=at).invocation_id == INVOCATION
        return
    with pytest.raises(Unauthenticated):
        tokens.verify(token, now=at)


def with_first_byte(token: str, byte: int) -> str:
    raw = base64.urlsafe_b64decode(token + "=")
    return base64.urlsafe_b64encode(bytes([byte]) + raw[1:]).rstrip(b"=").decode()


MALFORMED = {
    "empty": "",
    "a word": "token",
    "too short": issued()[:-1],
    "too long": issued() + "A",
    "padded": issued() + "=",
    "signed by a stranger": issued([FOREIGN_KEY]),
    "another version": with_first_byte(issued(), 2),
    "version zero": with_first_byte(issued(), 0),
    "standard alphabet": "+" * 87,
    "not ASCII": "ä" * 87,
    "lone surrogate": "\ud800" * 87,
    "NUL": "\x00" * 87,
    "spaces inside": issued()[:40] + " " + issued()[41:],
    "line break at the end": issued()[:-1] + "\n",
    "spare bits set": issued()[:-1] + chr(ord(issued()[-1]) + 1),
    "huge": "A" * 1_000_000,
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED.keys())
def test_whatever_is_wrong_the_answer_is_the_same(token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        NotificationTokens([KEY]).verify(token, now=NOW)
    assert str(caught.value) == "the notification token is not valid"
    assert caught.value.__cause__ is None


def rejected(token: str, *, at: datetime = NOW, tokens: NotificationTokens | None = None) -> TokenRejected:
    with pytest.raises(TokenRejected) as caught:
        (tokens or NotificationTokens([KEY])).verify(token, now=at)
    return caught.value


@pytest.mark.parametrize(
    ("token", "at", "fault"),
    [
        pytest.param(issued([FOREIGN_KEY]), NOW, TokenFault.WRONG_KEY, id="signed by a stranger"),
        pytest.param(issued()[:-2] + "AA", NOW, TokenFault.WRONG_KEY, id="altered"),
        pytest.param(issued([FOREIGN_KEY]), NOW + LIFE, TokenFault.WRONG_KEY, id="a stranger's that has expired"),
        pytest.param(issued(), NOW + LIFE, TokenFault.EXPIRED, id="expired"),
        pytest.param(issued(), NOW - timedelta(minutes=1), TokenFault.FROM_THE_FUTURE, id="from a clock ahead"),
    ],
)
def test_our_own_side_is_told_what_was_wrong_and_for_which_run(token: str, at: datetime, fault: TokenFault) -> None:
    assert rejected(token, at=at).rejection == TokenRejection(INVOCATION, 7, fault)


def test_a_genuine_token_can_be_rejected_for_the_run_it_is_shown_for() -> None:
    error = NotificationTokens([KEY]).verify(issued(), now=NOW).rejected(TokenFault.OTHER_RUN)
    assert error.rejection == TokenRejection(INVOCATION, 7, TokenFault.OTHER_RUN)
    assert str(error) == str(rejected(""))


@pytest.mark.parametrize("malformed", sorted(MALFORMED.keys() - {"signed by a stranger"}))
def test_of_a_malformed_token_there_is_nothing_to_tell(malformed: str) -> None:
    assert rejected(MALFORMED[malformed]).rejection is None


def test_the_error_shows_neither_the_token_nor_what_it_claims() -> None:
    error = rejected(issued([FOREIGN_KEY]))
    assert repr(error) == "TokenRejected('the notification token is not valid')"


@pytest.mark.parametrize(("keys", "rule"), [([], "at least one"), ([KEY, b"short"], "at least 32 bytes")])
def test_missing_and_weak_keys_are_refused(keys: list[bytes], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        NotificationTokens(keys)


def test_without_keys_the_secret_gives_one() -> None:
    secret = b"s" * 32
    token = NotificationTokens.configured([], secret).issue(INVOCATION, 7, now=NOW, lifetime=LIFE)
    assert NotificationTokens.configured([], secret).verify(token, now=NOW).invocation_id == INVOCATION
    for others in (NotificationTokens.configured([KEY], secret), NotificationTokens.configured([], b"t" * 32)):
        with pytest.raises(Unauthenticated):
            others.verify(token, now=NOW)


@pytest.mark.parametrize(("invocation_id", "job_id"), [(2**63, 7), (INVOCATION, 2**64 - 1)])
def test_ids_that_no_run_can_have_are_refused_even_with_a_good_signature(invocation_id: int, job_id: int) -> None:
    tokens = NotificationTokens([KEY])
    token = tokens.issue(invocation_id, job_id, now=NOW, lifetime=LIFE)
    assert rejected(token, tokens=tokens).rejection is None
