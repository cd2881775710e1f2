"""Faults as JSON, for tests that plan them from another process. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from google.rpc import code_pb2

from ostinato.errors import InvalidArgument, Violation
from ostinato.localcloud.faults import Fault, FaultKind, PlannedFault

_FIELDS = ("method", "kind", "code", "delay_seconds", "rate", "skip", "times")
_CODES = tuple(name for name in code_pb2.Code.keys() if name != "OK")  # noqa: SIM118 - an enum, not a dict
_LONGEST_DELAY = 86_400


def parse_faults(body: object) -> list[Fault]:
    """A list of objects, or one. Raises InvalidArgument with all that is wrong."""
    items = body if isinstance(body, list) else [body]
    violations = [violation for index, item in enumerate(items) for violation in _violations(f"faults[{index}]", item)]
    if violations:
        raise InvalidArgument(violations)
    return [_fault(item) for item in items if isinstance(item, dict)]


def show_fault(planned: PlannedFault) -> dict[str, object]:
    fault = planned.fault
    return {
        "method": fault.method,
        "kind": fault.kind.value,
        "code": fault.code,
        "delay_seconds": fault.delay.total_seconds(),
        "rate": fault.rate,
        "skip": fault.skip,
        "times": fault.times,
        "seen": planned.seen,
        "hits": planned.hits,
    }


def _fault(item: Mapping[str, object]) -> Fault:
    """`item` was found right."""
    defaults = Fault("", FaultKind.SLOW)
    times = item.get("times")
    return Fault(
        method=str(item["method"]),
        kind=FaultKind(str(item["kind"])),
        code=str(item.get("code", defaults.code)),
        delay=timedelta(seconds=float(str(item.get("delay_seconds", 0)))),
        rate=float(str(item.get("rate", defaults.rate))),
        skip=int(str(item.get("skip", defaults.skip))),
        times=None if times is None else int(str(times)),
    )


def _violations(path: str, item: object) -> Iterator[Violation]:
    if not isinstance(item, dict):
        yield Violation(path, "must be an object")
        return
    for name in item.keys() - set(_FIELDS):
        yield Violation(f"{path}.{name}", f"is unknown, known are {', '.join(_FIELDS)}")
    if not isinstance(item.get("method"), str) or not item["method"]:
        yield Violation(f"{path}.method", "must be the short name of a method or delivery, or *")
    if item.get("kind") not in list(FaultKind):
        yield Violation(f"{path}.kind", f"must be one of {', '.join(FaultKind)}")
    if item.get("code", "UNAVAILABLE") not in _CODES:
        yield Violation(f"{path}.code", "must be the name of a gRPC status, such as UNAVAILABLE")
    yield from _number_violations(path, item)


def _number_violations(path: str, item: Mapping[str, object]) -> Iterator[Violation]:
    if not _is_number(item.get("delay_seconds", 0), most=_LONGEST_DELAY):
        yield Violation(f"{path}.delay_seconds", f"must be a number from 0 to {_LONGEST_DELAY}")
    if not _is_number(item.get("rate", 1), most=1):
        yield Violation(f"{path}.rate", "must be a number from 0 to 1")
    for name in ("skip", "times"):
        value = item.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            yield Violation(f"{path}.{name}", "must be a whole number, not negative")
    if "skip" in item and item["skip"] is None:
        yield Violation(f"{path}.skip", "must be a whole number, not negative")


def _is_number(value: object, *, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
