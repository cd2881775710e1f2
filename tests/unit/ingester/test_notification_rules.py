from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Struct

from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato_ingester.notification_rules import notification_violations


def broken(request: NotifyRequest) -> list[str]:
    return [str(violation) for violation in notification_violations(request)]


def notification(**fields: object) -> NotifyRequest:
    return NotifyRequest(**({"status": NotifyRequest.SUCCEEDED} | fields))


def struct(**fields: object) -> Struct:
    result = Struct()
    result.update(fields)
    return result


def nested(levels: int) -> Struct:
    value: object = 1
    for _ in range(levels - 1):
        value = {"a": value}
    return struct(a=value)


def nested_in_lists(levels: int) -> Struct:
    value: object = 1
    for _ in range(levels - 1):
        value = [value]
    return struct(a=value)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(notification(), id="only a status"),
        pytest.param(notification(status=NotifyRequest.RUNNING), id="running"),
        pytest.param(notification(status=NotifyRequest.FAILED, error_message="x" * 4096), id="longest error"),
        pytest.param(notification(message_id="é" * 100), id="longest message id"),
        pytest.param(notification(log_lines=[""] * 1000), id="most lines"),
        pytest.param(notification(log_lines=["é" * 2048] * 128), id="most log bytes"),
        pytest.param(notification(result=struct()), id="empty result"),
        pytest.param(notification(result=struct(n=1.5, t="x", b=True, z=None, l=[1, {"a": 2}])), id="all kinds"),
        pytest.param(notification(result=nested(20)), id="deepest result"),
        pytest.param(notification(result=nested_in_lists(20)), id="deepest lists"),
    ],
)
def test_everything_up_to_the_limits_is_fine(request_: NotifyRequest) -> None:
    assert broken(request_) == []


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        pytest.param(NotifyRequest(), "status: must be RUNNING, SUCCEEDED or FAILED", id="no status"),
        pytest.param(notification(status=9), "status: must be RUNNING, SUCCEEDED or FAILED", id="unknown status"),
        pytest.param(notification(message_id="é" * 101), "message_id: must be at most 200 bytes", id="message id"),
        pytest.param(
            notification(error_message="é" * 2049), "error_message: must be at most 4096 bytes", id="error message"
        ),
        pytest.param(notification(log_lines=[""] * 1001), "log_lines: must be at most 1000 lines", id="lines"),
        pytest.param(
            notification(log_lines=["", "é" * 2049]), "log_lines[1]: must be at most 4096 bytes", id="one line"
        ),
        pytest.param(
            notification(log_lines=["x" * 4096] * 128 + ["x"]),
            "log_lines: must be at most 524288 bytes together",
            id="lines together",
        ),
        pytest.param(notification(result=struct(a="x" * 65536)), "result: must be at most 65536 bytes", id="result"),
        pytest.param(notification(result=nested(21)), "result: must not be nested deeper than 20 levels", id="nested"),
        pytest.param(
            notification(result=nested_in_lists(21)), "result: must not be nested deeper than 20 levels", id="lists"
        ),
        pytest.param(
            notification(result=struct(a=[{"b": float("nan")}])), "result: must contain finite numbers only", id="NaN"
        ),
        pytest.param(
            notification(result=struct(a=float("inf"))), "result: must contain finite numbers only", id="infinity"
        ),
    ],
)
def test_a_broken_rule_names_its_field(request_: NotifyRequest, rule: str) -> None:
    assert broken(request_) == [rule]


def test_all_broken_rules_are_told() -> None:
    request = NotifyRequest(message_id="x" * 201, error_message="x" * 4097, log_lines=["x" * 4097, "", "x" * 4097])
    assert [text.partition(":")[0] for text in broken(request)] == [
        "message_id",
        "status",
        "log_lines[0]",
        "log_lines[2]",
        "error_message",
    ]
