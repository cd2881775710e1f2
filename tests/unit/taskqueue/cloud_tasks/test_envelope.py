"""The body of a pushed task, as it is written and as others wrote it."""

from __future__ import annotations

import json

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import NullValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from ostinato.errors import InvalidArgument
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.taskqueue.cloud_tasks.envelope import (
    Envelope,
    NoEnvelopeError,
    NoPayloadError,
    decode_envelope,
    decode_payload,
    encode_envelope,
)


def test_an_envelope_is_written_as_it_always_was() -> None:
    written = encode_envelope("test-dur", Duration(seconds=10))
    assert written == b'{\n\t"class": "test-dur",\n\t"type": "google.protobuf.Duration",\n\t"body": "10s"\n}'


def test_what_was_written_is_read() -> None:
    for payload in (TriageJobTask(job_id=1 << 60), StringValue(value="Grüße\n"), Duration(nanos=5)):
        envelope = decode_envelope(encode_envelope("a-class", payload))
        assert (envelope.class_name, envelope.type_name) == ("a-class", payload.DESCRIPTOR.full_name)
        assert decode_payload(envelope, type(payload)) == payload


def too_deep() -> Struct:
    deep = Struct()
    inner = deep
    for _ in range(500):
        inner["x"] = {}
        inner = inner["x"]
    return deep


@pytest.mark.parametrize(
    "payload",
    [
        Timestamp(seconds=10**15),
        Value(number_value=float("nan")),
        Any(type_url="type.googleapis.com/moon.Phase", value=b"1"),
        too_deep(),
    ],
    ids=["year", "number", "type", "depth"],
)
def test_what_has_no_form_in_json_is_refused_when_it_is_added(payload: Message) -> None:
    with pytest.raises(InvalidArgument, match="payload: can't be written as JSON"):
        encode_envelope("x", payload)


def test_enums_are_numbers() -> None:
    written = json.loads(encode_envelope("x", Value(null_value=NullValue.NULL_VALUE)))
    assert written["body"] is None  # the one enum that JSON has a word for
    assert decode_payload(Envelope("x", "", {"jobId": "7"}), TriageJobTask) == TriageJobTask(job_id=7)


def test_an_envelope_of_the_older_library_has_a_type_only() -> None:
    envelope = decode_envelope(b'{"type":"google.protobuf.Duration","body":"123s"}')
    assert envelope == Envelope("", "google.protobuf.Duration", "123s")
    assert decode_payload(envelope, Duration) == Duration(seconds=123)


def test_fields_that_nobody_knows_are_passed_over() -> None:
    envelope = decode_envelope(b'{"class":"x","body":{"jobId":"7","moon":"full"},"later":1}')
    assert decode_payload(envelope, TriageJobTask) == TriageJobTask(job_id=7)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"class"',
        b"{}",
        b'{"body":"10s"}',
        b'{"class":7}',
        b'{"type":[1]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_envelope_is_told_apart(body: bytes) -> None:
    with pytest.raises(NoEnvelopeError):
        decode_envelope(body)


@pytest.mark.parametrize(
    "payload", [None, 7, "10s", [], {"jobId": "many"}, {"jobId": []}, {"jobId": 1 << 70}, {"jobId": 1.5}]
)
def test_what_is_no_payload_of_its_class_is_told_apart(payload: object) -> None:
    with pytest.raises(NoPayloadError):
        decode_payload(Envelope("x", "", payload), TriageJobTask)
