"""What is told of a caller that left before its answer."""

from __future__ import annotations

import logging

import pytest

from ostinato.rpc.unsent_answers import tell_unsent_answers

GRPC = logging.getLogger("grpc._cython.cygrpc")


def test_a_caller_that_left_before_its_answer_is_one_line_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    tell_unsent_answers()
    tell_unsent_answers()
    GRPC.error(
        "ExecuteBatchError raised in core by servicer method [%s]", "/a.B/C", exc_info=RuntimeError("execute_batch")
    )
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), record.exc_info) == (
        "INFO",
        "an answer was not sent, its caller is gone: [/a.B/C]",
        None,
    )


def test_other_errors_of_grpc_stay_errors(caplog: pytest.LogCaptureFixture) -> None:
    tell_unsent_answers()
    GRPC.error("Unexpected [%s] raised by servicer method", "ValueError")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
