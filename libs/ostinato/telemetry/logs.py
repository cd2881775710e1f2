"""Log records as JSON lines on stderr, from structlog and from the standard library alike.

Nothing secret may be logged in the first place. For whatever an error's text repeats: passwords inside URLs, bearer
tokens and fields that are called secret are cut out.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from ostinato.telemetry.tracing import current_traceparent

_PASSWORD_IN_URL = re.compile(r"(\w://[^\s:/@]*):[^\s/]*@")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+")
_SECRET_FIELDS = re.compile(r"(?i)token|secret|password|authorization|cookie")
_HIDDEN = "***"
_QUIET = ("asyncio", "aiohttp", "grpc")

EventDict = MutableMapping[str, Any]


def configure_logging(level: str, service: str, *, stream: TextIO | None = None) -> None:
    """Call once, first thing in `main`. `level` as in the settings: debug, info, warning, error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _add_trace,
        _ServiceName(service),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_json_formatter(shared))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _json_formatter(shared: list[structlog.typing.Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _cut_secrets,
            structlog.processors.JSONRenderer(default=str),
        ],
    )


class _ServiceName:
    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        event["service"] = self._service
        return event


def _add_trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    if traceparent := current_traceparent():
        event["trace"] = traceparent.split("-")[1]
    return event


def _cut_secrets(_logger: object, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if _SECRET_FIELDS.search(key):
            event[key] = _HIDDEN
        elif isinstance(value, str):
            event[key] = _without_secrets(value)
    return event


def _without_secrets(text: str) -> str:
    if "://" in text:
        text = _PASSWORD_IN_URL.sub(rf"\1:{_HIDDEN}@", text)
    return _BEARER.sub(rf"\1{_HIDDEN}", text)
