-- The life of a run after its launch: retries, signs of life, timers.

-- Triggers that each become exactly one invocation and are never merged, dropped or purged by a pause say when they
-- may start at the earliest. All others have no such time, so that policies read their own index only.
alter table trigger add column not_before timestamptz;
drop index trigger_pending;
create index trigger_pending on trigger (job_id, created_at, order_in_batch, trigger_id)
    where consumed_at is null and not_before is null;
create index trigger_waiting on trigger (job_id, not_before, trigger_id)
    where consumed_at is null and not_before is not null;

-- When the triage task is due that looks at the job for the earliest of them. It commits with this.
alter table job add column wake_at timestamptz;

alter table invocation
    add column retry_of bigint,                     -- the invocation that this one tries again
    add column last_heartbeat_at timestamptz;       -- notification or appended log line; in no index, so HOT
alter table invocation_history
    add column retry_of bigint,
    add column last_heartbeat_at timestamptz;

-- What a target asked to be reminded of. A row goes with the timer's effect or with the end of its run.
create table invocation_timer (
    invocation_id bigint not null,
    timer_id text collate "C" not null,
    title text not null,
    payload bytea not null,                         -- the target's own
    created_at timestamptz not null,
    due_at timestamptz not null,
    task_id bigint not null,                        -- its HandleTimerTask
    primary key (invocation_id, timer_id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
