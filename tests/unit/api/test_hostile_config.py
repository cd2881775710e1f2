"""Every field of a project config against values of every kind: each refusal has the field's path, none is a crash.

The fields are walked from the descriptors, so a new one is looked at without being listed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ostinato.errors import InvalidArgument, Violation
from ostinato.pb.scheduler.v1.project_config_pb2 import ProjectConfig
from ostinato_api.project_config.read_project_config import MAX_CONFIG_BYTES, read_project_config

VALUES = (
    "",
    "~",
    "''",
    "x",
    "' '",
    '"\\0"',
    '"a\\u0000b"',
    '"\\uD800"',
    '"\\U0001F600\\u202e"',
    "0",
    "-1",
    "1",
    "2147483648",
    "99999999999999999999",
    "9" * 5000,
    "1.5",
    "1e999",
    ".nan",
    "-.inf",
    "0x1F",
    "true",
    "yes",
    "2026-01-01",
    "9" * 5000 + "h",
    "99999999h",
    "-1s",
    "1ns",
    "[]",
    "{}",
    "[x]",
    "{x: y}",
    "{'': ''}",
    "[[[]]]",
    "[null]",
    "[1, 1]",
    f"'{'x' * 10_000}'",
    f"'{'é' * 3000}'",
    "[" + ", ".join(["x"] * 2000) + "]",
    "{" + ", ".join(f"k{n}: v" for n in range(2000)) + "}",
    "projects/shop/jobs/j",
    "'http://[::1'",
    "'http://user:pw@h/'",
    "file:///etc/passwd",
    "'* * * * * * * *'",
    "'H H * * *'",
    "with 999999999h interval",
)
# Beside a field under test, so that it is the only mistake.
NEEDED = {
    "ProjectConfig": {"project": "shop"},
    "JobConfig": {"id": "j", "noop": "{}"},
    "HttpTarget": {"url": "http://h"},
    "RoleBinding": {"role": "owner"},
    "Calendar": {"id": "c"},
    "Blackout": {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-02T00:00:00Z"},
}


def configs(message: Descriptor, path: str = "") -> Iterator[tuple[str, str]]:
    """(path of the field, config with `%s` in its place) for each field at any depth."""
    for field in message.fields:
        own = f"{path}.{field.name}" if path else field.name
        needed = {name: value for name, value in NEEDED.get(message.name, {}).items() if name != field.name}
        if field.containing_oneof is not None:
            needed.pop("noop", None)
        around = "{" + ", ".join([f"{name}: {value}" for name, value in needed.items()] + [f"{field.name}: %s"]) + "}"
        yield own, around
        inner = field.message_type
        if inner is None or inner.GetOptions().map_entry or inner.full_name.startswith("google.protobuf."):
            continue
        shape = "[%s]" if field.is_repeated else "%s"
        own += "[0]" if field.is_repeated else ""
        for deeper, text in configs(inner, own):
            yield deeper, around.replace("%s", shape.replace("%s", text))


FIELDS = dict(configs(ProjectConfig.DESCRIPTOR))


def test_the_walk_finds_the_fields() -> None:
    assert FIELDS["jobs[0].http.url"] == "{project: shop, jobs: [{id: j, http: {url: %s}}]}"
    assert "jobs[0].triggering_policy.max_batch_size" in FIELDS
    assert len(FIELDS) > 25


@pytest.mark.parametrize("path", FIELDS)
def test_no_value_of_a_field_is_our_mistake(path: str) -> None:
    wrong = []
    for value in VALUES:
        violations = refusals(FIELDS[path].replace("%s", value))
        if violations and not any(speaks_of(told.path, path) and len(told.rule) > 5 for told in violations):
            wrong.append((value[:80], violations))
    assert wrong == []


def refusals(text: str) -> Sequence[Violation]:
    """Empty when the config is fine. Raises whatever is no refusal."""
    try:
        read_project_config(text)
    except InvalidArgument as error:
        return error.violations
    return ()


def speaks_of(told: str, path: str) -> bool:
    """Of the field, of what is in it, or of what it is in: a target without a URL is a mistake of the target."""
    return told.startswith(path) or path.startswith(told) or told == "config"


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(bomb(9), id="billion laughs"),
        pytest.param("project: &p shop\njobs: *p", id="alias"),
        pytest.param("<<: {project: shop}", id="merge key"),
        pytest.param("a: &a [*a]", id="an alias of itself"),
        pytest.param("project: !!python/object/apply:os.system ['true']", id="tag"),
        pytest.param("!!binary c2hvcA==", id="binary"),
        pytest.param("[" * 100_000, id="deep, open"),
        pytest.param("[" * 50_000 + "]" * 50_000, id="deep"),
        pytest.param("{a: " * 50_000 + "}" * 50_000, id="deep mappings"),
        pytest.param("- " * 50_000, id="deep block"),
        pytest.param("? " * 10_000, id="deep keys"),
        pytest.param("project: shop\nproject: shop", id="a key twice"),
        pytest.param("project: shop\n'project': shop", id="a key twice, quoted"),
        pytest.param("? [a, b]\n: c", id="a list as key"),
        pytest.param("project: shop\n---\nproject: shop", id="two documents"),
        pytest.param("project: shop\n...\n%YAML 9.9\n---\nx", id="a directive"),
        pytest.param("project: shop\x00", id="NUL"),
        pytest.param("project: sh\x1bop", id="escape"),
        pytest.param("project: 'shop", id="open quote"),
        pytest.param("project: shop\n\tjobs: []", id="tab"),
        pytest.param("%", id="percent"),
        pytest.param("&", id="ampersand"),
        pytest.param("", id="nothing"),
        pytest.param("#" * MAX_CONFIG_BYTES + "#", id="too long"),
        pytest.param("{" + ", ".join(f"k{n}" for n in range(100_000)) + "}", id="a hundred thousand keys"),
        pytest.param("project: shop\njobs: [" + "{}, " * 10_001 + "]", id="too many jobs"),
    ],
)
def test_a_bomb_is_refused_quickly_and_briefly(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_project_config(text)
    assert all(violation.path and violation.rule for violation in caught.value.violations)
    assert len(caught.value.violations) < 200_000
    assert all(len(violation.path) < 300 for violation in caught.value.violations)


def test_field_types_that_a_config_cannot_hold_do_not_exist() -> None:
    """A new field of another type would need a reader."""
    types = {field.type for field in _all_fields(ProjectConfig.DESCRIPTOR)}
    assert types <= {
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_DOUBLE,
        FieldDescriptor.TYPE_ENUM,
        FieldDescriptor.TYPE_MESSAGE,
    }


def _all_fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        yield field
        if field.message_type is not None and not field.message_type.full_name.startswith("google.protobuf."):
            yield from _all_fields(field.message_type)
