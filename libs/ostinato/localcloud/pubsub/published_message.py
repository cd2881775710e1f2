"""A message as a topic keeps it, and what makes one acceptable. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.errors import InvalidArgument, Violation

PUBLISH_MESSAGES = 1000
PUBLISH_BYTES = 10_000_000
_ATTRIBUTES = 100
_KEY_BYTES = 256
_VALUE_BYTES = 1024
_ORDERING_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class MessageDraft:
    """What a publisher gives."""

    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str

    @property
    def size(self) -> int:
        """Bytes of what the publisher wrote."""
        texts = sum(_bytes(key) + _bytes(value) for key, value in self.attributes.items())
        return len(self.data) + texts + _bytes(self.ordering_key)


@dataclass(frozen=True, slots=True)
class PublishedMessage:
    """A draft with what the service adds. `size` is kept because flow control asks for it again and again."""

    message_id: str
    publish_time: datetime
    draft: MessageDraft
    size: int


def check_drafts(drafts: Sequence[MessageDraft]) -> None:
    """Raises with every rule that one publish request breaks."""
    violations = [*_break_as_a_whole(drafts), *_break_one_by_one(drafts)]
    if violations:
        raise InvalidArgument(violations)


def _break_as_a_whole(drafts: Sequence[MessageDraft]) -> Iterator[Violation]:
    if not drafts:
        yield Violation("messages", "must hold at least one message")
    if len(drafts) > PUBLISH_MESSAGES:
        yield Violation("messages", f"must be at most {PUBLISH_MESSAGES}, there are {len(drafts)}")
    if (size := sum(draft.size for draft in drafts)) > PUBLISH_BYTES:
        yield Violation("messages", f"must be at most {PUBLISH_BYTES} bytes together, they are {size}")
    if len({draft.ordering_key for draft in drafts}) > 1:
        yield Violation("messages", "must all have the same ordering_key, or none")


def _break_one_by_one(drafts: Sequence[MessageDraft]) -> Iterator[Violation]:
    for index, draft in enumerate(drafts):
        for rule in _broken_rules(draft):
            yield Violation(f"messages[{index}]", rule)


def _broken_rules(draft: MessageDraft) -> Iterator[str]:
    if not draft.data and not draft.attributes:
        yield "must have data or at least one attribute"
    if len(draft.attributes) > _ATTRIBUTES:
        yield f"must have at most {_ATTRIBUTES} attributes"
    if _bytes(draft.ordering_key) > _ORDERING_KEY_BYTES:
        yield f"its ordering_key must be at most {_ORDERING_KEY_BYTES} bytes"
    for key, value in draft.attributes.items():
        if not key or _bytes(key) > _KEY_BYTES:
            yield f"keys of its attributes must be 1 to {_KEY_BYTES} bytes"
        if key.startswith("goog"):
            yield "keys of its attributes must not begin with goog"
        if _bytes(value) > _VALUE_BYTES:
            yield f"values of its attributes must be at most {_VALUE_BYTES} bytes"


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
