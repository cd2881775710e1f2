"""The table of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """`facts` and `broken` by name, in the order of the table. Of each rule what breaks it."""

    seed: int
    facts: Mapping[str, str]
    broken: Mapping[str, Sequence[str]]
    logged: Counter[str]

    @property
    def passed(self) -> bool:
        return not any(self.broken.values())


def table(outcome: Outcome) -> str:
    lines = [f"chaos, seed {outcome.seed}", ""]
    lines += [f"  {name:<42} {fact}" for name, fact in outcome.facts.items()]
    lines += [""]
    lines += [
        f"  {name:<42} {len(found) or 0}{'' if not found else '   <-- must be 0'}"
        for name, found in outcome.broken.items()
    ]
    return "\n".join(lines)


def details(outcome: Outcome) -> str:
    """What broke which rule, and what the services had to say."""
    lines: list[str] = []
    for name, found in outcome.broken.items():
        if found:
            lines += ["", f"{name}: {len(found)}", *(f"  {text}" for text in found[:_SHOWN])]
    lines += ["", "logged:", *(f"  {count:>6} {text}" for text, count in outcome.logged.most_common(40))]
    return "\n".join(lines)
