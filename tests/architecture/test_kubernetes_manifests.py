"""The kustomize base renders, fits the schemas of old and new Kubernetes, and keeps our own rules."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from ostinato.config import load_api_settings, load_engine_settings, load_ingester_settings, split_address
from tests.architecture.source_tree import ROOT

LOADERS = {"api": load_api_settings, "engine": load_engine_settings, "ingester": load_ingester_settings}
SERVICES = tuple(LOADERS)
SECRETS = {
    ("ostinato-database", "url"): "postgresql://ostinato_runtime@database.example/ostinato",
    ("ostinato-database", "maintenance-url"): "postgresql://ostinato_owner@database.example/ostinato",
    ("ostinato-secret", "secret"): "5e" * 32,
}
OLDEST_AND_NEWEST = ("1.30", kubernetes_validate.latest_version())
Manifest = dict[str, Any]


@cache
def _rendered() -> str:
    command = [str(Path(sys.executable).parent / "kubectl"), "kustomize", "deploy/kubernetes/base"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def manifests(*kinds: str) -> list[Manifest]:
    found = [document for document in yaml.safe_load_all(_rendered()) if document]
    return [document for document in found if not kinds or document["kind"] in kinds]


def manifest(kind: str, name: str) -> Manifest:
    (found,) = [document for document in manifests(kind) if document["metadata"]["name"] == name]
    return found


def pod_of(workload: Manifest) -> Manifest:
    return dict(workload["spec"]["template"]["spec"])


def settings_map() -> dict[str, str]:
    (found,) = manifests("ConfigMap")
    return dict(found["data"])


def environment_of(service: str) -> dict[str, str]:
    """What the container sees; secrets as docs/deploying.md says they are made."""
    (container,) = pod_of(manifest("Deployment", f"ostinato-{service}"))["containers"]
    references = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container["env"]}
    return settings_map() | {name: SECRETS[ref["name"], ref["key"]] for name, ref in references.items()}


def broken_pod_rules(workload: Manifest) -> list[str]:
    """What our rules have against a Deployment or a Job."""
    pod = pod_of(workload)
    long_running = workload["kind"] == "Deployment"
    broken = [] if pod.get("automountServiceAccountToken") is False else ["carries a token of the Kubernetes API"]
    if pod.get("enableServiceLinks") is not False:
        broken.append("gets variables such as OSTINATO_API_PORT from Kubernetes")
    if not pod.get("securityContext", {}).get("runAsNonRoot") or not pod["securityContext"].get("runAsUser"):
        broken.append("may run as root")
    if pod.get("securityContext", {}).get("seccompProfile", {}).get("type") != "RuntimeDefault":
        broken.append("runs without a seccomp profile")
    for container in pod["containers"]:
        broken += broken_container_rules(container, long_running=long_running)
    return broken


def broken_container_rules(container: Manifest, *, long_running: bool) -> list[str]:
    security, resources = container.get("securityContext", {}), container.get("resources", {})
    rules = {
        "may gain privileges": security.get("allowPrivilegeEscalation") is False,
        "keeps capabilities": security.get("capabilities", {}).get("drop") == ["ALL"],
        "writes to its root file system": security.get("readOnlyRootFilesystem") is True,
        "asks for no resources": {"cpu", "memory"} <= set(resources.get("requests", {})),
        "has no memory limit": "memory" in resources.get("limits", {}),
    }
    if long_running:
        rules |= {
            f"has no {probe}": probe in container for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
    return [rule for rule, kept in rules.items() if not kept] + literal_secrets(container)


def literal_secrets(container: Manifest) -> list[str]:
    return [f"{entry['name']} is not by reference" for entry in container.get("env", []) if "valueFrom" not in entry]


@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_every_object_fits_the_schema(version: str) -> None:
    documents = manifests()
    assert len(documents) > 20
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_every_pod_keeps_the_rules() -> None:
    workloads = manifests("Deployment", "Job")
    assert len(workloads) == 4
    assert {work["metadata"]["name"]: rules for work in workloads if (rules := broken_pod_rules(work))} == {}


def test_a_broken_rule_is_found() -> None:
    spoilers: list[Callable[[Manifest], object]] = [
        lambda pod: pod.pop("automountServiceAccountToken"),
        lambda pod: pod["securityContext"].pop("runAsNonRoot"),
        lambda pod: pod["containers"][0].pop("readinessProbe"),
        lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"),
        lambda pod: pod["containers"][0]["resources"].pop("limits"),
        lambda pod: pod["containers"][0]["env"].append({"name": "OSTINATO_SECRET", "value": "00"}),
    ]
    for spoil in spoilers:
        workload = deepcopy(manifest("Deployment", "ostinato-engine"))
        spoil(workload["spec"]["template"]["spec"])
        assert len(broken_pod_rules(workload)) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_a_budget_an_autoscaler_and_labels_that_select_it(service: str) -> None:
    name = f"ostinato-{service}"
    labels = {"app.kubernetes.io/name": "ostinato", "app.kubernetes.io/component": service}
    deployment = manifest("Deployment", name)
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert labels.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert manifest("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service", name)["spec"]["selector"] == labels
    assert manifest("HorizontalPodAutoscaler", name)["spec"]["scaleTargetRef"]["name"] == name
    assert "replicas" not in deployment["spec"]  # two owners would fight


def test_every_object_says_what_it_belongs_to() -> None:
    for document in manifests():
        assert document["metadata"]["labels"]["app.kubernetes.io/part-of"] == "ostinato"


def test_every_pod_is_under_a_policy_that_denies_by_default() -> None:
    deny = manifest("NetworkPolicy", "ostinato-deny-all")["spec"]
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in deny
    assert "egress" not in deny
    for workload in manifests("Deployment", "Job"):
        assert deny["podSelector"]["matchLabels"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()


def test_every_service_account_is_used_and_has_no_token() -> None:
    accounts = {account["metadata"]["name"]: account for account in manifests("ServiceAccount")}
    used = {pod_of(workload)["serviceAccountName"] for workload in manifests("Deployment", "Job")}
    assert set(accounts) == used
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_starts_with_the_settings_that_its_pod_gets(service: str) -> None:
    settings = LOADERS[service](environment_of(service))
    (container,) = pod_of(manifest("Deployment", f"ostinato-{service}"))["containers"]
    host, port = split_address(settings.http_address)
    assert host == "0.0.0.0"  # the kubelet's probes come from outside of the pod
    assert [{"name": "http", "containerPort": port}] == container["ports"]
    assert container["command"] == ["python", "-m", f"ostinato_{service}"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_kubelet_waits_longer_than_the_drain(service: str) -> None:
    grace = LOADERS[service](environment_of(service)).shutdown_grace.total_seconds()
    assert pod_of(manifest("Deployment", f"ostinato-{service}"))["terminationGracePeriodSeconds"] >= grace + 5


def test_running_work_reports_to_the_ingester() -> None:
    address = urlsplit(load_engine_settings(environment_of("engine")).notify_url)
    service = manifest("Service", address.hostname or "")
    assert [address.port] == [port["port"] for port in service["spec"]["ports"]]
    assert service["metadata"]["name"] == "ostinato-ingester"


def test_the_settings_hold_no_secret() -> None:
    assert [name for name in settings_map() if re.search(r"SECRET|KEY|DATABASE_URL|PASSWORD", name)] == []


def test_only_the_engine_and_the_migration_get_the_role_that_may_change_the_schema() -> None:
    with_it = {
        workload["metadata"]["name"]
        for workload in manifests("Deployment", "Job")
        for entry in pod_of(workload)["containers"][0]["env"]
        if entry["valueFrom"]["secretKeyRef"]["key"] == "maintenance-url"
    }
    assert with_it == {"ostinato-engine", "ostinato-migrate"}
