"""docs/metrics.md lists every metric that the code exports, with its kind and labels, and none that it doesn't."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.source_tree import own_sources, read

ROW = re.compile(r"^\| `(ostinato_\w+)` \| (\w+) \| ([\w, ]*)\| ", re.MULTILINE)
KINDS = {
    "Counter": "counter",
    "CounterMetricFamily": "counter",
    "Gauge": "gauge",
    "GaugeMetricFamily": "gauge",
    "Histogram": "histogram",
    "HistogramMetricFamily": "histogram",
}


def exported() -> dict[str, str]:
    """Every metric that the code makes, by the name it is scraped by; and its kind."""
    return dict(found for source in own_sources() for found in _metrics(source.tree))


def _metrics(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=maker), args=[ast.Constant(value=str(name)), *_]) if maker in KINDS:
                yield (f"{name}_total" if KINDS[maker] == "counter" else name), KINDS[maker]


def documented(text: str) -> dict[str, str]:
    return {name: kind for name, kind, _ in ROW.findall(text)}


def test_every_metric_is_documented_with_its_kind() -> None:
    assert exported()["ostinato_rpc_calls_total"] == "counter"
    assert documented(read("docs/metrics.md")) == exported()


def test_no_page_names_a_metric_that_does_not_exist() -> None:
    named = set(re.findall(r"`(ostinato_(?:engine|taskqueue|rpc|ingester|api)_\w+)[`{]", read("docs/runbook.md")))
    assert named - exported().keys() == set()


def test_a_metric_that_nobody_documents_is_found() -> None:
    made = dict(_metrics(ast.parse('Counter("ostinato_moon_phases", "Phases.", registry=registry)')))
    assert made == {"ostinato_moon_phases_total": "counter"}
    assert documented("| `ostinato_moon_phases_total` | gauge | | x |") == {"ostinato_moon_phases_total": "gauge"}
