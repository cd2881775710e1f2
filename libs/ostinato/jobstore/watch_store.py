"""What has happened to many watched invocations since each was looked at last: two statements for all of them.

A save moves an invocation's version and writes its log lines in one commit, so an unchanged version has no news. What
lies in the history has one version for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ostinato.jobstore.invocation_listing_store import INPUT_COLUMNS, STATE_COLUMNS
from ostinato.jobstore.log_listing_store import BEFORE_ALL, ListedLine, LogPosition
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row

MAX_LINES = 500
MAX_LINE_BYTES = 64 * 1024  # the line that crosses it still comes
_UNSEEN = 0
_IN_HISTORY = -1


@dataclass(frozen=True, slots=True)
class WatchPlace:
    """How much of an invocation somebody has seen. `hungry`: there were more lines than fitted."""

    invocation_id: InvocationId
    version: int = _UNSEEN
    position: LogPosition = BEFORE_ALL
    hungry: bool = False

    @property
    def is_eager(self) -> bool:
        """There is something to read for sure."""
        return self.hungry or self.version == _UNSEEN


@dataclass(slots=True)
class WatchNews:
    """What is new at a place. `row` is for `listed_from_row`, None where only lines are new. `gone`: it is nowhere."""

    place: WatchPlace
    row: Row | None = None
    gone: bool = False
    lines: list[ListedLine] = field(default_factory=list)
    more_lines: bool = False

    @property
    def next_place(self) -> WatchPlace:
        """Of whoever has seen this."""
        return WatchPlace(
            self.place.invocation_id,
            self.place.version if self.row is None else self.row["version"],
            self.lines[-1].position if self.lines else self.place.position,
            self.more_lines,
        )


# `n` is the place's number. Values stored apart are read for what has changed only.
_CHANGED = f"""
with heads as materialized (
    select w.n, w.id, s.*
      from unnest($1::bigint[], $2::int[]) with ordinality as w(id, version, n)
      left join lateral (
          select version, {STATE_COLUMNS} from invocation where invocation_id = w.id
          union all
          select {_IN_HISTORY} as version, {STATE_COLUMNS} from invocation_history where invocation_id = w.id
      ) s on true
     where s.version is distinct from w.version
)
select h.*, {INPUT_COLUMNS}
  from heads h
  left join lateral (select * from invocation_input i where i.invocation_id = h.id offset 0) n on true
"""

# What a page leaves out is counted, not sent: `found` of them there are, up to one beyond a page.
_LINES = f"""
select w.n, l.version, l.line_no, l.at, l.line, l.found
  from unnest($1::bigint[], $2::int[], $3::smallint[]) with ordinality as w(id, version, line_no, n)
 cross join lateral (
     select p.*, count(*) over () as found, row_number() over w as place,
            sum(octet_length(p.line)) over w - octet_length(p.line) as bytes_before
       from (select i.version, i.line_no, i.at, i.line
               from invocation_log i
              where i.invocation_id = w.id and (i.version, i.line_no) > (w.version, w.line_no)
              order by i.version, i.line_no
              limit {MAX_LINES + 1}) p
     window w as (order by p.version, p.line_no)
 ) l
 where l.place <= {MAX_LINES} and l.bytes_before <= {MAX_LINE_BYTES}
 order by w.n, l.version, l.line_no
"""


async def load_news(reader: Reader, places: Sequence[WatchPlace]) -> list[WatchNews]:
    """Of the places where there is something new, in no order."""
    found = await reader.fetch(_CHANGED, [place.invocation_id for place in places], [place.version for place in places])
    changed = {places[row["n"] - 1]: row for row in found}
    news = [_news_of(place, changed) for place in places if place.is_eager or place in changed]
    await _add_lines(reader, [each for each in news if not each.gone])
    return news


def _news_of(place: WatchPlace, changed: Mapping[WatchPlace, Row]) -> WatchNews:
    row = changed.get(place)
    # Its input may be gone first: the partitions of a week are dropped table by table.
    is_gone = row is not None and (row["version"] is None or row["job_name"] is None)
    return WatchNews(place, gone=True) if is_gone else WatchNews(place, row)


async def _add_lines(reader: Reader, news: Collection[WatchNews]) -> None:
    if not news:
        return
    ordered = list(news)
    rows = await reader.fetch(
        _LINES,
        [each.place.invocation_id for each in ordered],
        [each.place.position[0] for each in ordered],
        [each.place.position[1] for each in ordered],
    )
    for row in rows:
        each = ordered[row["n"] - 1]
        each.lines.append(ListedLine((row["version"], row["line_no"]), row["at"], row["line"]))
        each.more_lines = len(each.lines) < row["found"]
