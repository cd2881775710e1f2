-- The one clock that SQL reads. Tests replace it; production never does.
-- Range predicates compare with `(select ostinato_now())`: a bare volatile call would not use an index.
create function ostinato_now() returns timestamptz
    language sql volatile
    return clock_timestamp();
