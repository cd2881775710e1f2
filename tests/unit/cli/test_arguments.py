from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from ostinato.cli.arguments import INSTANT, JOB, PROJECT, RUN, ResourceName


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [
        (PROJECT, "shop", "projects/shop"),
        (PROJECT, "projects/shop", "projects/shop"),
        (JOB, "shop/nightly", "projects/shop/jobs/nightly"),
        (JOB, "shop/nightly (eu)", "projects/shop/jobs/nightly (eu)"),
        (JOB, "projects/shop/jobs/nightly", "projects/shop/jobs/nightly"),
        (JOB, "projects/nightly", "projects/projects/jobs/nightly"),
        (RUN, "shop/nightly/7", "projects/shop/jobs/nightly/invocations/7"),
        (RUN, "projects/shop/jobs/nightly/invocations/7", "projects/shop/jobs/nightly/invocations/7"),
    ],
)
def test_names_are_taken_short_and_full(kind: ResourceName, text: str, name: str) -> None:
    assert kind.convert(text, None, None) == name


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (PROJECT, ""),
        (PROJECT, "shop/nightly"),
        (JOB, "nightly"),
        (JOB, "shop/"),
        (JOB, "/nightly"),
        (JOB, "shop/nightly/7"),
        (JOB, "projects/shop/jobs/"),
        (RUN, "shop/nightly"),
        (RUN, "projects/shop/jobs/nightly"),
        (RUN, "7"),
    ],
)
def test_names_of_another_shape_are_refused(kind: ResourceName, text: str) -> None:
    with pytest.raises(click.BadParameter, match="must look like"):
        kind.convert(text, None, None)


def test_a_refused_name_shows_both_forms() -> None:
    with pytest.raises(click.BadParameter) as caught:
        RUN.convert("7", None, None)
    assert caught.value.message == (
        "'7' must look like project/job/invocation or projects/{project}/jobs/{job}/invocations/{invocation}."
    )


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2015-09-14T22:42:00Z", datetime(2015, 9, 14, 22, 42, tzinfo=UTC)),
        ("2015-09-14T22:42:00", datetime(2015, 9, 14, 22, 42, tzinfo=UTC)),
        ("2015-09-14 22:42", datetime(2015, 9, 14, 22, 42, tzinfo=UTC)),
        ("2015-09-15T00:42:00+02:00", datetime(2015, 9, 14, 22, 42, tzinfo=UTC)),
        ("2015-09-14", datetime(2015, 9, 14, tzinfo=UTC)),
    ],
)
def test_instants_are_utc_where_they_name_no_offset(text: str, at: datetime) -> None:
    assert INSTANT.convert(text, None, None) == at


@pytest.mark.parametrize("text", ["", "now", "14.9.2015", "2015-09-31", "25:00"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time such as"):
        INSTANT.convert(text, None, None)
