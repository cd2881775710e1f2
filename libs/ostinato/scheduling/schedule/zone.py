"""A time zone as schedules need it: stretches of time with one distance from UTC each.

What the wall clock shows twice (a fold) or never (a gap) follows from the stretches alone, so a change by 30 minutes,
or by a whole day, is nothing special. Who reads the files of the zones makes these.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

# Before and after every instant that is asked about.
_FIRST, _LAST = -(1 << 62), 1 << 62


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """All in seconds since 1970-01-01T00:00: of UTC, or as the wall clock shows it.

    Stretch i is [starts[i], starts[i + 1]), there the wall clock shows UTC + offsets[i]. `shown_before[i]`: the latest
    that it showed before; a gap if the stretch begins later, a fold if earlier. `shown_after[i]`: the earliest that it
    will show afterwards. `reached[i]`: `shown_before` of the next one.
    """

    name: str
    starts: tuple[int, ...]
    offsets: tuple[int, ...]
    shown_before: tuple[int, ...]
    shown_after: tuple[int, ...]
    reached: tuple[int, ...]

    @classmethod
    def make(cls, name: str, offset: int, changes: Sequence[tuple[int, int]] = ()) -> Zone:
        """`offset` holds until the first of `changes`, which are instants in order, each with its new offset."""
        starts = (_FIRST, *(at for at, _ in changes))
        offsets = (offset, *(after for _, after in changes))
        begins = [start + of for start, of in zip(starts, offsets, strict=True)]
        ends = [start + of for start, of in zip((*starts[1:], _LAST), offsets, strict=True)]
        reached = tuple(accumulate(ends, max))
        returns = tuple(accumulate(reversed([*begins[1:], _LAST]), min))[::-1]
        return cls(name, starts, offsets, (_FIRST, *reached[:-1]), returns, reached)

    def first_instant(self, wall: int) -> int:
        """The first at which the wall clock shows `wall` or, because a gap leaves it out, more."""
        stretch = bisect_right(self.reached, wall)
        return max(self.starts[stretch], wall - self.offsets[stretch])

    def end_of(self, stretch: int) -> int:
        """The instant at which it ends."""
        return self.starts[stretch + 1] if stretch + 1 < len(self.starts) else _LAST


UTC_ZONE = Zone.make("UTC", 0)
