"""Page tokens are good for the listing they were made for, unaltered, and for nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.auth.page_token import PageTokens
from ostinato.errors import InvalidArgument

TOKENS = PageTokens(b"s" * 32)
LISTING = ("ListJobs", "projects/shop")
CURSORS = st.lists(st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=5)


@given(CURSORS)
def test_a_token_says_where_it_was_made(items: list[int | str]) -> None:
    token = TOKENS.make(LISTING, tuple(items))
    assert TOKENS.read(LISTING, token, [type(item) for item in items]) == tuple(items)


def refused(token: str, listing: tuple[str, ...] = LISTING, shape: tuple[type[int | str], ...] = (str, int)) -> bool:
    with pytest.raises(InvalidArgument) as caught:
        TOKENS.read(listing, token, shape)
    return [violation.path for violation in caught.value.violations] == ["page_token"]


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_a_token_with_one_bit_altered_is_refused(position: int, bit: int) -> None:
    raw = bytearray(_raw(TOKENS.make(LISTING, ("shop", 17))))
    raw[position % len(raw)] ^= 1 << bit
    assert refused(base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode())


@pytest.mark.parametrize(
    "listing",
    [("ListJobs", "projects/shop2"), ("ListTriggers", "projects/shop"), ("ListJobsprojects/shop",), ("ListJobs",)],
)
def test_a_token_of_another_listing_is_refused(listing: tuple[str, ...]) -> None:
    assert refused(TOKENS.make(LISTING, ("shop", 17)), listing)


def test_a_token_of_another_deployment_is_refused() -> None:
    assert refused(PageTokens(b"t" * 32).make(LISTING, ("shop", 17)))


@pytest.mark.parametrize("shape", [(str,), (str, str), (int, str), (str, int, int), ()])
def test_a_cursor_of_another_shape_is_refused(shape: tuple[type[int | str], ...]) -> None:
    assert refused(TOKENS.make(LISTING, ("shop", 17)), shape=shape)


@pytest.mark.parametrize("change", ["{}=", "{}A", " {}", "{}\n", "+{}", "{}é", "x" * 9000, "A", "%%%", "{}{}"])
def test_text_that_is_no_token_is_refused(change: str) -> None:
    token = TOKENS.make(LISTING, ("shop", 17))
    assert refused(change.format(token, token))


def _raw(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
