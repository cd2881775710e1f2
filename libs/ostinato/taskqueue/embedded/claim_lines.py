"""Which lines of tasks to claim from next, where to start in each, and how many to take. Pure.

A line's `low` skips what was claimed before, so that dead rows behind it are not read again. It is only a hint: a
transaction that committed late, or a freed task, may lie behind it. Three tiers find those: 50 ms always, 5 s every
250 ms while there is work (and in every idle poll), everything every 15 s. Each line has its own, because a claim looks
at some only: the queue of another may have no room, its lane may wait, it may have seemed empty.

The shared line of the usual priority is always looked at, the others while they may hold work: after a hint, or when a
look at the table's strands found them, until a claim leaves room in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from ostinato.taskqueue.embedded.fair_share import BEGINNING, Line, catch_up, share_out
from ostinato.taskqueue.embedded.pace import NORMAL
from ostinato.taskqueue.embedded.strand import SHARED, lane_of, queue_of, strand_of, strands_of, subqueue_of

_NEAR = timedelta(milliseconds=50)
_LATE_COMMITS = timedelta(seconds=5)
_LATE_COMMITS_EVERY = 0.25
_strand, _ready_at = itemgetter(0), itemgetter(1)


class Window(NamedTuple):
    """Claim at most `quota` tasks of `strand`, from `low` on."""

    strand: int
    low: datetime
    quota: int


class Moment(NamedTuple):
    """When a round of claims is sent: by the database's clock, and by one that spaces the tiers. `idle`: at rest."""

    db_now: datetime
    monotonic: float
    idle: bool = False


class ClaimLines:
    """The lines of the queues that a process serves."""

    def __init__(self, queue_ids: Sequence[int], *, rescue_every: float = NORMAL.rescue_every) -> None:
        self._queues: dict[int, dict[int, Line]] = {
            queue: {strand_of(queue): Line(strand_of(queue), live=True)} for queue in queue_ids
        }
        self._rescue_every = rescue_every
        self._rewound = False  # since the claims under way were sent

    # -- what may hold work -------------------------------------------------------------------------------------

    def mark(self, strands: Iterable[int]) -> None:
        """These may hold work. Strands of other processes' queues are passed over."""
        for strand in strands:
            lines = self._queues.get(queue_of(strand))
            if lines is not None:
                self._revive(lines, strand)

    def _revive(self, lines: dict[int, Line], strand: int) -> None:
        line = lines.setdefault(strand, Line(strand))
        line.empty = False
        if not line.live:
            line.live = True
            catch_up(line, _lane(lines, strand))

    def live(self, queue: int) -> list[int]:
        return [strand for strand, line in self._queues[queue].items() if line.live]

    def shared(self, queue: int) -> list[tuple[int, datetime]]:
        """Everybody's lines, of each urgency that may hold work: (strand, where its next claim starts to look)."""
        lines = self._queues[queue].values()
        return [(line.strand, line.low) for line in lines if line.live and subqueue_of(line.strand) == SHARED]

    def unseen(self) -> list[tuple[int, int]]:
        """Ranges of the strands that are not looked at."""
        ranges: list[tuple[int, int]] = []
        for queue in self._queues:
            first, last = strands_of(queue)
            for strand in sorted(self.live(queue)):
                if first < strand:
                    ranges.append((first, strand - 1))
                first = strand + 1
            if first <= last:
                ranges.append((first, last))
        return ranges

    def rewind(self) -> None:
        """Look at all of each line next time."""
        self._rewound = True
        for lines in self._queues.values():
            for line in lines.values():
                line.rescued_at = float("-inf")

    # -- one claim ----------------------------------------------------------------------------------------------

    def windows(self, queue: int, room: int, moment: Moment) -> list[Window]:
        """In the order of the claim: the most urgent lane first, up to one that several lines share.

        Less urgent lanes than that wait for a claim that leaves room in it.
        """
        self._rewound = False
        found: list[Window] = []
        lines = sorted((line for line in self._queues[queue].values() if line.live), key=lambda line: line.strand)
        for _, lane in groupby(lines, key=lambda line: lane_of(line.strand)):
            shares = share_out(lane, room)
            found += [Window(line.strand, self._low(line, moment), quota) for line, quota in shares]
            if len(shares) > 1:
                break
        return found

    def _low(self, line: Line, moment: Moment) -> datetime:
        if moment.monotonic - line.rescued_at >= self._rescue_every:
            return BEGINNING
        if moment.idle or moment.monotonic - line.looked_back_at >= _LATE_COMMITS_EVERY:
            return min(line.low, moment.db_now - _LATE_COMMITS)
        return line.low

    def note(
        self, windows: Sequence[Window], taken: Sequence[tuple[int, datetime]], *, room: int, moment: Moment
    ) -> bool:
        """Learns from a claim of at most `room` tasks, `taken`: (strand, ready time). True: there may be more."""
        last = dict(sorted(taken, key=_ready_at)) if taken else {}
        counts = Counter(map(_strand, taken))
        is_full = len(taken) >= room
        drained: list[Line] = []
        for window in windows:
            count = counts[window.strand]
            line = self._queues[queue_of(window.strand)][window.strand]
            line.served(count)
            line.empty = line.empty and not count
            if count and (is_full or count >= window.quota):
                line.low = last[window.strand]
            elif not is_full:
                drained.append(line)
        self._note_looks(_reached(windows, counts) if is_full else windows, moment)
        self._note_drained(drained, moment.db_now)
        return is_full or any(counts[window.strand] >= window.quota for window in windows) or self._left_out(windows)

    def _left_out(self, windows: Sequence[Window]) -> bool:
        claimed = {window.strand for window in windows}
        queues = {queue_of(strand) for strand in claimed}
        return any(not claimed.issuperset(self.live(queue)) for queue in queues)

    def _note_looks(self, windows: Sequence[Window], moment: Moment) -> None:
        for window in windows:
            line = self._queues[queue_of(window.strand)][window.strand]
            if window.low <= moment.db_now - _LATE_COMMITS:
                line.looked_back_at = moment.monotonic
            if window.low <= BEGINNING and not self._rewound:
                line.rescued_at = moment.monotonic

    def _note_drained(self, drained: Sequence[Line], sent_at: datetime) -> None:
        """Whatever commits from now on is newer than `sent_at` less 50 ms."""
        for line in drained:
            line.low = max(line.low, sent_at - _NEAR)
            line.live, line.empty = False, True
        for line in drained:
            lines = self._queues[queue_of(line.strand)]
            catch_up(line, _lane(lines, line.strand))
        for line in drained:
            line.live = line.strand == strand_of(queue_of(line.strand))


def _lane(lines: dict[int, Line], strand: int) -> list[Line]:
    return [line for line in lines.values() if lane_of(line.strand) == lane_of(strand)]


def _reached(windows: Sequence[Window], counts: Counter[int]) -> Sequence[Window]:
    """A claim that is full has not looked at the windows behind the last one that it took from."""
    last = max((n for n, window in enumerate(windows) if counts[window.strand]), default=-1)
    return windows[: last + 1]
