-- Dead letters of one queue, newest first: listed, counted up to a bound and purged without reading those of others.
create index tq_dead_of_queue on tq_dead ((strand >> 9), died_at desc, id desc);
