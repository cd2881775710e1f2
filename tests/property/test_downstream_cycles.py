"""Cycles among downstream jobs against plain reachability."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ostinato.scheduling.job_definition import Downstream, JobDefinition
from ostinato.scheduling.validate_project import validate_project

Graph = dict[int, frozenset[int]]
GRAPHS = st.integers(0, 7).flatmap(
    lambda size: st.fixed_dictionaries(
        {node: st.frozensets(st.integers(0, max(0, size - 1)), max_size=3) for node in range(size)}
    )
)


def reachable(graph: Graph, start: int) -> set[int]:
    found: set[int] = set()
    todo = list(graph[start])
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += graph[node]
    return found


def closing_edges(graph: Graph) -> set[tuple[int, int]]:
    """(job, index in its downstream) of each edge that is reported."""
    jobs = [JobDefinition(f"j{n}", downstream=tuple(Downstream(f"j{m}") for m in sorted(graph[n]))) for n in graph]
    edges = set()
    for violation in validate_project(jobs, [f"jobs[{n}]" for n in graph]):
        assert violation.rule.startswith("closes the cycle ")
        job, index = violation.path.removeprefix("jobs[").removesuffix("]").split("].downstream[")
        edges.add((int(job), int(index)))
    return edges


@given(GRAPHS)
def test_a_cycle_is_reported_exactly_if_there_is_one(graph: Graph) -> None:
    assert bool(closing_edges(graph)) == any(node in reachable(graph, node) for node in graph)


@given(GRAPHS)
def test_without_the_reported_entries_there_is_no_cycle(graph: Graph) -> None:
    reported = closing_edges(graph)
    rest = {
        node: frozenset(to for index, to in enumerate(sorted(graph[node])) if (node, index) not in reported)
        for node in graph
    }
    assert not any(node in reachable(rest, node) for node in rest)
