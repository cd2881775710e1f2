-- Ids of the messages that were applied to a run, so that one that is sent again is told apart. They go with its log.
create table invocation_message (
    invocation_id bigint not null,
    message_id text collate "C" not null,
    primary key (invocation_id, message_id)
) partition by range (invocation_id);

-- Runs that are under way belong to weeks whose partitions exist already.
do $$
declare
    week record;
begin
    for week in
        select replace(c.relname, 'invocation_log_', 'invocation_message_') as name,
               pg_get_expr(c.relpartbound, c.oid) as bounds
          from pg_inherits h
          join pg_class c on c.oid = h.inhrelid
         where h.inhparent = 'invocation_log'::regclass
    loop
        execute format('create table %I partition of invocation_message %s', week.name, week.bounds);
    end loop;
end $$;
