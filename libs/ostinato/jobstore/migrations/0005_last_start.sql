-- When a triage last started something, for jobs that want triages to keep a distance.
alter table job add column last_start_at timestamptz;
