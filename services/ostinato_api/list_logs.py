"""ListLogs: the lines of an invocation's log, oldest first."""

from __future__ import annotations

from ostinato.auth.call_access import CallAccess
from ostinato.jobstore.log_listing_store import BEFORE_ALL, ListedLine, LogPosition, list_log_lines
from ostinato.pb.scheduler.v1.invocations_pb2 import ListLogsRequest, ListLogsResponse, LogLine
from ostinato_api.api_resources import ApiResources
from ostinato_api.get_invocation import get_invocation_scope
from ostinato_api.paging import cut_page
from ostinato_api.proto_time import set_time
from ostinato_api.request_checks import RequestChecks


async def list_logs(api: ApiResources, access: CallAccess, request: ListLogsRequest) -> ListLogsResponse:
    checks = RequestChecks()
    key = checks.invocation(request.parent, "parent")
    page = checks.page(api.page_tokens, request, ("ListLogs", request.parent), (int, int))
    checks.finish()
    await get_invocation_scope(api.db, access, key)
    after = BEFORE_ALL if page.cursor is None else (int(page.cursor[0]), int(page.cursor[1]))
    found = await list_log_lines(api.db, key.id, after=after, limit=page.limit + 1)
    lines, next_token = cut_page(page, api.page_tokens, found, line_message, _cursor)
    return ListLogsResponse(lines=lines, next_page_token=next_token)


def line_message(line: ListedLine) -> LogLine:
    message = LogLine(text=line.line)
    set_time(message.time, line.at)
    return message


def _cursor(line: ListedLine) -> LogPosition:
    return line.position
