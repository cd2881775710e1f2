"""The filter language of subscriptions: comparisons of attributes, AND, OR, NOT and parentheses. Pure.

AND and OR are mixed only inside parentheses, and operators are upper-case, as Pub/Sub has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ostinato.errors import InvalidArgument

FILTER_BYTES = 256

Matches = Callable[[Mapping[str, str]], bool]

_TOKEN = re.compile(r"\s*(?:(?P<text>\"(?:[^\"\\]|\\.)*\")|(?P<word>[A-Za-z_][\w-]*)|(?P<sign>!=|[=:.,()-]))")
_DEEPEST = 50


def everything(_: Mapping[str, str]) -> bool:
    return True


def parse_filter(text: str) -> Matches:
    """What the filter lets through, by a message's attributes. Raises InvalidArgument."""
    if not text.strip():
        return everything
    if len(text.encode()) > FILTER_BYTES:
        raise _refused(f"must be at most {FILTER_BYTES} bytes")
    parser = _Parser(list(_tokens(text)))
    matches = parser.expression(0)
    parser.expect_end()
    return matches


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # text, word or sign
    text: str


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None:
            raise _refused(f"can't be read at {text[position:].strip()[:20]!r}")
        position = found.end()
        kind = found.lastgroup or ""
        yield _Token(kind, _unquoted(found[kind]) if kind == "text" else found[kind])


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise _refused(f"has a string with a bad escape: {text[:20]}") from None


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def expression(self, depth: int) -> Matches:
        if depth > _DEEPEST:
            raise _refused("is nested too deeply")
        terms = [self._term(depth)]
        operator = self._operator()
        while operator and self._accept("word", operator):
            terms.append(self._term(depth))
        if self._operator():
            raise _refused("mixes AND and OR without parentheses")
        return _all_of(terms) if operator == "AND" else _any_of(terms)

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            raise _refused(f"goes on where it should end, at {self._tokens[self._next].text[:20]!r}")

    def _operator(self) -> str:
        """The operator that comes next, if one does."""
        return next((name for name in ("AND", "OR") if self._comes("word", name)), "")

    def _term(self, depth: int) -> Matches:
        if depth > _DEEPEST:
            raise _refused("is nested too deeply")
        if self._accept("word", "NOT") or self._accept("sign", "-"):
            return _not(self._term(depth + 1))
        if self._accept("sign", "("):
            inner = self.expression(depth + 1)
            self._expect("sign", ")")
            return inner
        return self._comparison()

    def _comparison(self) -> Matches:
        if self._accept("word", "hasPrefix"):
            return self._prefix()
        self._expect("word", "attributes")
        if self._accept("sign", ":"):
            return _has(self._key())
        self._expect("sign", ".")
        key = self._key()
        if self._accept("sign", "!="):
            return _not(_equals(key, self._text()))
        self._expect("sign", "=")
        return _equals(key, self._text())

    def _prefix(self) -> Matches:
        self._expect("sign", "(")
        self._expect("word", "attributes")
        self._expect("sign", ".")
        key = self._key()
        self._expect("sign", ",")
        prefix = self._text()
        self._expect("sign", ")")
        return _begins(key, prefix)

    def _key(self) -> str:
        return self._take("a key", "word", "text")

    def _text(self) -> str:
        return self._take("a string in double quotes", "text")

    def _take(self, wanted: str, *kinds: str) -> str:
        if self._next < len(self._tokens) and self._tokens[self._next].kind in kinds:
            self._next += 1
            return self._tokens[self._next - 1].text
        raise _refused(f"lacks {wanted} {self._where()}")

    def _comes(self, kind: str, text: str) -> bool:
        return self._next < len(self._tokens) and self._tokens[self._next] == _Token(kind, text)

    def _accept(self, kind: str, text: str) -> bool:
        if not self._comes(kind, text):
            return False
        self._next += 1
        return True

    def _expect(self, kind: str, text: str) -> None:
        if not self._accept(kind, text):
            raise _refused(f"lacks {text!r} {self._where()}")

    def _where(self) -> str:
        return f"at {self._tokens[self._next].text[:20]!r}" if self._next < len(self._tokens) else "at its end"


def _all_of(terms: list[Matches]) -> Matches:
    return lambda attributes: all(term(attributes) for term in terms)


def _any_of(terms: list[Matches]) -> Matches:
    return lambda attributes: any(term(attributes) for term in terms)


def _not(term: Matches) -> Matches:
    return lambda attributes: not term(attributes)


def _has(key: str) -> Matches:
    return lambda attributes: key in attributes


def _equals(key: str, value: str) -> Matches:
    return lambda attributes: attributes.get(key) == value


def _begins(key: str, prefix: str) -> Matches:
    return lambda attributes: key in attributes and attributes[key].startswith(prefix)


def _refused(rule: str) -> InvalidArgument:
    return InvalidArgument.of("filter", rule)
