"""Tables that the measurements need besides the product's own."""

from __future__ import annotations

RAW_SCHEMA = """
create table raw_task (
    id bigint generated always as identity primary key,
    run_at timestamptz not null default now(),
    lease_until timestamptz,
    attempts smallint not null default 0,
    payload bytea
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
create index raw_task_ready on raw_task (run_at, id) where lease_until is null;
create index raw_task_leased on raw_task (lease_until) where lease_until is not null;
"""
BUSINESS_SCHEMA = """
create table business (id bigint generated always as identity primary key, who text not null, amount int not null);
"""
BUSINESS = "insert into business (who, amount) values ($1, $2)"

# What is due and not done yet, claimed or not.
LEFT = {
    "ours": "select count(*) from tq_ready",
    "raw": "select count(*) from raw_task",
}
