"""Triggers in a simulation's database that write down what only the moment of a change can show.

A claimed task is ended, moved or released by the process that claimed it and by nobody else, unless that process's
lease is over; a lease that holds is ended by its own process; nothing starts while its job is paused or disabled.
Processes are told apart by their application's name.
"""

from __future__ import annotations

import asyncpg

AUDIT_SQL = """
create table audit_owner (worker_id int primary key, process text not null);
create table audit (what text not null);

create function audit_lease() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into audit_owner values (new.worker_id, current_setting('application_name'));
    elsif old.expires_at > ostinato_now() and not exists (
        select from audit_owner where worker_id = old.worker_id and process = current_setting('application_name')
    ) then
        insert into audit values (format('%s ended the lease of worker %s, which held until %s',
                                         current_setting('application_name'), old.worker_id, old.expires_at));
    end if;
    return null;
end $$;
create trigger audit_lease after insert or delete on tq_worker for each row execute function audit_lease();

create function audit_end() returns trigger language plpgsql as $$
begin
    if exists (select from tq_worker where worker_id = old.claimed_by and expires_at > ostinato_now())
       and not exists (
        select from audit_owner where worker_id = old.claimed_by and process = current_setting('application_name')
    ) then
        insert into audit values (format('%s ended task %s of worker %s, whose lease holds',
                                         current_setting('application_name'), old.id, old.claimed_by));
    end if;
    return null;
end $$;
create trigger audit_end after delete on tq_ready for each row when (old.claimed_by <> 0)
    execute function audit_end();

create function audit_release() returns trigger language plpgsql as $$
begin
    if exists (select from tq_worker where worker_id = old.claimed_by and expires_at > ostinato_now())
       and not exists (
        select from audit_owner where worker_id = old.claimed_by and process = current_setting('application_name')
    ) then
        insert into audit values (format('%s took task %s from worker %s, whose lease holds',
                                         current_setting('application_name'), old.id, old.claimed_by));
    end if;
    return null;
end $$;
create trigger audit_release after update of claimed_by on tq_ready for each row
    when (old.claimed_by <> 0 and new.claimed_by <> old.claimed_by)
    execute function audit_release();

create function audit_start() returns trigger language plpgsql as $$
begin
    if exists (select from job where job_id = new.job_id and (paused or not enabled)) then
        insert into audit values (format('invocation %s of job %s was created while the job was paused or disabled',
                                         new.invocation_id, new.job_id));
    end if;
    return null;
end $$;
create trigger audit_start after insert on invocation for each row execute function audit_start();
"""


async def install_audit(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.execute(AUDIT_SQL)


async def find_breaches(connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    return [row[0] for row in await connection.fetch("select what from audit")]
