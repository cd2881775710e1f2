-- The scheduler's entities. Lock order: job, job_cron, invocation, queue rows (docs/lock_order.md).
-- No foreign keys: their share locks on the parent would collide with the lock of the job.

create table project (
    project_id int generated always as identity primary key,
    name text collate "C" unique not null,
    bindings bytea not null default '',             -- serialized ProjectConfig that carries only bindings
    revision text not null default '',
    revision_url text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null
);

create table job (
    job_id bigint generated always as identity primary key,
    project_id int not null,
    project text collate "C" not null,
    name text collate "C" not null,                 -- the job id inside the project
    uid uuid not null default gen_random_uuid(),
    realm text not null,
    managed_by smallint not null,                   -- Job.ManagedBy
    definition bytea not null,                      -- serialized JobConfig, defaults filled in
    enabled boolean not null,
    paused boolean not null default false,
    pause_reason text not null default '',
    paused_by text not null default '',
    paused_at timestamptz,                          -- of the last pause or resume
    revision text not null default '',
    revision_url text not null default '',
    version bigint not null default 1,              -- the etag: moves with definition, enabled and paused
    last_triage_at timestamptz,
    last_scheduled_at timestamptz,
    last_completed_at timestamptz,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_status smallint not null default 0,
    last_error text not null default '',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    unique (project, name)
) with (fillfactor = 60);

-- When a job's schedule is due next. Holds all that a tick needs; a tick reads no other row.
create table job_cron (
    job_id bigint primary key,
    project_id int not null,
    job_name text not null,                         -- projects/p/jobs/j
    schedule text not null,                         -- the effective one: `triggered` while paused
    enabled boolean not null,
    generation bigint not null,
    last_rewind_at timestamptz,
    slot timestamptz,
    due_at timestamptz                              -- null: nothing planned
) with (fillfactor = 80);
create index job_cron_due on job_cron (due_at) where due_at is not null;

-- Which schedule was in force when: one row per edit, pause and resume.
create table job_schedule_span (
    job_id bigint not null,
    from_at timestamptz not null,
    schedule text not null,                         -- the effective one
    revision text not null,
    paused boolean not null,
    enabled boolean not null,
    primary key (job_id, from_at)
);

-- Pending triggers, and consumed ones as tombstones: uniqueness over both is this one index.
create table trigger (
    job_id bigint not null,
    trigger_id text collate "C" not null,
    kind text collate "C" not null default 'EVENT', -- TriggerKind
    created_at timestamptz not null,
    order_in_batch bigint not null,
    emitted_by text not null default '',            -- with `kind` all of the body that triage looks at
    consumed_at timestamptz,
    slot timestamptz,                               -- of cron triggers of absolute schedules
    body bytea not null,                            -- serialized scheduler.v1.Trigger
    primary key (job_id, trigger_id)
) with (autovacuum_vacuum_scale_factor = 0.02);
create index trigger_pending on trigger (job_id, created_at, order_in_batch, trigger_id) where consumed_at is null;
create index trigger_consumed on trigger (consumed_at) where consumed_at is not null;

-- Invocations from creation until triage acknowledged their end: small, and all that hot statements touch.
-- Status is in no index and deadline_at is set once at creation, so launch and finish are HOT updates.
create table invocation (
    invocation_id bigint primary key,
    job_id bigint not null,
    project_id int not null,
    version int not null default 1,                 -- compare-and-swap
    status smallint not null,                       -- Invocation.Status
    attempt smallint not null default 1,
    launch_attempts smallint not null default 0,
    launch_task_id bigint not null,
    created_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    deadline_at timestamptz not null,               -- when to look, not when to end: moved on if it is early
    scheduled_for timestamptz,
    triggered_by text not null default '',
    revision text not null default '',
    view_url text not null default '',
    error_reason text not null default '',
    error_message text not null default '',
    error_retryable boolean not null default false,
    result bytea,                                   -- serialized Struct
    outgoing bytea,                                 -- serialized TriggerList
    log_bytes int not null default 0                -- of its log so far, to know when it must be cut
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
create index invocation_by_job on invocation (job_id, invocation_id);
create index invocation_deadline on invocation (deadline_at);

-- What a run was given: written once, beside the invocation.
create table invocation_input (
    invocation_id bigint primary key,
    job_name text not null,                         -- projects/p/jobs/j
    job_uid uuid not null,
    definition bytea not null,                      -- serialized JobConfig at creation
    incoming bytea not null                         -- serialized internal.v1.TriggerList
) partition by range (invocation_id);

create table invocation_history (
    invocation_id bigint primary key,
    job_id bigint not null,
    project_id int not null,
    status smallint not null,
    attempt smallint not null,
    launch_attempts smallint not null,
    created_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz not null,
    deadline_at timestamptz not null,
    scheduled_for timestamptz,
    triggered_by text not null,
    revision text not null,
    view_url text not null,
    error_reason text not null,
    error_message text not null,
    error_retryable boolean not null,
    result bytea,
    outgoing bytea
) partition by range (invocation_id);
create index invocation_history_by_job on invocation_history (job_id, invocation_id);

create table invocation_log (
    invocation_id bigint not null,
    version int not null,                           -- of the save that wrote the line
    line_no smallint not null,
    at timestamptz not null,
    line text not null,
    primary key (invocation_id, version, line_no)
) partition by range (invocation_id);

-- The ledger: one row per natural slot of an absolute schedule, written by the transaction that decides it.
create table occurrence (
    job_id bigint not null,
    slot timestamptz not null,
    fold_tag smallint not null default 0,
    until_slot timestamptz,                         -- a skipped range [slot, until_slot); its count is never stored
    outcome smallint not null,
    reason text not null default '',
    invocation_id bigint,
    decided_at timestamptz not null,
    primary key (job_id, slot, fold_tag)
);

create table triage_log (
    job_id bigint not null,
    at timestamptz not null,
    record jsonb not null
) partition by range (at);
create index triage_log_newest on triage_log (job_id, at desc);
