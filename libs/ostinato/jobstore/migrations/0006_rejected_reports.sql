-- Reports of runs that were under way whose token was rejected, counted by what was wrong with it. They go with the run's log.
create table rejected_report (
    invocation_id bigint not null,
    fault smallint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    count bigint not null,
    primary key (invocation_id, fault)
) partition by range (invocation_id);

-- Runs that are under way belong to weeks whose partitions exist already.
do $$
declare
    week record;
begin
    for week in
        select replace(c.relname, 'invocation_log_', 'rejected_report_') as name,
               pg_get_expr(c.relpartbound, c.oid) as bounds
          from pg_inherits h
          join pg_class c on c.oid = h.inhrelid
         where h.inhparent = 'invocation_log'::regclass
    loop
        execute format('create table %I partition of rejected_report %s', week.name, week.bounds);
    end loop;
end $$;
