"""How much may be under way to one subscriber at a time. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What was delivered to one subscriber and is neither acknowledged nor given back."""

    messages: int = 0
    size: int = 0

    def with_one_more(self, size: int) -> Outstanding:
        return Outstanding(self.messages + 1, self.size + size)

    def with_one_less(self, size: int) -> Outstanding:
        return Outstanding(self.messages - 1, self.size - size)


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Nothing more is sent once one of them is reached, so the last message may exceed `size`. Absent: no limit."""

    messages: int | None = None
    size: int | None = None

    @classmethod
    def asked(cls, messages: int, size: int) -> FlowLimits:
        """As a request says it: zero and less mean no limit."""
        return cls(messages if messages > 0 else None, size if size > 0 else None)

    def admit(self, outstanding: Outstanding) -> bool:
        if self.messages is not None and outstanding.messages >= self.messages:
            return False
        return self.size is None or outstanding.size < self.size


NO_LIMITS = FlowLimits()
