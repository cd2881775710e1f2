-- The embedded task queue.
--
-- A task is inserted once, claimed in place and deleted once. `claimed_by` is in no index and pages are half
-- full, so a claim is a HOT update; the primary key is the only index of the hot table.

create sequence tq_task_id increment by 1000;

-- One row per process incarnation: the lease of all its tasks. Ids are random positive ints, never reused.
create table tq_worker (
    worker_id int primary key,
    expires_at timestamptz not null,
    host text not null,
    started_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

create table tq_queue (
    queue_id smallint primary key,
    name text collate "C" unique not null,
    version bigint not null default 1,
    paused_at timestamptz
) with (fillfactor = 50);

create table tq_class (
    class_id smallint generated always as identity primary key,
    name text collate "C" unique not null
);

-- Due tasks and claimed tasks, nothing else.
create table tq_ready (
    id bigint not null,
    ready_at timestamptz not null,                  -- database time of insert or move-in: the order within a strand
    eta timestamptz,                                -- null: ready_at
    strand int not null,                            -- queue_id << 9 | priority << 6 | sub-queue
    claimed_by int not null default 0,              -- 0 or a worker_id; never in an index or an index predicate
    fair_key int not null default 0,
    class_id smallint not null,
    attempt smallint not null default 0,            -- claims so far, as far as it goes
    failures smallint not null default 0,           -- answers so far that used up an attempt
    flags smallint not null default 0,
    payload bytea not null,
    header bytea,                                   -- trace context and other rare things
    primary key (strand, ready_at, id)
) with (
    fillfactor = 50, vacuum_truncate = off,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000, toast.vacuum_truncate = off
);

-- Tasks due in the future: delayed ones and retries. They move to tq_ready when due.
create table tq_later (
    id bigint not null,
    due_at timestamptz not null,
    strand int not null,
    fair_key int not null default 0,
    class_id smallint not null,
    attempt smallint not null default 0,
    failures smallint not null default 0,
    flags smallint not null default 0,
    payload bytea not null,
    header bytea,
    primary key (due_at, id)
) with (
    vacuum_truncate = off,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000, toast.vacuum_truncate = off
);

create table tq_dead (
    id bigint primary key,
    died_at timestamptz not null,
    strand int not null,
    fair_key int not null,
    class_id smallint not null,
    attempt smallint not null,
    failures smallint not null,
    flags smallint not null,
    error text not null,
    payload bytea not null,
    header bytea
);
create index tq_dead_newest on tq_dead (died_at desc, id desc);

-- Claims up to `room` due tasks for `me`, from strands in the given order, each from its cursor `lows` on and
-- at most `quotas`. Nothing is claimed by a worker whose lease ended, or from a paused queue.
-- A queue table has no honest statistics (it is empty one moment and full the next), hence the planner settings.
-- The commit is asynchronous: a claim lost by a crash of the server is an unclaimed task, which breaks no promise.
create function tq_claim_v1(me int, strands int[], lows timestamptz[], quotas int[], room int)
    returns table (
        version tid, id bigint, strand int, ready_at timestamptz, eta timestamptz, fair_key int, class_id smallint,
        attempt smallint, failures smallint, flags smallint, header bytea, payload bytea
    )
    language plpgsql
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_sort = off
    set enable_hashjoin = off
    set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    perform set_config('synchronous_commit', 'off', true);
    return query
    with due as materialized (
        select t.ctid
          from unnest(strands, lows, quotas) w(strand, low, quota)
         cross join lateral (
            select r.ctid
              from tq_ready r
             where r.strand = w.strand and r.ready_at >= w.low and r.claimed_by = 0
             order by r.ready_at, r.id
             limit w.quota
               for update skip locked
         ) t
         where exists (select 1 from tq_worker k where k.worker_id = me and k.expires_at > ostinato_now())
           and not exists (select 1 from tq_queue q where q.queue_id = w.strand >> 9 and q.paused_at is not null)
         limit room
    )
    update tq_ready r
       set claimed_by = me, attempt = least(r.attempt + 1, 32767)
      from due
     where r.ctid = due.ctid
    returning r.ctid, r.id, r.strand, r.ready_at, r.eta, r.fair_key, r.class_id, r.attempt, r.failures, r.flags,
              r.header, r.payload;
end $$;

-- Moves due tasks into tq_ready; the first `room` of the strands in `mine` are born claimed by `me`.
create function tq_move_in_v1(me int, since timestamptz, mine int[], room int, most int)
    returns table (
        version tid, id bigint, strand int, ready_at timestamptz, eta timestamptz, fair_key int, class_id smallint,
        attempt smallint, failures smallint, flags smallint, header bytea, payload bytea, claimed_by int
    )
    language plpgsql
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
    with due as materialized (
        select l.ctid
          from tq_later l
         where l.due_at <= (select ostinato_now()) and l.due_at >= since
         order by l.due_at, l.id
         limit most
           for update skip locked
    ), gone as (
        delete from tq_later l using due where l.ctid = due.ctid returning l.*
    ), placed as (
        select g.*,
               g.strand = any(mine)
                 and row_number() over (partition by g.strand = any(mine) order by g.due_at, g.id) <= room
                 and exists (select 1 from tq_worker k where k.worker_id = me and k.expires_at > ostinato_now())
                 and not exists (select 1 from tq_queue q
                                  where q.queue_id = g.strand >> 9 and q.paused_at is not null) as born_claimed
          from gone g
    )
    insert into tq_ready as r (id, ready_at, eta, strand, claimed_by, fair_key, class_id, attempt, failures, flags,
                               payload, header)
    select p.id, ostinato_now(), p.due_at, p.strand, case when p.born_claimed then me else 0 end, p.fair_key,
           p.class_id, least(p.attempt + p.born_claimed::int, 32767), p.failures, p.flags, p.payload, p.header
      from placed p
    returning r.ctid, r.id, r.strand, r.ready_at, r.eta, r.fair_key, r.class_id, r.attempt, r.failures, r.flags,
              r.header, r.payload, r.claimed_by;
end $$;
