"""What holds in every committed state of a scheduler's database, whatever ran, crashed or stands still at the moment.

`find_violations` reads one snapshot and returns a sentence for each thing that is as no commit may leave it: work
that nothing will carry on, slots with more or less than one outcome, more runs than allowed. Each rule follows from
how transactions are made: a state and the task that carries on from it commit together. So a test may stop
anywhere; only one that damages rows by hand, or takes work away from the queue, leaves something to find.
"""

from __future__ import annotations

from typing import TypeAlias

import asyncpg

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
 where (c.due_at is null) <> (c.slot is null) or c.due_at < c.slot or not c.enabled and c.slot is not null
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


async def find_violations(connection: Connection, *, tasks_elsewhere: bool = False) -> list[str]:
    """Reads only, in one snapshot. A database without the scheduler's schema has nothing to violate.

    `tasks_elsewhere`: tasks wait in Cloud Tasks, so that none is missed here.
    """
    if not await connection.fetchval(_HAS_SCHEDULER):
        return []
    queries = [*([] if tasks_elsewhere else [_TIMERS_WITHOUT_A_TASK]), _STORED_CONTRADICTIONS, _LEDGER_CONTRADICTIONS]
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        found = [row[0] for query in queries for row in await connection.fetch(query)]
        return [*found, *await find_standstill(connection, tasks_elsewhere=tasks_elsewhere)]
