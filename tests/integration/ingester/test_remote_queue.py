"""Reports where tasks wait in Cloud Tasks: what was answered is kept here, whatever Cloud Tasks says to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.rpc.report_rules import MAX_LOG_BYTES, MAX_LOG_LINE_BYTES
from ostinato.storage.database import Database
from ostinato.taskqueue.reminders.reminder import decode_reminder
from ostinato_ingester.main import Ingester, open_ingester
from tests.integration.ingester.running_work import ingester_settings, notify_http, stored_tasks
from tests.integration.taskqueue.contract.local_cloud import LocalCloud


@pytest.fixture
async def ingester(database_url: str, cloud: LocalCloud) -> AsyncIterator[Ingester]:
    async with cloud.client as client:
        await client.create_queue(parent=cloud.queue_path("").rpartition("/queues/")[0], queue=queue_of(cloud))
        await client.pause_queue(name=cloud.queue_path("notifications"))
    async with open_ingester(replace(ingester_settings(database_url), cloud_tasks=cloud.settings)) as opened:
        yield opened


def queue_of(cloud: LocalCloud) -> dict[str, str]:
    return {"name": cloud.queue_path("notifications")}


async def reminded(database: Database) -> list[str]:
    """Classes of tasks that are not in Cloud Tasks yet."""
    rows = await database.fetch("select payload from tq_reminder")
    return [reminder.task_class for row in rows if (reminder := decode_reminder(row["payload"]))]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "NOT_FOUND"])
async def test_a_report_is_taken_although_cloud_tasks_does_not_take_it(
    ingester: Ingester, cloud: LocalCloud, database: Database, code: str
) -> None:
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED, code=code))
    answer = await notify_http(ingester, {"status": "SUCCEEDED"})
    assert (answer.status, answer.text) == (204, "")
    assert await reminded(database) == ["handle-notification"]


async def test_a_report_that_is_too_large_for_cloud_tasks_waits_in_the_database(
    ingester: Ingester, cloud: LocalCloud, database: Database
) -> None:
    """Control characters are six times as long in JSON."""
    line = "\x01" * MAX_LOG_LINE_BYTES
    lines = [line] * (MAX_LOG_BYTES // len(line))
    assert (await notify_http(ingester, {"status": "SUCCEEDED", "log_lines": lines})).status == 204
    assert [list(task.notification.log_lines) for task in await stored_tasks(database)] == [lines]
    assert (await reminded(database), cloud.task_names()) == ([], [])
    assert (await notify_http(ingester, {"status": "SUCCEEDED", "log_lines": lines[:3]})).status == 204
    assert len(await stored_tasks(database)) == 1


async def test_a_report_waits_in_cloud_tasks_whenever_it_fits_and_is_taken_whatever_its_size(
    ingester: Ingester, database: Database
) -> None:
    """What may fit was guessed by a size before it is encoded: lists in lists became seven times as much."""
    line = "x" * MAX_LOG_LINE_BYTES
    here = []
    for last in range(0, MAX_LOG_LINE_BYTES + 1, MAX_LOG_LINE_BYTES // 8):
        report = {"status": "SUCCEEDED", "log_lines": [line] * 24 + [line[:last]]}
        assert (await notify_http(ingester, report)).status == 204
        here.append(len(await stored_tasks(database)))
    assert (here[0], here[-1]) == (0, len(here) - here.count(0))
    assert here.count(0) < len(here)
