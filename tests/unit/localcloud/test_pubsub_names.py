"""Names that Pub/Sub takes."""

from __future__ import annotations

import pytest

from ostinato.errors import InvalidArgument
from ostinato.localcloud.pubsub.resource_names import (
    check_project_name,
    check_subscription_name,
    check_topic_name,
    last_part,
    project_of,
)


@pytest.mark.parametrize("topic", ["abc", "A-._~+%9", "a" * 255, "goo", "xgoog"])
@pytest.mark.parametrize("project", ["p", "my-project-1", "example.com:shop"])
def test_these_are_names(project: str, topic: str) -> None:
    check_topic_name(f"projects/{project}/topics/{topic}", "name")
    check_subscription_name(f"projects/{project}/subscriptions/{topic}", "name")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "abc",
        "projects/p/topics/ab",
        "projects/p/topics/" + "a" * 256,
        "projects/p/topics/goog1",
        "projects/p/topics/1abc",
        "projects/p/topics/a b",
        "projects/p/topics/abc/def",
        "projects/p/topics/käse",
        "projects/p/topics/abc\n",
        "projects//topics/abc",
        "projects/P/topics/abc",
        "projects/p/subscriptions/abc",
        "_deleted-topic_",
    ],
)
def test_these_are_no_topics(name: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_topic_name(name, "topic")
    assert raised.value.violations[0].path == "topic"


def test_a_project_is_named_alone() -> None:
    check_project_name("projects/p", "project")
    for name in ("p", "projects/p/", "projects/p/topics/abc"):
        with pytest.raises(InvalidArgument, match="project"):
            check_project_name(name, "project")


def test_parts_of_a_name() -> None:
    assert project_of("projects/p/topics/abc") == "projects/p"
    assert last_part("projects/p/topics/abc") == "abc"
