-- Queues that can be paused, purged and limited while they work; tasks in lanes by urgency, in shares by key.

-- Whoever changes a queue adds one to its version: the sum of all versions tells a process that something changed.
-- What changes with every task is kept elsewhere, so that old versions of these rows never slow a claim down.
alter table tq_queue
    add column purge_before timestamptz,            -- what was added before and has not started is dropped
    add column max_rate double precision check (max_rate > 0),      -- starts per second; null: no limit
    add column burst int not null default 1 check (burst >= 1),
    add column max_concurrent int check (max_concurrent >= 1);      -- claimed at once, over all processes; null: no limit

-- The token bucket of a queue with a rate. Its lock puts the claims of a limited queue in line.
create table tq_queue_budget (
    queue_id smallint primary key,
    tokens double precision not null,
    refilled_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

-- How many tasks of a queue with bounded concurrency a process holds: its own absolute number, so that nothing drifts.
-- Rows of workers that are gone don't count.
create table tq_queue_running (
    queue_id smallint not null,
    worker_id int not null,
    running int not null,
    doubts int not null default 0,                  -- how many answers the worker had lost when it told this
    primary key (queue_id, worker_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

-- A delayed task is due long after it was added; a purge must know when that was. Null: before this migration.
alter table tq_later add column added_at timestamptz;
alter table tq_later alter column added_at set default ostinato_now();

-- As version 1, for lanes of any urgency. Queues with limits are claimed from by tq_claim_limited_v1 only, which
-- passes true for `limited`: a process that has not heard of a new limit yet claims nothing past it.
create function tq_claim_v2(me int, strands int[], lows timestamptz[], quotas int[], room int, limited boolean)
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
           and not exists (select 1 from tq_queue q
                            where q.queue_id = w.strand >> 9
                              and (q.paused_at is not null
                                   or not limited and (q.max_rate is not null or q.max_concurrent is not null)))
         limit room
    )
    update tq_ready r
       set claimed_by = me, attempt = least(r.attempt + 1, 32767)
      from due
     where r.ctid = due.ctid
    returning r.ctid, r.id, r.strand, r.ready_at, r.eta, r.fair_key, r.class_id, r.attempt, r.failures, r.flags,
              r.header, r.payload;
end $$;

-- Processes of the release before this one: they get nothing from queues with limits, and no tasks with names, which
-- they would not end together with the task.
create or replace function tq_claim_v1(me int, strands int[], lows timestamptz[], quotas int[], room int)
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
             where r.strand = w.strand and r.ready_at >= w.low and r.claimed_by = 0 and r.flags & 1 = 0
             order by r.ready_at, r.id
             limit w.quota
               for update skip locked
         ) t
         where exists (select 1 from tq_worker k where k.worker_id = me and k.expires_at > ostinato_now())
           and not exists (select 1 from tq_queue q
                            where q.queue_id = w.strand >> 9
                              and (q.paused_at is not null or q.max_rate is not null or q.max_concurrent is not null))
         limit room
    )
    update tq_ready r
       set claimed_by = me, attempt = least(r.attempt + 1, 32767)
      from due
     where r.ctid = due.ctid
    returning r.ctid, r.id, r.strand, r.ready_at, r.eta, r.fair_key, r.class_id, r.attempt, r.failures, r.flags,
              r.header, r.payload;
end $$;

-- Claims from one queue within its limits. `held`: what `me` holds of it already; `room`: how much more it can start.
-- The last row is no task: it has `granted`, up to how many tasks the limits allowed, and `next_token_at`, when the
-- rate allows another one (null: at once).
-- `doubts`: how many answers to such calls `me` has lost so far. A call that is carried out after a later one, because
-- its connection was lost on the way, knows an old number of what is held: it claims and tells nothing.
-- The first statement locks, the following ones read: their snapshots are younger than the lock.
-- What counts for a ceiling is committed for good: after a crash of the server it would be claimed a second time beside
-- those that still run.
create function tq_claim_limited_v1(
    me int, queue int, held int, doubts int, strands int[], lows timestamptz[], quotas int[], room int
)
    returns table (
        version tid, id bigint, strand int, ready_at timestamptz, eta timestamptz, fair_key int, class_id smallint,
        attempt smallint, failures smallint, flags smallint, header bytea, payload bytea,
        granted int, next_token_at timestamptz
    )
    language plpgsql
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    limits record;
    budget record;
    allowed int := room;
    moment timestamptz;
    tokens_now double precision;
    claimed int;
    token_at timestamptz;
    durable text := current_setting('synchronous_commit');
begin
    perform set_config('synchronous_commit', 'off', true);
    perform 1 from tq_queue_budget b where b.queue_id = queue for no key update;
    if not found then
        insert into tq_queue_budget (queue_id, tokens, refilled_at)
        select q.queue_id, q.burst, ostinato_now() from tq_queue q where q.queue_id = queue
        on conflict do nothing;
        perform 1 from tq_queue_budget b where b.queue_id = queue for no key update;
    end if;
    moment := ostinato_now();
    select q.max_rate, q.burst, q.max_concurrent into limits from tq_queue q where q.queue_id = queue;
    if limits.max_concurrent is not null then
        select least(allowed, limits.max_concurrent - held - coalesce(sum(r.running), 0)) into allowed
          from tq_queue_running r
         where r.queue_id = queue and r.worker_id <> me
           and exists (select 1 from tq_worker k where k.worker_id = r.worker_id);
        if exists (select 1 from tq_queue_running r
                    where r.queue_id = queue and r.worker_id = me and r.doubts > tq_claim_limited_v1.doubts) then
            allowed := 0;
        end if;
    end if;
    if limits.max_rate is not null then
        select b.tokens, b.refilled_at into budget from tq_queue_budget b where b.queue_id = queue;
        -- A clock that was set back must not stop the refilling until it has caught up.
        tokens_now := least(
            limits.burst,
            budget.tokens + limits.max_rate * greatest(0, extract(epoch from moment - budget.refilled_at))
        );
        allowed := least(allowed, floor(tokens_now)::int);
    end if;
    allowed := greatest(allowed, 0);
    return query
    select c.*, null::int, null::timestamptz
      from tq_claim_v2(me, strands, lows, quotas, allowed, true) c
     where allowed > 0;
    get diagnostics claimed = row_count;
    if limits.max_rate is not null then
        tokens_now := tokens_now - claimed;
        if claimed > 0 or budget.refilled_at > moment then
            update tq_queue_budget b set tokens = tokens_now, refilled_at = moment where b.queue_id = queue;
        end if;
        if tokens_now < 1 then
            token_at := moment + make_interval(secs => (1 - tokens_now) / limits.max_rate);
        end if;
    end if;
    if limits.max_concurrent is not null then
        insert into tq_queue_running as r (queue_id, worker_id, running, doubts)
        select queue, me, held + claimed, tq_claim_limited_v1.doubts
         where exists (select 1 from tq_worker k where k.worker_id = me)
        on conflict (queue_id, worker_id) do update set running = excluded.running, doubts = excluded.doubts
         where r.doubts <= excluded.doubts and (r.running, r.doubts) <> (excluded.running, excluded.doubts);
        if claimed > 0 then
            perform set_config('synchronous_commit', durable, true);
        end if;
    end if;
    return query
    select null::tid, null::bigint, null::int, null::timestamptz, null::timestamptz, null::int, null::smallint,
           null::smallint, null::smallint, null::smallint, null::bytea, null::bytea, allowed, token_at;
end $$;

-- As before, except that tasks of purged queues are dropped, which ends their names (they have a table from the next
-- migration on), and that nothing of a queue with limits is born claimed, and nothing that has a name.
create or replace function tq_move_in_v1(me int, since timestamptz, mine int[], room int, most int)
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
    ), purged as (
        select g.id, g.flags
          from gone g
          join tq_queue q on q.queue_id = g.strand >> 9
         where q.purge_before > coalesce(g.added_at, '-infinity')
    ), named as materialized (
        select n.queue_id, n.name_hash
          from tq_name n
         where n.task_id = any(array(select p.id from purged p where p.flags & 1 <> 0)) and n.expires_at = 'infinity'
         order by n.queue_id, n.name_hash
           for no key update
    ), freed as (
        update tq_name n
           set expires_at = ostinato_now() + q.dedup_window
          from named d
          join tq_queue q on q.queue_id = d.queue_id
         where n.queue_id = d.queue_id and n.name_hash = d.name_hash
    ), placed as (
        select g.*,
               g.strand = any(mine)
                 and row_number() over (partition by g.strand = any(mine) order by g.due_at, g.id) <= room
                 and g.flags & 1 = 0
                 and exists (select 1 from tq_worker k where k.worker_id = me and k.expires_at > ostinato_now())
                 and not exists (select 1 from tq_queue q
                                  where q.queue_id = g.strand >> 9
                                    and (q.paused_at is not null or q.max_rate is not null
                                         or q.max_concurrent is not null)) as born_claimed
          from gone g
         where not exists (select 1 from purged p where p.id = g.id)
    )
    insert into tq_ready as r (id, ready_at, eta, strand, claimed_by, fair_key, class_id, attempt, failures, flags,
                               payload, header)
    select p.id, ostinato_now(), p.due_at, p.strand, case when p.born_claimed then me else 0 end, p.fair_key,
           p.class_id, least(p.attempt + p.born_claimed::int, 32767), p.failures, p.flags, p.payload, p.header
      from placed p
    returning r.ctid, r.id, r.strand, r.ready_at, r.eta, r.fair_key, r.class_id, r.attempt, r.failures, r.flags,
              r.header, r.payload, r.claimed_by;
end $$;

-- The strands with tasks among those from `lows` to `highs` (inclusive): hops from strand to strand, one look each.
create function tq_find_strands_v1(lows int[], highs int[])
    returns setof int
    language plpgsql
    stable
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_sort = off
    set plan_cache_mode = force_generic_plan
as $$
begin
    return query
    with recursive hop(strand, high) as (
        select (select r.strand from tq_ready r where r.strand between g.low and g.high order by r.strand limit 1),
               g.high
          from unnest(lows, highs) g(low, high)
        union all
        select (select r.strand from tq_ready r
                 where r.strand > hop.strand and r.strand <= hop.high order by r.strand limit 1),
               hop.high
          from hop
         where hop.strand is not null
    )
    select hop.strand from hop where hop.strand is not null;
end $$;
