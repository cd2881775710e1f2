"""What was measured, repetition by repetition."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from benchmarks.laboratory import Usage

V = TypeVar("V")
SIDES = ("ours", "raw")


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition. `tasks` is what the processor time is divided by."""

    value: float
    tasks: int = 0
    usage: Usage = field(default_factory=Usage)
    also: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """All repetitions of one side."""

    samples: tuple[Sample, ...]

    @property
    def median(self) -> float:
        return statistics.median(sample.value for sample in self.samples)

    @property
    def lowest(self) -> float:
        return min(sample.value for sample in self.samples)

    @property
    def highest(self) -> float:
        return max(sample.value for sample in self.samples)

    def also(self, name: str) -> float:
        """The median of a value measured beside the main one."""
        return statistics.median(sample.also[name] for sample in self.samples)

    def microseconds(self, whose: str) -> float | None:
        """Median processor time of `client` or `server` per task."""
        spent = [(getattr(sample.usage, whose), sample.tasks) for sample in self.samples]
        per_task = [seconds / tasks * 1e6 for seconds, tasks in spent if seconds is not None and tasks]
        return statistics.median(per_task) if per_task else None

    @property
    def others(self) -> float | None:
        """The worst share of one processor that unrelated programs took."""
        shares = [
            s.usage.others / s.usage.seconds for s in self.samples if s.usage.others is not None and s.usage.seconds
        ]
        return max(shares, default=None)


async def alternate(
    measure: Callable[[V], Awaitable[Sample]], variants: Sequence[V], *, repetitions: int
) -> dict[V, Series]:
    """A B A B …: slow drift of the machine hits all variants alike."""
    samples: dict[V, list[Sample]] = {variant: [] for variant in variants}
    for _ in range(repetitions):
        for variant in variants:
            samples[variant].append(await measure(variant))
    return {variant: Series(tuple(taken)) for variant, taken in samples.items()}


def related(series: Series, reference: Series, name: str) -> Series:
    """Each repetition with its ratio to the reference's of the same round, under `name` among its other values."""
    pairs = zip(series.samples, reference.samples, strict=True)
    return Series(
        tuple(replace(sample, also={**sample.also, name: sample.value / normal.value}) for sample, normal in pairs)
    )
