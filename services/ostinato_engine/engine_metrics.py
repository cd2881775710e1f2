"""What the engine counts. One object per process, given to whoever counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class EngineMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.ticks = Counter("ostinato_engine_cron_ticks", "Slots that fired.", registry=registry)
        self.tick_lateness = Histogram(
            "ostinato_engine_cron_lateness_seconds",
            "From when a slot is due to its trigger.",
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
            registry=registry,
        )
        self.broken_ticks = Counter(
            "ostinato_engine_cron_ticks_broken",
            "Ticks put off because their schedule can't be read.",
            registry=registry,
        )
        self.start_lateness = Histogram(
            "ostinato_engine_start_lateness_seconds",
            "From when a slot is due to the first launch attempt of its run.",
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
            registry=registry,
        )
        self.triage_jobs = Histogram(
            "ostinato_engine_triage_jobs",
            "Jobs looked at by a batch of triages.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=registry,
        )
        self.triaged = Counter("ostinato_engine_jobs_triaged", "Jobs looked at by triage.", registry=registry)
        self.started = Counter("ostinato_engine_invocations_started", "Invocations created.", registry=registry)
        self.dropped_triggers = Counter(
            "ostinato_engine_triggers_dropped",
            "Triggers that triage dropped, by the rule that said so.",
            ("reason",),
            registry=registry,
        )
        self.purged_dead_letters = Counter(
            "ostinato_engine_dead_letters_purged", "Dead letters that were too old.", registry=registry
        )
        self.reconciled = Counter(
            "ostinato_engine_reconciled",
            "Things found standing still and set going again. Not zero: find out why.",
            ("what",),
            registry=registry,
        )
        self.launches = Counter(
            "ostinato_engine_launches", "Launch attempts by what they led to.", ("outcome",), registry=registry
        )
        self.notifications = Counter(
            "ostinato_engine_notifications", "Notifications by what became of them.", ("outcome",), registry=registry
        )
        self.timers = Counter(
            "ostinato_engine_timers", "Timers of runs by what became of them.", ("outcome",), registry=registry
        )
        self.timed_out = Counter(
            "ostinato_engine_runs_timed_out", "Runs ended by a timeout, by which one.", ("reason",), registry=registry
        )
        self.stopped_calls = Counter(
            "ostinato_engine_calls_stopped", "Calls stopped because their run had ended.", registry=registry
        )
        self.purged_triggers = Counter(
            "ostinato_engine_triggers_purged", "Remembered trigger ids that were forgotten.", registry=registry
        )
        self.partitions_ahead = Gauge(
            "ostinato_engine_partition_weeks_ahead",
            "Whole weeks ahead that have partitions, in the table that has fewest. Alarm below 2.",
            registry=registry,
        )
