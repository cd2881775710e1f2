-- What a job says about its schedule beyond the expression, and when a slot is due other than at its time.
-- A serialized JobConfig that carries only that; empty: nothing, as for all schedules until now.
alter table job_cron add column terms bytea not null default '';
alter table job_schedule_span add column terms bytea not null default '';
