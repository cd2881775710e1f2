from __future__ import annotations

import math
from datetime import timedelta

import pytest

from ostinato.errors import InvalidArgument
from ostinato.localcloud.fault_json import parse_faults, show_fault
from ostinato.localcloud.faults import Fault, FaultKind, PlannedFault

GOOD = {"method": "*", "kind": "SLOW"}


def test_a_fault_is_what_its_fields_say() -> None:
    body = {
        "method": "Publish", "kind": "ANSWER_LOST", "code": "INTERNAL", "delay_seconds": 0.5, "rate": 0.25, "skip": 2,
        "times": 3,
    }  # fmt: skip
    fault = Fault("Publish", FaultKind.ANSWER_LOST, "INTERNAL", timedelta(milliseconds=500), 0.25, 2, 3)
    assert parse_faults(body) == [fault]
    assert show_fault(PlannedFault(fault, seen=5, hits=1)) == body | {"seen": 5, "hits": 1}


def test_what_is_absent_has_its_default() -> None:
    assert parse_faults([GOOD, GOOD]) == [Fault("*", FaultKind.SLOW)] * 2


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (7, ["faults[0]"]),
        ([GOOD, None], ["faults[1]"]),
        ({}, ["faults[0].method", "faults[0].kind"]),
        (GOOD | {"method": ""}, ["faults[0].method"]),
        (GOOD | {"kind": ["SLOW"]}, ["faults[0].kind"]),
        (GOOD | {"code": "OK"}, ["faults[0].code"]),
        (GOOD | {"code": {}}, ["faults[0].code"]),
        (GOOD | {"delay_seconds": math.nan}, ["faults[0].delay_seconds"]),
        (GOOD | {"delay_seconds": 86_401}, ["faults[0].delay_seconds"]),
        (GOOD | {"delay_seconds": "1"}, ["faults[0].delay_seconds"]),
        (GOOD | {"rate": 1.5}, ["faults[0].rate"]),
        (GOOD | {"rate": True}, ["faults[0].rate"]),
        (GOOD | {"times": -1}, ["faults[0].times"]),
        (GOOD | {"times": 1.0}, ["faults[0].times"]),
        (GOOD | {"skip": None}, ["faults[0].skip"]),
        (GOOD | {"often": True}, ["faults[0].often"]),
    ],
)
def test_everything_wrong_is_named(body: object, fields: list[str]) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        parse_faults(body)
    assert [violation.path for violation in refusal.value.violations] == fields
