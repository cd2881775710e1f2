"""Log lines as operators and machines read them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from ostinato.telemetry.logs import configure_logging
from ostinato.telemetry.tracing import use_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    captured = io.StringIO()
    configure_logging("info", "engine", stream=captured)
    yield captured
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_kinds_of_loggers_write_the_same_shape(stream: io.StringIO) -> None:
    structlog.get_logger("ostinato.a").info("claimed", tasks=3)
    logging.getLogger("ostinato.b").info("claimed %d", 3, extra={"tasks": 3})
    ours, theirs = lines(stream)
    assert (ours["event"], theirs["event"]) == ("claimed", "claimed 3")
    assert ours["tasks"] == theirs["tasks"] == 3
    assert (ours["logger"], theirs["logger"]) == ("ostinato.a", "ostinato.b")
    assert {ours["service"], theirs["service"]} == {"engine"}
    assert str(ours["time"]).endswith("Z")


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    logging.getLogger("ostinato.a").debug("quiet")
    structlog.get_logger("ostinato.a").debug("quiet")
    assert lines(stream) == []


def test_an_exception_is_one_line(stream: io.StringIO) -> None:
    try:
        int("no such slot")
    except ValueError:
        logging.getLogger("ostinato.a").exception("failed")
    (line,) = lines(stream)
    assert "no such slot" in str(line["exception"])
    assert line["level"] == "error"


def test_passwords_in_urls_are_cut_out_everywhere(stream: io.StringIO) -> None:
    logging.getLogger("a").warning("lost %s", "postgresql://ostinato:hu@sh@127.0.0.1:5432/db")
    structlog.get_logger("a").warning("lost", url="postgresql://ostinato:hush@127.0.0.1/db")
    assert "hu" not in stream.getvalue().replace("127.0.0.1", "")
    assert lines(stream)[0]["event"] == "lost postgresql://ostinato:***@127.0.0.1:5432/db"


def test_bearer_tokens_and_fields_called_secret_are_cut_out(stream: io.StringIO) -> None:
    logging.getLogger("a").warning("sent Authorization: Bearer hush.hush-_hush=")
    structlog.get_logger("a").warning("sent", notify_token="hush", Authorization="hush", task=3)
    assert "hush" not in stream.getvalue()
    text, fields = lines(stream)
    assert text["event"] == "sent Authorization: Bearer ***"
    assert (fields["notify_token"], fields["task"]) == ("***", 3)


def test_the_current_trace_is_named(stream: io.StringIO) -> None:
    with use_traceparent(f"00-{TRACE}-00f067aa0ba902b7-01"):
        logging.getLogger("a").info("inside")
    logging.getLogger("a").info("outside")
    inside, outside = lines(stream)
    assert inside["trace"] == TRACE
    assert "trace" not in outside
