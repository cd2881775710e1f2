"""docs/dependencies.md gives a reason for each dependency, and the project has none that it doesn't."""

from __future__ import annotations

import re
import tomllib

from tests.architecture.source_tree import imports, own_sources, read

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


# Distribution → what it is imported as, where that is not its name.
IMPORTED_AS = {
    "googleapis-common-protos": "google.rpc",
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health",
    "grpcio-reflection": "grpc_reflection",
    "grpcio-status": "grpc_status",
    "opentelemetry-exporter-otlp-proto-grpc": "opentelemetry.exporter.otlp.proto.grpc",
    "opentelemetry-sdk": "opentelemetry",
    "prometheus-client": "prometheus_client",
    "protobuf": "google.protobuf",
    "pyyaml": "yaml",
}


def declared(*extras: str) -> set[str]:
    """What users install; with extras, those too."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return {match[0].lower() for group in groups for text in group if (match := NAME.match(text))}


def declared_at_all() -> set[str]:
    return declared(*tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"])


def explained(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| ([\w.-]+) \| (.+) \|$", text, re.MULTILINE))


def test_each_dependency_has_its_reason() -> None:
    reasons = {name: why for name, why in explained(read("docs/dependencies.md")).items() if name != "package"}
    assert reasons.keys() == declared_at_all()
    assert all(len(why.strip()) > 3 for why in reasons.values())


def test_each_dependency_that_users_install_is_imported() -> None:
    imported = {f"{name}." for source in own_sources() for _, name in imports(source)}
    modules = {name: IMPORTED_AS.get(name, name) for name in declared("services")}
    assert modules
    unused = [name for name, module in modules.items() if not any(found.startswith(f"{module}.") for found in imported)]
    assert unused == []


def test_a_line_without_a_reason_is_not_read_as_one() -> None:
    assert explained("| left-pad | |\n") == {}
