"""Reading project configs: what they may say, and every mistake with its path."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.auth.permissions import Role, RoleBinding
from ostinato.errors import InvalidArgument
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.scheduling.job_definition import Downstream, PolicyKind, TriggeringPolicy, TriggerOn
from ostinato.scheduling.targets import HttpSpec, NoopSpec
from ostinato.yamlfile.mistakes import MOST
from ostinato_api.project_config.bindings import policy_of
from ostinato_api.project_config.read_project_config import ProjectSpec, read_project_config

FULL = """
project: shop
bindings:
  - {role: owner, members: ["user:ana@shop.example"]}
  - role: reader
    members: [user:bob, "service:billing"]
    realms: [prod, test]
jobs:
  - id: nightly-report
    display_name: Nightly "report"
    labels: {team: data, "k8s.io/x": "1"}
    annotations: {note: "a: b"}
    owner: user:ana@shop.example
    realm: prod
    schedule: "0 3 * * *"
    triggering_policy: {kind: GREEDY_BATCHING, max_concurrent_invocations: 2, max_batch_size: 3}
    http:
      method: PUT
      url: "http://127.0.0.1:9000/report"
      headers: {X-Key: "1"}
      body: '{"a": 1}'
      timeout: 1m30s
      multistage: true
    timeout: 3600s
    downstream:
      - {job: "(cleanup) 1", trigger_on: FAILURE}
    triggers: [send-report]
  - id: send-report
    noop: {sleep: 500ms, triggers_count: 2}
  - id: (cleanup) 1
    schedule: with 10m interval
    noop: {}
"""


def read(text: str) -> ProjectSpec:
    return read_project_config(text)


def violations(text: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidArgument) as caught:
        read_project_config(text)
    return [(violation.path, violation.rule) for violation in caught.value.violations]


def paths(text: str) -> list[str]:
    return [path for path, _ in violations(text)]


def job(stanza: str) -> str:
    return f"project: shop\njobs:\n  - {{id: j, noop: {{}}, {stanza}}}\n"


def test_every_field_is_read() -> None:
    spec = read(FULL)
    report, send, cleanup = (stanza.definition for stanza in spec.stanzas)
    assert spec.project == "shop"
    assert (report.id, report.display_name, report.owner, report.realm) == (
        "nightly-report",
        'Nightly "report"',
        "user:ana@shop.example",
        "prod",
    )
    assert dict(report.labels) == {"team": "data", "k8s.io/x": "1"}
    assert dict(report.annotations) == {"note": "a: b"}
    assert report.policy == TriggeringPolicy(PolicyKind.GREEDY_BATCHING, 2, 3)
    assert report.target == HttpSpec(
        url="http://127.0.0.1:9000/report",
        method="PUT",
        headers=(("X-Key", "1"),),
        body='{"a": 1}',
        timeout=timedelta(seconds=90),
        multistage=True,
    )
    assert report.downstream == (Downstream("(cleanup) 1", TriggerOn.FAILURE), Downstream("send-report"))
    assert report.timeout == timedelta(hours=1)
    assert send.target == NoopSpec(timedelta(milliseconds=500), 2)
    assert cleanup.schedule == "with 10m interval"


def test_what_is_stored_is_what_was_read() -> None:
    for stanza in read(FULL).stanzas:
        assert decode_definition(stanza.encoded) == stanza.definition


def test_the_order_of_keys_makes_no_difference() -> None:
    one = read(job("labels: {a: '1', b: '2'}, owner: o"))
    other = read("project: shop\njobs: [{owner: o, labels: {b: '2', a: '1'}, noop: {}, id: j}]")
    assert one == other


def test_bindings_make_a_policy() -> None:
    assert policy_of(read(FULL).bindings) == (
        RoleBinding(Role.OWNER, frozenset({"user:ana@shop.example"}), frozenset({"*"})),
        RoleBinding(Role.READER, frozenset({"user:bob", "service:billing"}), frozenset({"prod", "test"})),
    )


def test_a_config_without_jobs_is_an_empty_list() -> None:
    assert read("project: shop").stanzas == read("project: shop\njobs: []").stanzas == ()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("jobs: []", "project"),
        ("project: Shop\njobs: []", "project"),
        ("project: 7\njobs: []", "project"),
        ("project: shop\njob: []", "job"),
        ("project: shop\njobs: {}", "jobs"),
        ("project: shop\njobs:", "jobs"),
        ("project: shop\njobs: [x]", "jobs[0]"),
        ("project: shop\njobs: [{noop: {}}]", "jobs[0].id"),
        ("project: shop\njobs: [{id: 7, noop: {}}]", "jobs[0].id"),
        ("project: shop\njobs: [{id: 'a/b', noop: {}}]", "jobs[0].id"),
        ("project: shop\njobs: [{id: j}]", "jobs[0]"),
        ("project: shop\njobs: [{id: j, noop: {}}, {id: j, noop: {}}]", "jobs[1].id"),
        ("project: shop\njobs: [{id: j, noop: {}, http: {url: 'http://x'}}]", "jobs[0].http"),
        ("project: shop\njobs: [{id: j, http: {}}]", "jobs[0].http.url"),
        ("project: shop\njobs: [{id: j, noop: }]", "jobs[0].noop"),
        (job("schedul: triggered"), "jobs[0].schedul"),
        (job("schedule: 7"), "jobs[0].schedule"),
        (job("schedule: '* * * *'"), "jobs[0].schedule"),
        (job("schedule: [a]"), "jobs[0].schedule"),
        (job("state: RUNNING"), "jobs[0].state"),
        (job("next_run_time: x"), "jobs[0].next_run_time"),
        (job("timezone: Europe/Rome"), "jobs[0].timezone"),
        (job("displayName: x"), "jobs[0].displayName"),
        (job("owner: x, owner: y"), "jobs[0].owner"),
        (job("labels: [a]"), "jobs[0].labels"),
        (job("labels: {a: 1}"), "jobs[0].labels.a"),
        (job("labels: {'a b': x}"), "jobs[0].labels['a b']"),
        (job("annotations: {a: {b: c}}"), "jobs[0].annotations.a"),
        (job("realm: Prod"), "jobs[0].realm"),
        (job("timeout: 60"), "jobs[0].timeout"),
        (job("timeout: 1 h"), "jobs[0].timeout"),
        (job("timeout: 1d"), "jobs[0].timeout"),
        (job("timeout: [1h]"), "jobs[0].timeout"),
        (job("timeout: -1h"), "jobs[0].timeout"),
        (job("timeout: 99999999h"), "jobs[0].timeout"),
        (job("heartbeat_timeout: 0s"), "jobs[0].heartbeat_timeout"),
        (job("heartbeat_timeout: 999h"), "jobs[0].heartbeat_timeout"),
        (job("heartbeat_timeout: soon"), "jobs[0].heartbeat_timeout"),
        (job("retry: 3"), "jobs[0].retry"),
        (job("retry: {attempts: 3}"), "jobs[0].retry.attempts"),
        (job("retry: {max_attempts: 11}"), "jobs[0].retry.max_attempts"),
        (job("retry: {max_attempts: -1}"), "jobs[0].retry.max_attempts"),
        (job("retry: {max_attempts: many}"), "jobs[0].retry.max_attempts"),
        (job("retry: {min_backoff: 0s}"), "jobs[0].retry.min_backoff"),
        (job("retry: {min_backoff: 2h}"), "jobs[0].retry.max_backoff"),
        (job("retry: {max_backoff: 25h}"), "jobs[0].retry.max_backoff"),
        (job("retry: {max_backoff: 1s, min_backoff: 2s}"), "jobs[0].retry.max_backoff"),
        (job("triggering_policy: {kind: greedy}"), "jobs[0].triggering_policy.kind"),
        (job("triggering_policy: {kind: KIND_UNSPECIFIED}"), "jobs[0].triggering_policy.kind"),
        (job("triggering_policy: {kind: 1}"), "jobs[0].triggering_policy.kind"),
        (job("triggering_policy: {max_batch_size: x}"), "jobs[0].triggering_policy.max_batch_size"),
        (job("triggering_policy: {kind: LOGARITHMIC_BATCHING}"), "jobs[0].triggering_policy.log_base"),
        (job("triggering_policy: {kind: LOGARITHMIC_BATCHING, log_base: 0.5}"), "jobs[0].triggering_policy.log_base"),
        (job("triggering_policy: {kind: LOGARITHMIC_BATCHING, log_base: .inf}"), "jobs[0].triggering_policy.log_base"),
        (job("triggering_policy: {log_base: two}"), "jobs[0].triggering_policy.log_base"),
        (job("triggering_policy: {log_base: 2}"), "jobs[0].triggering_policy.log_base"),
        (job("triggering_policy: {pending_timeout: 1h}"), "jobs[0].triggering_policy.pending_timeout"),
        (job("triggering_policy: {max_batch_size: 1.0}"), "jobs[0].triggering_policy.max_batch_size"),
        (job("triggering_policy: {max_batch_size: 99999999999999999999}"), "jobs[0].triggering_policy.max_batch_size"),
        (
            job("triggering_policy: {max_concurrent_invocations: 1001}"),
            "jobs[0].triggering_policy.max_concurrent_invocations",
        ),
        (
            job("triggering_policy: {max_concurrent_invocations: -1}"),
            "jobs[0].triggering_policy.max_concurrent_invocations",
        ),
        (job("triggers: nobody"), "jobs[0].triggers"),
        (job("triggers: [nobody]"), "jobs[0].triggers[0]"),
        (job("triggers: [j]"), "jobs[0].triggers[0]"),
        (job("downstream: [{job: nobody}]"), "jobs[0].downstream[0].job"),
        (
            job("downstream: [{trigger_on: NEVER, job: k}]") + "  - {id: k, noop: {}}",
            "jobs[0].downstream[0].trigger_on",
        ),
        (job("downstream: [{}]"), "jobs[0].downstream[0].job"),
        ("project: shop\njobs: [{id: j, noop: {triggers_count: 101}}]", "jobs[0].noop.triggers_count"),
        ("project: shop\njobs: [{id: j, noop: {triggers_count: 4294967296}}]", "jobs[0].noop.triggers_count"),
        ("project: shop\njobs: [{id: j, noop: {sleep: soon}}]", "jobs[0].noop.sleep"),
        ("project: shop\njobs: [{id: j, http: {url: 'http://x', multistage: yes}}]", "jobs[0].http.multistage"),
        ("project: shop\njobs: [{id: j, http: {url: 'http://x', headers: {a: 1}}}]", "jobs[0].http.headers.a"),
        ("project: shop\nbindings: [{role: king, members: []}]", "bindings[0].role"),
        ("project: shop\nbindings: [{members: []}]", "bindings[0].role"),
        ("project: shop\nbindings: [{role: owner, members: [ana]}]", "bindings[0].members[0]"),
        ("project: shop\nbindings: [{role: owner, members: [7]}]", "bindings[0].members[0]"),
        ("project: shop\nbindings: [{role: owner, realms: [PROD]}]", "bindings[0].realms[0]"),
        ("project: shop\nbindings: {role: owner}", "bindings"),
        ("just text", "config"),
        ("[1, 2]", "config"),
    ],
)
def test_one_mistake_is_told_once_with_its_path(text: str, path: str) -> None:
    assert paths(text) == [path]


def test_all_mistakes_are_told_together() -> None:
    text = """
project: shop
bindings: [{role: king, members: ["user:a"]}]
jobs:
  - {id: a, schedul: x, noop: {}}
  - {id: b, schedule: "* * * *", timeout: soon, noop: {}, triggers: [nobody, a]}
  - {id: b, http: {url: gopher://x, verb: GET}}
  - {id: c}
"""
    assert sorted(paths(text)) == [
        "bindings[0].role",
        "jobs[0].schedul",
        "jobs[1].schedule",
        "jobs[1].timeout",
        "jobs[1].triggers[0]",
        "jobs[2].http.url",
        "jobs[2].http.verb",
        "jobs[2].id",
        "jobs[3]",
    ]


def test_a_cycle_of_downstream_jobs_is_a_mistake() -> None:
    text = "project: shop\njobs: [{id: a, noop: {}, triggers: [b]}, {id: b, noop: {}, triggers: [a]}]"
    assert paths(text) == ["jobs[1].triggers[0]"]


def test_a_job_with_an_unreadable_part_still_is_one_that_others_may_name() -> None:
    text = "project: shop\njobs: [{id: a, noop: {}, triggers: [b]}, {id: b}]"
    assert paths(text) == ["jobs[1]"]


def test_numbers_that_are_left_out_or_0_mean_the_default() -> None:
    (stanza,) = read(job("triggering_policy: {max_concurrent_invocations: 0, max_batch_size: 0}")).stanzas
    assert stanza.definition.policy == TriggeringPolicy()


def test_the_largest_text_is_a_mebibyte() -> None:
    text = "project: shop\n#" + "x" * 1024 * 1024
    assert violations(text) == [("config", "must be at most 1048576 bytes")]


@pytest.mark.timeout(20)
def test_10_000_jobs_are_read_and_one_more_is_refused() -> None:
    stanza = "- {{id: j{0}, schedule: '{1} * * * *', noop: {{}}, triggers: [j{2}]}}\n"
    head = "project: shop\njobs:\n- {id: j0, noop: {}}\n"
    stanzas = [stanza.format(i, i % 60, i - 1) for i in range(1, 10_001)]
    assert len(read(head + "".join(stanzas[:-1])).stanzas) == 10_000
    assert paths(head + "".join(stanzas)) == ["jobs"]


@pytest.mark.timeout(20)
def test_a_file_full_of_mistakes_is_refused_quickly() -> None:
    for text in ("jobs:\n" + "- a\n" * 100_000, "".join(f"k{i}: 1\n" for i in range(50_000)), "k: 1\n" * 50_000):
        assert len(paths(text)) == MOST
