"""What a release has stored, every later one must read: messages and cron rows of the past, kept as files.

A file is never changed. What is new gets a file of its own, in the folder of its month.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.jobflow.timetables import cached_timetable
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.pb.taskqueue.v1.reminder_pb2 import Reminder
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.scheduling.cron_machine import CronState, on_due
from ostinato.taskqueue.cloud_tasks.envelope import decode_envelope, decode_payload
from ostinato.taskqueue.task_header import decode_header

HERE = Path(__file__).parent


def kept(kind: str) -> list[Any]:
    """The files of a kind, each a parameter with its name."""
    return [
        pytest.param(form, id=f"{path.parent.name}-{path.stem}")
        for path in sorted(HERE.glob("*/*.json"))
        if (form := json.loads(path.read_text()))["kind"] == kind
    ]


def instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


# What is stored beside tasks of the engine.
OTHERS: tuple[type[Message], ...] = (Trigger, TriggerList, Reminder, SweepTask)
CLASSES = {kind.DESCRIPTOR.full_name: kind for kind in (*(each.payload for each in ENGINE_TASK_CLASSES), *OTHERS)}


@pytest.mark.parametrize("form", kept("message"))
def test_a_message_says_what_it_said(form: dict[str, Any]) -> None:
    message = CLASSES[form["type"]].FromString(b64decode(form["stored"]))
    assert MessageToDict(message, preserving_proto_field_name=True) == form["says"]


@pytest.mark.parametrize("form", kept("definition"))
def test_a_definition_means_what_it_meant(form: dict[str, Any]) -> None:
    definition = decode_definition(b64decode(form["stored"]))
    meant = {name: str(_of(definition, name)) for name in form["means"]}
    assert meant == form["means"]


def _of(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("form", kept("cron"))
def test_a_cron_row_fires_what_it_would_have_fired(form: dict[str, Any]) -> None:
    state = CronState(
        enabled=form["enabled"],
        generation=form["generation"],
        last_rewind_at=instant(form["last_rewind_at"]),
        slot=instant(form["slot"]),
        due_at=instant(form["due_at"]),
    )
    timetable = cached_timetable(form["schedule"], b64decode(form["terms"]), form["job_name"])
    step = on_due(state, timetable, datetime.fromisoformat(form["now"]))
    assert form["next_slot"] == (None if step.state.slot is None else step.state.slot.isoformat())
    assert form["next_due_at"] == (None if step.state.due_at is None else step.state.due_at.isoformat())
    assert step.state.generation > form["generation"]


@pytest.mark.parametrize("form", kept("header"))
def test_a_task_header_says_what_it_said(form: dict[str, Any]) -> None:
    header = decode_header(form["stored"].encode())
    assert {name: str(getattr(header, name)) for name in form["says"]} == form["says"]


@pytest.mark.parametrize("form", kept("envelope"))
def test_the_body_of_a_push_carries_what_it_carried(form: dict[str, Any]) -> None:
    envelope = decode_envelope(form["stored"].encode())
    payload = decode_payload(envelope, CLASSES[form["type"]])
    assert MessageToDict(payload, preserving_proto_field_name=True) == form["says"]


def test_every_task_of_the_engine_and_every_trigger_has_a_file() -> None:
    assert CLASSES.keys() == {form.values[0]["type"] for form in kept("message")}
    payloads = {field.name for field in Trigger.DESCRIPTOR.oneofs_by_name["payload"].fields}
    assert payloads == set(_payloads_kept())


def _payloads_kept() -> Iterator[str]:
    for form in kept("message"):
        if form.values[0]["type"] == Trigger.DESCRIPTOR.full_name:
            payload = Trigger.FromString(b64decode(form.values[0]["stored"])).WhichOneof("payload")
            assert payload is not None
            yield payload
