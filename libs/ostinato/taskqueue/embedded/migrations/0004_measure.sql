-- How full the queues were a moment ago: counted by one process for all, because counting reads every row.
create table tq_measure (
    one boolean primary key default true check (one),
    measured_at timestamptz not null,
    took interval not null,                         -- the count itself: a slow one is repeated less often
    queues jsonb not null                           -- [{name, ready, claimed, later, dead, oldest}], oldest in seconds
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
insert into tq_measure (measured_at, took, queues) values ('-infinity', '0', '[]');
