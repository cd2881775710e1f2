"""Ids of invocations: newest first, with the time inside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ostinato.scheduling.invocation_id import created_at_of, id_range, make_invocation_id

AT = datetime.fromtimestamp(1442270520, UTC)
MILLISECOND = timedelta(milliseconds=1)


def test_layout() -> None:
    assert make_invocation_id(AT, 0xABCD) == (8773892902207 << 20) | (0xABCD << 4)


def test_later_is_smaller_and_time_can_be_read_back() -> None:
    assert make_invocation_id(AT + MILLISECOND, 0xFFFF) < make_invocation_id(AT, 0)
    assert created_at_of(make_invocation_id(AT + 7 * MILLISECOND, 0xFFFF)) == AT + 7 * MILLISECOND


def test_a_range_holds_exactly_the_ids_of_its_time() -> None:
    low, high = id_range(AT, AT + 5 * MILLISECOND)
    inside = [make_invocation_id(AT + n * MILLISECOND, bits) for n in range(5) for bits in (0, 0xFFFF)]
    outside = [make_invocation_id(AT + n * MILLISECOND, bits) for n in (-1, 5) for bits in (0, 0xFFFF)]
    assert all(low <= number < high for number in inside)
    assert not any(low <= number < high for number in outside)
