-- Names of tasks: of two tasks of one name the second is not added, until a while after the first has ended.
--
-- A named task is alive if and only if its row here has its id and never expires. Its end, or the deletion of its
-- name, gives the row a time at which the name is free again; whoever claims a named task without such a row drops it.

-- How long a name stays taken after its task has ended.
alter table tq_queue add column dedup_window interval not null default interval '1 hour';

create table tq_name (
    queue_id smallint not null,
    name_hash uuid not null,                        -- first half of a SHA-256: fixed width, ordered by its bytes
    task_id bigint not null,
    expires_at timestamptz not null,
    primary key (queue_id, name_hash)
) with (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0
);
create index tq_name_task on tq_name (task_id);
create index tq_name_expired on tq_name (expires_at) where expires_at < 'infinity';
