from __future__ import annotations

import pytest

from ostinato.localcloud.cloud_tasks.rate_bucket import RateBucket


def taken(bucket: RateBucket, at: float) -> int:
    count = 0
    while bucket.take(at):
        count += 1
    return count


def test_a_burst_goes_through_and_then_the_rate_rules() -> None:
    bucket = RateBucket(2, 5, at=0)
    assert [taken(bucket, at) for at in (0, 0.4, 0.5, 1.5, 100)] == [5, 0, 1, 2, 5]


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 3, 7, 499.9])
def test_after_the_time_that_was_told_a_token_is_there(rate: float) -> None:
    bucket, at = RateBucket(rate, 1, at=0), 0.0
    for _ in range(1000):
        assert bucket.take(at)
        assert not bucket.take(at)
        at += bucket.seconds_to_next(at)
    assert at == pytest.approx(1000 / rate)


def test_there_is_nothing_to_wait_for_while_tokens_are_left() -> None:
    assert RateBucket(1, 2, at=0).seconds_to_next(0) == 0


def test_what_was_saved_beyond_a_smaller_bucket_is_lost() -> None:
    bucket = RateBucket(10, 100, at=0)
    bucket.reshape(1, 3, at=1)
    assert [taken(bucket, at) for at in (1, 2)] == [3, 1]


def test_time_that_goes_back_gives_nothing() -> None:
    bucket = RateBucket(1, 1, at=10)
    assert taken(bucket, 10) == 1
    assert taken(bucket, 5) == 0
    assert taken(bucket, 10.5) == 0
    assert taken(bucket, 11) == 1
