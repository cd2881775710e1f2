"""What holds in every committed state of a scheduler's database, whatever ran, crashed or stands still at the moment.

Likewise of the reminders of tasks that wait in a remote queue: each will be taken by a sweep, at a time that is near.

`find_violations` reads one snapshot and returns a sentence for each thing that is as no commit may leave it: work
that nothing will carry on, slots with more or less than one outcome, more runs than allowed. Each rule follows from
how transactions are made: a state and the task that carries on from it commit together. So a test may stop
anywhere; only one that damages rows by hand, or takes work away from the queue, leaves something to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TypeAlias

import asyncpg

from ostinato.taskqueue.sweeping.partition import Partition, parse_partition
from ostinato.testing.standstill import find_standstill

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_HAS_SCHEDULER = "select to_regclass('invocation') is not null"

# The numbers of final statuses, and of the outcomes that name an invocation, are those of their enums.
_STORED_CONTRADICTIONS = """
select format('invocation %s is active and in the history', i.invocation_id)
  from invocation i join invocation_history h using (invocation_id)
union all
select format('invocation %s has no input', i.invocation_id)
  from invocation i left join invocation_input n using (invocation_id)
 where n.invocation_id is null
union all
select format('invocation %s has no job', i.invocation_id)
  from invocation i left join job j using (job_id)
 where j.job_id is null
union all
select format('invocation %s has status %s and %s end', i.invocation_id, i.status,
              case when i.finished_at is null then 'no' else 'an' end)
  from invocation i
 where (i.status >= 4) <> (i.finished_at is not null)
union all
select format('invocation %s is running but never started', i.invocation_id)
  from invocation i
 where i.status = 3 and i.started_at is null
union all
select format('task %s is claimed by worker %s, which has no lease', r.id, r.claimed_by)
  from tq_ready r left join tq_worker w on w.worker_id = r.claimed_by
 where r.claimed_by <> 0 and w.worker_id is null
union all
select format('task %s is %s times in the queue', t.id, count(*))
  from (select id from tq_ready union all select id from tq_later union all select id from tq_dead) t
 group by t.id having count(*) > 1
union all
select format('name %s of queue %s is taken by task %s, which is gone', n.name_hash, n.queue_id, n.task_id)
  from tq_name n
 where n.expires_at = 'infinity'
   and not exists (select from tq_ready r where r.id = n.task_id)
   and not exists (select from tq_later l where l.id = n.task_id)
union all
select format('timer %s outlived invocation %s', t.timer_id, t.invocation_id)
  from invocation_timer t left join invocation i using (invocation_id)
 where i.invocation_id is null or i.finished_at is not null
union all
select format('the schedule of job %s is due at %s, its slot is %s', c.job_id, c.due_at, c.slot)
  from job_cron c
 where (c.due_at is null) <> (c.slot is null or exists (select from job j where j.job_id = c.job_id and j.paused))
    or c.due_at < c.slot or not c.enabled and c.slot is not null
"""

_TIMERS_WITHOUT_A_TASK = """
select format('timer %s of invocation %s has no task', t.timer_id, t.invocation_id)
  from invocation_timer t
 where not exists (select from tq_ready r where r.id = t.task_id)
   and not exists (select from tq_later l where l.id = t.task_id)
"""

_LEDGER_CONTRADICTIONS = """
select format('slot %s of job %s has an outcome and a pending trigger', o.slot, o.job_id)
  from occurrence o join trigger t on t.job_id = o.job_id and t.slot = o.slot and t.consumed_at is null
 where o.fold_tag = 0
union all
select format('slot %s of job %s lies in the range that was skipped from %s on', o.slot, o.job_id, s.slot)
  from occurrence s
  join occurrence o on o.job_id = s.job_id and o.slot > s.slot and o.slot < s.until_slot
   and o.fold_tag = 0 -- a time that a gap of the clock left out is none of the range
 where s.until_slot is not null
union all
select format('slot %s of job %s has outcome %s and invocation %s', o.slot, o.job_id, o.outcome,
              coalesce(o.invocation_id::text, 'none'))
  from occurrence o
 where (o.outcome in (1, 2)) <> (o.invocation_id is not null)
union all
select format('slot %s of job %s is said to be in invocation %s, which does not exist', o.slot, o.job_id,
              o.invocation_id)
  from occurrence o
 where o.invocation_id is not null
   and not exists (select from invocation_input n where n.invocation_id = o.invocation_id)
   -- Ids fall with time: above the largest one that is left lies what has expired.
   and o.invocation_id <= (select max(invocation_id) from invocation_input)
union all
select format('invocation %s was started by slot %s of job %s, whose outcome is %s', i.invocation_id, i.scheduled_for,
              i.job_id, coalesce(o.outcome::text || ' of invocation ' || coalesce(o.invocation_id::text, 'none'),
                                 'missing'))
  from invocation i
  left join occurrence o on o.job_id = i.job_id and o.slot = i.scheduled_for
 where i.scheduled_for is not null and i.retry_of is null
   and not exists (select from occurrence e
                    where e.job_id = i.job_id and e.slot = i.scheduled_for and e.outcome = 1
                      and e.invocation_id = i.invocation_id)
"""


# A reminder is the business of whoever wrote it for a minute, or waits ten minutes at most after a refusal; then it is
# due, and sweeps take what is due.
_REMINDER_CONTRADICTIONS = """
select format('reminder %s is fresh until %s, no later than in a minute was expected', r.id, r.fresh_until)
  from tq_reminder r
 where r.fresh_until > (select ostinato_now()) + interval '1 min'
union all
select format('reminder %s is to be tried at %s, no later than in ten minutes was expected', r.id, r.next_try_at)
  from tq_reminder r
 where r.next_try_at > (select ostinato_now()) + interval '10 min'
union all
select format('reminder %s was never refused and waits until %s', r.id, r.next_try_at)
  from tq_reminder r
 where r.attempts = 0 and (r.next_try_at > '-infinity' or r.first_refused_at is not null or r.last_error is not null)
union all
select format('reminder %s was refused %s times, and nobody knows when or why', r.id, r.attempts)
  from tq_reminder r
 where r.attempts > 0 and (r.first_refused_at is null or r.last_error is null)
union all
select format('reminder %s is parked and waits', r.id)
  from tq_reminder r join tq_parked_reminder p using (id)
union all
select format('reminder %s is parked and was never refused', p.id)
  from tq_parked_reminder p
 where p.attempts = 0
union all
select format('section %s is leased until %s, no later than in a minute was expected', l.section, l.expires_at)
  from tq_sweep_lease l
 where l.expires_at > (select ostinato_now()) + interval '1 min'
union all
select 'no sweep can begin: nobody can take a turn'
 where not exists (select from tq_sweep_turn)
"""
_LEASES = """
select section, parts from tq_sweep_lease where expires_at > (select ostinato_now()) order by section, lease_id
"""


async def find_reminder_violations(connection: Connection) -> list[str]:
    """`connection` is in a transaction that reads one snapshot."""
    found = [row[0] for row in await connection.fetch(_REMINDER_CONTRADICTIONS)]
    for section, leases in groupby(await connection.fetch(_LEASES), key=itemgetter("section")):
        parts = sorted(parse_partition(text) for lease in leases for text in lease["parts"])
        found += [f"{one} and {other} of section {section} are leased twice" for one, other in _overlapping(parts)]
    return found


def _overlapping(parts: Sequence[Partition]) -> Iterator[tuple[Partition, Partition]]:
    return ((one, other) for one, other in pairwise(parts) if other.low < one.high)


async def find_violations(connection: Connection, *, tasks_elsewhere: bool = False) -> list[str]:
    """Reads only, in one snapshot. A database without the scheduler's schema has nothing to violate.

    `tasks_elsewhere`: tasks wait in Cloud Tasks, so that none is missed here.
    """
    if not await connection.fetchval(_HAS_SCHEDULER):
        return []
    queries = [*([] if tasks_elsewhere else [_TIMERS_WITHOUT_A_TASK]), _STORED_CONTRADICTIONS, _LEDGER_CONTRADICTIONS]
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        found = [row[0] for query in queries for row in await connection.fetch(query)]
        return [
            *found,
            *await find_standstill(connection, tasks_elsewhere=tasks_elsewhere),
            *await find_reminder_violations(connection),
        ]
