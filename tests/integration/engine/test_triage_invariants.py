"""Random stories of one job: whatever happens in whichever order, nothing is lost, doubled or run beside the limit."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ostinato.errors import Unavailable
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.storage.database import DatabaseSettings, open_database
from ostinato.taskqueue import TaskContext, open_dispatcher
from ostinato.testing.postgres import fresh_database
from tests.integration.engine.crashes import CrashAt
from tests.integration.engine.stage import Stage

IDS = st.lists(st.integers(0, 40).map(lambda number: f"t{number}"), min_size=1, max_size=6)


def story_of(server_url: str, template: str) -> type[RuleBasedStateMachine]:
    class Story(RuleBasedStateMachine):
        """Two engines take turns on one job. What a test model knows: ids that were accepted, and those purged."""

        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.resources = AsyncExitStack()
            self.accepted: set[str] = set()
            self.claimed: list[tuple[Stage, list[TaskContext]]] = []

        def run(self, step: Any) -> Any:
            return self.runner.run(step)

        @initialize(limit=st.integers(1, 3), batch=st.integers(1, 4))
        def open(self, limit: int, batch: int) -> None:
            self.limit, self.batch = limit, batch
            self.run(self._open())

        async def _open(self) -> None:
            enter = self.resources.enter_async_context
            url = await enter(fresh_database(server_url, template))
            self.gate = CrashAt()
            self.stages = []
            for number in (1, 2):
                gate = self.gate if number == 2 else None
                db = await enter(open_database(DatabaseSettings(url, pool_size=3), gate=gate))
                dispatcher = await enter(open_dispatcher(db, classes=ENGINE_TASK_CLASSES, notify=False))
                self.stages.append(Stage(db, dispatcher, worker_id=number))
            self.stage = self.stages[0]
            policy = TriggeringPolicy(max_concurrent_invocations=self.limit, max_batch_size=self.batch)
            self.job_id = await self.stage.add_job("j", policy=policy)

        @rule(ids=IDS)
        def emit(self, ids: list[str]) -> None:
            emitted = self.run(self.stage.emit_ids(self.job_id, *ids))
            assert set(emitted.accepted) == set(ids) - self.accepted
            self.accepted |= set(emitted.accepted)

        @rule(engine=st.integers(0, 1), room=st.integers(1, 5))
        def claim(self, engine: int, room: int) -> None:
            tasks = self.run(self.stages[engine].claim(room=room))
            if tasks:
                self.claimed.append((self.stages[engine], tasks))

        @precondition(lambda self: self.claimed)
        @rule(which=st.integers(0, 9))
        def triage(self, which: int) -> None:
            stage, tasks = self.claimed.pop(which % len(self.claimed))
            assert self.run(stage.triage_jobs.handle_triage_jobs(tasks)) == [None] * len(tasks)

        @precondition(lambda self: any(stage is self.stages[1] for stage, _ in self.claimed))
        @rule(steps=st.integers(1, 20))
        def crash(self, steps: int) -> None:
            """The second engine's database connection breaks somewhere in a triage; its tasks come again."""
            stage, tasks = next(entry for entry in self.claimed if entry[0] is self.stages[1])
            self.gate.left = steps
            try:
                self.run(stage.triage_jobs.handle_triage_jobs(tasks))
            except Unavailable:
                pass
            else:
                self.claimed.remove((stage, tasks))
            self.gate.left = -1

        @rule(which=st.integers(0, 2), status=st.sampled_from([4, 5, 6, 7]))
        def finish(self, which: int, status: int) -> None:
            running = self.run(self._running())
            if running:
                self.run(self.stage.finish(running[which % len(running)], status=status))

        @rule(paused=st.booleans())
        def pause_or_resume(self, paused: bool) -> None:
            self.run(self._set_paused(paused))

        async def _set_paused(self, paused: bool) -> None:
            await self.stage.db.execute("update job set paused = $1, version = version + 1", paused)
            await self.stage.kick(self.job_id)

        async def _running(self) -> list[int]:
            rows = await self.stage.db.fetch(
                "select invocation_id from invocation where finished_at is null order by 1"
            )
            return sorted(row[0] for row in rows)

        @invariant()
        def never_more_runs_than_allowed(self) -> None:
            assert len(self.run(self._running())) <= self.limit

        @invariant()
        def every_accepted_trigger_is_in_one_place(self) -> None:
            started, waiting, remembered = self.run(self._places())
            assert len(started) == len(set(started))
            assert set(started) <= remembered
            assert waiting | remembered == self.accepted
            assert not waiting & remembered

        async def _places(self) -> tuple[list[str], set[str], set[str]]:
            inputs = await self.stage.db.fetch("select incoming from invocation_input")
            batches = [TriggerList.FromString(row[0]).triggers for row in inputs]
            assert all(0 < len(batch) <= self.batch for batch in batches)
            rows = await self.stage.db.fetch("select trigger_id, consumed_at from trigger")
            waiting = {row[0] for row in rows if row[1] is None}
            remembered = {row[0] for row in rows if row[1] is not None}
            return [message.id for batch in batches for message in batch], waiting, remembered

        def teardown(self) -> None:
            try:
                if hasattr(self, "job_id"):
                    self.run(self._until_nothing_moves())
            finally:
                self.run(self.resources.aclose())
                self.runner.close()

        async def _until_nothing_moves(self) -> None:
            """No wake-up was lost: the tasks that are there carry everything to its end."""
            for stage, tasks in self.claimed:
                await stage.triage_jobs.handle_triage_jobs(tasks)
            await self.stage.triage_until_quiet()
            while running := await self._running():
                await self.stage.finish(*running)
                await self.stage.triage_until_quiet()
            _, waiting, remembered = await self._places()
            assert waiting == set()
            assert remembered == self.accepted
            assert await self.stage.db.fetchval("select count(*) from invocation") == 0

    return Story


@pytest.mark.timeout(120)
def test_random_stories_keep_the_promises(postgres_server_url: str, database_template: str) -> None:
    run_state_machine_as_test(
        story_of(postgres_server_url, database_template),
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
