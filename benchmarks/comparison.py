"""One line of the report, and what it should reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Series


@dataclass(frozen=True, slots=True)
class Comparison:
    """`raw` is None where a bare loop has nothing to compare. `first` must hold; `goal` is what we want."""

    work: str
    unit: str
    ours: Series
    raw: Series | None = None
    first: Target | None = None
    goal: Target | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.raw is None or not self.raw.median else self.ours.median / self.raw.median


@dataclass(frozen=True, slots=True)
class Target:
    text: str
    reached: Callable[[Comparison], bool]

    def __or__(self, other: Target) -> Target:
        return Target(f"{self.text} or {other.text}", lambda line: self.reached(line) or other.reached(line))

    def __and__(self, other: Target) -> Target:
        return Target(f"{self.text}, {other.text}", lambda line: self.reached(line) and other.reached(line))


def ratio_at_least(least: float) -> Target:
    """Ours / raw of the same run."""
    return Target(f"≥ {least:g} × raw", lambda line: (line.ratio or 0.0) >= least)


def at_least(least: float, unit: str) -> Target:
    return Target(f"≥ {least:,} {unit}", lambda line: line.ours.median >= least)


def at_most(most: float, unit: str) -> Target:
    return Target(f"≤ {most:g} {unit}", lambda line: line.ours.median <= most)


def also_at_most(name: str, most: float, unit: str) -> Target:
    return Target(f"{name} ≤ {most:g} {unit}", lambda line: line.ours.also(name) <= most)


def also_at_least(name: str, least: float, unit: str) -> Target:
    return Target(f"{name} ≥ {least:g}{unit}", lambda line: line.ours.also(name) >= least)
