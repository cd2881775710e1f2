"""The table of an invocation's states."""

from __future__ import annotations

import pytest

from ostinato.scheduling.invocation import TRANSITIONS, InvocationStatus, is_final, is_initial, may_move

S = InvocationStatus
FINAL = {S.SUCCEEDED, S.FAILED, S.ABORTED, S.TIMED_OUT}


def test_the_table_knows_every_status() -> None:
    assert set(TRANSITIONS) == set(InvocationStatus)


@pytest.mark.parametrize("status", InvocationStatus)
def test_final_and_initial(status: InvocationStatus) -> None:
    assert is_final(status) == (status in FINAL)
    assert is_initial(status) == (status in {S.STARTING, S.RETRYING})


@pytest.mark.parametrize("current", sorted(FINAL))
@pytest.mark.parametrize("wanted", InvocationStatus)
def test_final_statuses_absorb(current: InvocationStatus, wanted: InvocationStatus) -> None:
    assert not may_move(current, wanted)


@pytest.mark.parametrize("current", [S.STARTING, S.RETRYING, S.RUNNING])
@pytest.mark.parametrize("wanted", sorted(FINAL))
def test_a_run_may_end_from_wherever_it_is(current: InvocationStatus, wanted: InvocationStatus) -> None:
    assert may_move(current, wanted)


@pytest.mark.parametrize(
    ("current", "wanted", "allowed"),
    [
        (S.STARTING, S.STARTING, True),
        (S.STARTING, S.RETRYING, True),
        (S.STARTING, S.RUNNING, True),
        (S.RETRYING, S.STARTING, False),
        (S.RETRYING, S.RETRYING, True),
        (S.RETRYING, S.RUNNING, True),
        (S.RUNNING, S.STARTING, False),
        (S.RUNNING, S.RETRYING, False),
        (S.RUNNING, S.RUNNING, True),
    ],
)
def test_before_the_end(current: InvocationStatus, wanted: InvocationStatus, allowed: bool) -> None:
    assert may_move(current, wanted) is allowed


def test_numbers_are_those_of_the_public_contract() -> None:
    """They are stored, so they never change."""
    from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation

    published = {name: number for name, number in Invocation.Status.items() if number}
    assert {status.name: status.value for status in InvocationStatus} == published
