"""Callers that were gone before their answer: gRPC logs each as an error with a traceback, which it is not."""

from __future__ import annotations

import logging

_LOGGER = "grpc._cython.cygrpc"
_NOT_SENT = "ExecuteBatchError raised in core by servicer method"


class _UnsentAnswers(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.getMessage().startswith(_NOT_SENT):
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
            record.msg = f"an answer was not sent, its caller is gone: {record.getMessage()[len(_NOT_SENT) :].strip()}"
            record.args, record.exc_info = (), None
        return True


_UNSENT_ANSWERS = _UnsentAnswers()


def tell_unsent_answers() -> None:
    """Makes such records one line each, at info. May be called again."""
    logging.getLogger(_LOGGER).addFilter(_UNSENT_ANSWERS)
