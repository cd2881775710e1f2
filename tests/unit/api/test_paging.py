"""Pages are as long as asked for, shorter when they grow too large, and always go on where they ended."""

from __future__ import annotations

from ostinato.auth.page_token import PageTokens
from ostinato.pb.scheduler.v1.invocations_pb2 import ListLogsRequest, LogLine
from ostinato_api.paging import MAX_PAGE_BYTES, cut_page
from ostinato_api.request_checks import Page, RequestChecks

TOKENS = PageTokens(b"s" * 32)
LISTING = ("ListLogs", "x")


def cut(items: list[int], limit: int, size: int = 1) -> tuple[list[str], str]:
    shown, token = cut_page(
        Page(LISTING, limit, None),
        TOKENS,
        items,
        lambda item: LogLine(text=f"{item}".ljust(size)),
        lambda item: (item,),
    )
    return [line.text.strip() for line in shown], token


def test_a_page_with_nothing_behind_it_has_no_token() -> None:
    assert cut([], 3) == ([], "")
    assert cut([1, 2, 3], 3) == (["1", "2", "3"], "")


def test_one_more_than_the_page_means_that_there_are_more() -> None:
    shown, token = cut([1, 2, 3, 4], 3)
    assert shown == ["1", "2", "3"]
    assert TOKENS.read(LISTING, token, (int,)) == (3,)


def test_a_page_that_grows_too_large_ends_early() -> None:
    shown, token = cut([1, 2, 3], 3, size=MAX_PAGE_BYTES // 2)
    assert shown == ["1"]
    assert TOKENS.read(LISTING, token, (int,)) == (1,)


def test_an_item_that_is_too_large_by_itself_is_shown_alone() -> None:
    assert cut([1], 3, size=MAX_PAGE_BYTES + 1) == (["1"], "")
    shown, token = cut([1, 2], 3, size=MAX_PAGE_BYTES + 1)
    assert shown == ["1"]
    assert token


def test_a_request_s_token_becomes_the_cursor() -> None:
    checks = RequestChecks()
    token = TOKENS.make(LISTING, (7,))
    assert checks.page(TOKENS, ListLogsRequest(page_token=token), LISTING, (int,)).cursor == (7,)
    assert checks.page(TOKENS, ListLogsRequest(), LISTING, (int,)).cursor is None
    checks.finish()
