"""A log that is written to and cut again and again keeps its promises."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ostinato.scheduling.log_cut import (
    CUT_LOG_BYTES,
    CUT_MARKER,
    LAST_LINES_KEPT,
    MAX_LOG_BYTES,
    LogRow,
    decide_cut,
)

MARKER = -1


@dataclass(frozen=True)
class Line:
    """The `number`th line that was ever written."""

    number: int
    size: int

    @property
    def row(self) -> LogRow:
        return LogRow(self.size, self.number == MARKER)


def cut(log: list[Line]) -> list[Line]:
    """As the store does it."""
    found = decide_cut([line.row for line in log])
    if found is None:
        return log
    first, last = found
    assert first < last, "a cut removes something"
    return [*log[:first], Line(MARKER, len(CUT_MARKER) + 1), *log[last:]]


def size_of(log: list[Line]) -> int:
    return sum(line.size for line in log)


sizes = st.one_of(st.integers(1, 200), st.integers(1000, 4097), st.sampled_from([1, 60_000, 150_000, 199_000, 250_000]))
saves = st.lists(st.tuples(sizes, st.integers(1, 600)), min_size=1, max_size=12)


@given(saves)
def test_a_log_keeps_its_bound_its_beginning_and_its_end(written: list[tuple[int, int]]) -> None:
    log: list[Line] = []
    number = 0
    for size, count in written:
        log += [Line(number + index, size) for index in range(count)]
        number += count
        before, log = log, cut(log)
        numbers = [line.number for line in log]
        assert size_of(log) <= MAX_LOG_BYTES
        assert numbers.count(MARKER) <= 1
        if MARKER not in numbers:
            assert numbers == list(range(number)), "nothing goes before the limit is reached"
            continue
        at = numbers.index(MARKER)
        head, tail = numbers[:at], numbers[at + 1 :]
        assert head == list(range(len(head)))
        assert tail == list(range(number - len(tail), number))
        if log != before:
            assert size_of(log) <= CUT_LOG_BYTES
            kept_if_they_fit = before[-LAST_LINES_KEPT:]
            if (
                MARKER not in [line.number for line in kept_if_they_fit]
                and size_of(kept_if_they_fit) <= CUT_LOG_BYTES // 2
            ):
                assert len(tail) == LAST_LINES_KEPT


@given(saves)
def test_what_was_cut_is_not_cut_again(written: list[tuple[int, int]]) -> None:
    log = cut([Line(index, size) for index, size in enumerate(size for size, count in written for _ in range(count))])
    assert cut(log) == log
