from __future__ import annotations

from ostinato.errors import InvalidArgument, Unauthenticated
from ostinato_ingester.pubsub_message import PubSubMessage
from ostinato_ingester.refused_reports import MAX_SHOWN_BYTES, describe_refusal


def test_a_refusal_tells_reason_origin_and_the_original() -> None:
    message = PubSubMessage("17", b'{"status": 1}', {"notification_token": "secret", "a": "b"})
    refused = describe_refusal(
        InvalidArgument.of("status", "must be a status"), message, kind="http", publisher="worker@shop.example"
    )
    assert refused.reason == "INVALID_ARGUMENT: status: must be a status"
    assert (refused.kind, refused.publisher, refused.message_id) == ("http", "worker@shop.example", "17")
    assert (refused.data, refused.data_bytes) == ('{"status": 1}', 13)
    assert dict(refused.attributes) == {"notification_token": "***", "a": "b"}


def test_whatever_comes_is_bounded_text_that_protos_and_databases_take() -> None:
    endless = "\x00\ud800ä" * 100_000
    message = PubSubMessage(endless, b"\x00\xff" * 100_000, {f"{endless}{n}": endless for n in range(100)})
    refused = describe_refusal(InvalidArgument.of(endless, endless), message, kind=endless, publisher=endless)
    assert refused.ByteSize() < 4 * MAX_SHOWN_BYTES
    assert refused.data_bytes == 200_000
    assert b"\x00" not in refused.reason.encode()
    assert b"\x00" not in refused.data.encode()


def test_a_bad_token_is_told_without_it() -> None:
    message = PubSubMessage("17", b'{"token": "secret"}')
    refused = describe_refusal(Unauthenticated("not valid"), message, kind="http", publisher="")
    assert b"secret" not in refused.SerializeToString()
