-- Reminders: tasks of committed transactions that a remote queue may not have yet.
--
-- Whoever adds a task writes one in its transaction, submits it after the commit and deletes it when the remote queue
-- has it. Sweeps find those that were left behind. In good times the table is next to empty.

create table tq_reminder (
    id uuid not null,                               -- random: the end of the task's name, so that it is added once
    fresh_until timestamptz not null,               -- until then it is the business of whoever wrote it
    next_try_at timestamptz not null default '-infinity',
    attempts int not null default 0,                -- refusals so far
    first_refused_at timestamptz,
    last_error text,
    payload bytea not null,                         -- ostinato.taskqueue.v1.Reminder
    primary key (id) include (fresh_until, next_try_at)
) with (
    vacuum_truncate = off,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 100000, toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 5000, toast.vacuum_truncate = off
);

-- Those that the remote queue refused for too long. Nobody tries them again unless told to.
create table tq_parked_reminder (
    id uuid primary key,
    parked_at timestamptz not null,
    task_class text not null,
    queue text not null,
    attempts int not null,
    error text not null,
    payload bytea not null
);
create index tq_parked_reminder_newest on tq_parked_reminder (parked_at desc, id desc);

-- The reminders of [low, high) in the order of their ids, fresh ones and those to be tried later included; without
-- `high` to the end of all ids. `stale_for` is negative while they are fresh.
-- The table has no honest statistics (it is empty one moment and full the next), hence the planner settings.
create function tq_scan_reminders_v1(low uuid, high uuid, most int)
    returns table (id uuid, stale_for interval, is_due boolean)
    language plpgsql
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_sort = off
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    now timestamptz := ostinato_now();
begin
    if high is null then
        return query
        select r.id, now - r.fresh_until, r.fresh_until <= now and r.next_try_at <= now
          from tq_reminder r
         where r.id >= low
         order by r.id
         limit most;
    else
        return query
        select r.id, now - r.fresh_until, r.fresh_until <= now and r.next_try_at <= now
          from tq_reminder r
         where r.id >= low and r.id < high
         order by r.id
         limit most;
    end if;
end $$;

-- Whoever shares out the ids of a section locks its row first.
create table tq_sweep_section (
    section text collate "C" primary key
);

-- Ranges of a section that somebody works on until `expires_at`.
create table tq_sweep_lease (
    section text collate "C" not null,
    lease_id bigint generated always as identity,
    parts text[] not null,                          -- ranges of ids in hex, `low_high`
    expires_at timestamptz not null,
    primary key (section, lease_id)
) with (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500
);

-- Who begins a sweep takes the turn of that moment; whoever dies with it has held up nobody for longer than a turn.
create table tq_sweep_turn (
    one boolean primary key default true check (one),
    taken_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
insert into tq_sweep_turn (taken_at) values ('-infinity');
