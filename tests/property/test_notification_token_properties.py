from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ostinato.auth.notification_token import NotificationTokens, TokenFault, TokenRejected
from ostinato.errors import Unauthenticated

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOKENS = NotificationTokens([b"k" * 32, b"o" * 32])
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

ids = st.integers(min_value=1, max_value=2**63 - 1)
lifetimes = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=30))


@given(invocation_id=ids, job_id=ids, lifetime=lifetimes)
def test_what_was_issued_is_what_is_read(invocation_id: int, job_id: int, lifetime: timedelta) -> None:
    token = TOKENS.issue(invocation_id, job_id, now=NOW, lifetime=lifetime)
    claims = TOKENS.verify(token, now=NOW)
    assert (claims.invocation_id, claims.job_id) == (invocation_id, job_id)
    assert claims.expires_at - claims.issued_at == timedelta(milliseconds=lifetime // timedelta(milliseconds=1))


@given(position=st.integers(min_value=0, max_value=86), character=st.sampled_from(ALPHABET), invocation_id=ids)
def test_one_altered_character_never_verifies(position: int, character: str, invocation_id: int) -> None:
    token = TOKENS.issue(invocation_id, 7, now=NOW, lifetime=timedelta(hours=48))
    altered = token[:position] + character + token[position + 1 :]
    assume(altered != token)
    with pytest.raises(TokenRejected) as caught:
        TOKENS.verify(altered, now=NOW)
    told = caught.value.rejection
    assert told is None or (told.fault is TokenFault.WRONG_KEY and max(told.invocation_id, told.job_id) < 2**63)


@given(token=st.one_of(st.text(max_size=200), st.text(alphabet=ALPHABET, min_size=87, max_size=87)))
def test_made_up_tokens_never_verify(token: str) -> None:
    with pytest.raises(Unauthenticated):
        TOKENS.verify(token, now=NOW)
