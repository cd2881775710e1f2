"""The same slots as another cron library finds, where both read an expression alike.

They do for five fields in UTC, except that cronsim counts `*/n` in a day field as unrestricted and has no `nW`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.scheduling.schedule import parse_schedule

MONTHS = ["jan", "FEB", "mar", "APR", "may", "jun", "jul", "aug", "sep", "oct", "nov", "DEC"]


def fields(low: int, high: int, *more: str) -> st.SearchStrategy[str]:
    values = st.integers(low, high)
    ranges = st.tuples(values, values).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    # There a step in a range of one value goes on to the end of the field.
    wide = ranges.filter(lambda text: len(set(text.split("-"))) == 2)
    stepped = wide.flatmap(lambda text: st.integers(1, high - low).map(lambda step: f"{text}/{step}"))
    items = st.one_of(values.map(str), ranges, stepped, *map(st.just, more))
    return st.one_of(st.just("*"), st.lists(items, min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(
    st.one_of(fields(0, 59), st.integers(1, 59).map(lambda step: f"*/{step}")),
    st.one_of(fields(0, 23), st.integers(1, 23).map(lambda step: f"*/{step}")),
    fields(1, 28, "29", "30", "31", "L", "LW"),
    fields(1, 12, *MONTHS),
    fields(0, 7, "sun", "WED", "SAT", "1L", "5L", "0#1", "3#2", "FRI#5"),
).map(" ".join)


@given(EXPRESSIONS, st.datetimes(datetime(1975, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC)))
@settings(max_examples=100)
def test_cronsim_finds_the_same_slots(expression: str, after: datetime) -> None:
    schedule = parse_schedule(expression)
    try:
        theirs = CronSim(expression, after)
    except CronSimError:  # how it says that no month is long enough
        assert schedule.next_after(after) is None
        return
    for expected in islice(theirs, 5):
        found = schedule.next_after(after)
        assert found == expected
        after = expected
