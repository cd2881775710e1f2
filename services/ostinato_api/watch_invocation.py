"""WatchInvocation: an invocation and its log as they are, then every change, until the last line of its end.

Nothing is told twice and nothing is left out: a response carries the lines behind a place and a token for the place
behind them. A sign of life alone is no change.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from ostinato.auth.call_access import CallAccess
from ostinato.auth.page_token import PageTokens
from ostinato.jobstore.invocation_listing_store import listed_from_row
from ostinato.jobstore.log_listing_store import BEFORE_ALL, LogPosition
from ostinato.jobstore.watch_store import WatchNews, WatchPlace
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation, WatchInvocationRequest, WatchInvocationResponse
from ostinato_api.api_resources import ApiResources
from ostinato_api.get_invocation import get_invocation_scope
from ostinato_api.invocation_message import invocation_message
from ostinato_api.list_logs import line_message
from ostinato_api.request_checks import RequestChecks


async def watch_invocation(
    api: ApiResources, access: CallAccess, request: WatchInvocationRequest
) -> AsyncGenerator[WatchInvocationResponse, None]:
    checks = RequestChecks()
    key = checks.invocation(request.name)
    stream = ("WatchInvocation", request.name)
    cursor = checks.resumed(api.page_tokens, request.resume_token, stream, (int, int))
    checks.finish()
    await get_invocation_scope(api.db, access, key)
    place = WatchPlace(key.id, position=BEFORE_ALL if cursor is None else (int(cursor[0]), int(cursor[1])))
    told = _Told(api.page_tokens, stream)
    with api.watches.seat():
        while not told.all:
            news = await api.watches.next_news(place)
            if news.gone:
                raise access.not_found(request.name)
            place = news.next_place
            if (response := told.tell(news)) is not None:
                yield response


class _Told:
    """What the caller knows."""

    def __init__(self, tokens: PageTokens, stream: tuple[str, ...]) -> None:
        self._tokens = tokens
        self._stream = stream
        self._invocation: Invocation | None = None
        self.all = False

    def tell(self, news: WatchNews) -> WatchInvocationResponse | None:
        """None if it would say nothing."""
        invocation = None if news.row is None else invocation_message(listed_from_row(news.row))
        is_new = invocation is not None and _essence(invocation) != self._invocation
        if invocation is not None:
            self._invocation = _essence(invocation)
        self.all = not news.more_lines and self._invocation is not None and self._invocation.final
        if not is_new and not news.lines:
            return None
        return WatchInvocationResponse(
            invocation=invocation if is_new else None,
            lines=[line_message(line) for line in news.lines],
            resume_token=self._token(news.next_place.position),
        )

    def _token(self, position: LogPosition) -> str:
        return self._tokens.make(self._stream, position)


def _essence(invocation: Invocation) -> Invocation:
    """All but the time of its last sign of life, which moves all the time."""
    copy = Invocation()
    copy.CopyFrom(invocation)
    copy.ClearField("last_heartbeat_time")
    return copy
