-- Puts tasks aside that crowd a shared line: of the first `looks` that wait in it, those of each key behind its first
-- `keep` go to the key's line of floods. Returns that line once for each of them.
-- Nothing waits here for anybody, and a commit that is lost has only put nothing aside.
create function tq_put_aside_v1(shared int, since timestamptz, looks int, keep int)
    returns setof int
    language plpgsql
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan
as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    return query
    with waiting as materialized (
        select r.ctid, r.fair_key, r.ready_at, r.id
          from tq_ready r
         where r.strand = shared and r.ready_at >= since and r.claimed_by = 0
         order by r.ready_at, r.id
         limit looks
    ), placed as (
        select w.ctid, row_number() over (partition by w.fair_key order by w.ready_at, w.id) as place
          from waiting w
         where w.fair_key <> 0
    ), surplus as materialized (
        select r.ctid
          from placed p
          join tq_ready r on r.ctid = p.ctid
         where p.place > keep and r.claimed_by = 0
           for update of r skip locked
    )
    update tq_ready r
       set strand = shared | (1 + (r.fair_key & 2147483647) % 62), eta = coalesce(r.eta, r.ready_at),
           ready_at = ostinato_now()
      from surplus s
     where r.ctid = s.ctid
    returning r.strand;
end $$;
