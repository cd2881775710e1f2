"""Filters of subscriptions."""

from __future__ import annotations

import pytest

from ostinato.errors import InvalidArgument
from ostinato.localcloud.pubsub.message_filter import FILTER_BYTES, parse_filter


@pytest.mark.parametrize(
    ("text", "attributes", "passes"),
    [
        ("", {}, True),
        ("  ", {}, True),
        ("attributes:a", {"a": ""}, True),
        ("attributes:a", {"b": "x"}, False),
        ('attributes.a = "x"', {"a": "x"}, True),
        ('attributes.a="x"', {"a": "y"}, False),
        ('attributes.a = "x"', {}, False),
        ('attributes.a != "x"', {"a": "y"}, True),
        ('attributes.a != "x"', {}, True),
        ('hasPrefix(attributes.a, "x")', {"a": "xy"}, True),
        ('hasPrefix(attributes.a, "")', {}, False),
        ("NOT attributes:a", {}, True),
        ("-attributes:a", {"a": "x"}, False),
        ("NOT NOT attributes:a", {"a": "x"}, True),
        ("attributes:a AND attributes:b", {"a": "1"}, False),
        ("attributes:a AND attributes:b AND attributes:c", {"a": "1", "b": "2", "c": "3"}, True),
        ("attributes:a OR attributes:b", {"b": "1"}, True),
        ("NOT attributes:a AND attributes:b", {"b": "1"}, True),
        ("attributes:a AND (attributes:b OR attributes:c)", {"a": "1", "c": "1"}, True),
        ("attributes:a AND NOT (attributes:b OR attributes:c)", {"a": "1", "c": "1"}, False),
        ('attributes:"a key"', {"a key": "x"}, True),
        ('attributes.a = "say \\"x\\" \\u00e4"', {"a": 'say "x" ä'}, True),
        ("attributes:dash-ed_key", {"dash-ed_key": ""}, True),
    ],
)
def test_what_passes(text: str, attributes: dict[str, str], passes: bool) -> None:
    assert parse_filter(text)(attributes) is passes


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "attributes",
        "attributes.a",
        "attributes.a =",
        "attributes.a = x",
        "attributes.a == 'x'",
        'attributes.a = "x',
        'attributes.a = "\\q"',
        "attributes:a AND",
        "AND attributes:a",
        "attributes:a attributes:b",
        "attributes:a and attributes:b",
        "attributes:a AND attributes:b OR attributes:c",
        "attributes:a OR attributes:b AND attributes:c",
        "(attributes:a",
        "attributes:a)",
        "()",
        "hasPrefix(attributes:a)",
        'hasPrefix(attributes.a "x")',
        'data = "x"',
        "attributes:a;",
        "(" * 100 + "attributes:a" + ")" * 100,
        "-" * 200 + "attributes:a",
    ],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_filter(text)
    assert [violation.path for violation in raised.value.violations] == ["filter"]


def test_a_filter_has_a_limit_in_bytes() -> None:
    longest = "attributes:" + "a" * (FILTER_BYTES - len("attributes:"))
    assert parse_filter(longest)
    for longer in (longest + "a", longest[:-1] + "ä"):
        with pytest.raises(InvalidArgument, match="256 bytes"):
            parse_filter(longer)
