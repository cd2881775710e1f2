-- Tasks that a remote queue pushes: it counts every attempt, also those that are not to count.

-- One row per such task with a limit of attempts, until it ends; what was deleted elsewhere is forgotten after a month.
create table tq_push_excuse (
    task_name text collate "C" primary key,
    runs int not null,
    last_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
