from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ostinato.errors import FailedPrecondition, InvalidArgument, Violation
from ostinato.pb.scheduler.v1.projects_pb2 import (
    CONFIG_FORMAT_YAML,
    ApplyProjectConfigRequest,
    ApplyProjectConfigResponse,
)
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]

FOUR_MISTAKES = InvalidArgument(
    [
        Violation("jobs[0].schedul", "is unknown"),
        Violation("jobs[1].schedule", "`* * * *` has 4 fields"),
        Violation("jobs[2].http.url", "must be absolute"),
        Violation("jobs[3].triggers[0]", "no job `nobody`"),
    ]
)


@pytest.fixture
def shop(tmp_path: Path) -> str:
    file = tmp_path / "shop.yaml"
    file.write_text("project: shop\njobs: []\n")
    return str(file)


def test_a_file_is_sent_as_it_is_and_the_changes_are_told(ostinato: Ostinato, api: FakeApi, shop: str) -> None:
    api.answers["ApplyProjectConfig"] = ApplyProjectConfigResponse(
        project="projects/shop", revision="abc", added=["nightly", "report"], disabled=["old"]
    )
    ran = ostinato("apply", shop)
    assert ran == Ran(
        0,
        "shop: 2 added, 0 changed, 1 disabled, revision abc\n  + nightly\n  + report\n  - old\n",
        "",
    )
    assert api.requests == [ApplyProjectConfigRequest(config="project: shop\njobs: []\n", format=CONFIG_FORMAT_YAML)]


def test_a_dry_run_says_that_nothing_was_changed(ostinato: Ostinato, api: FakeApi, shop: str) -> None:
    api.answers["ApplyProjectConfig"] = ApplyProjectConfigResponse(project="projects/shop", validate_only=True)
    ran = ostinato("apply", "--dry-run", shop)
    assert (ran.exit_code, ran.out) == (0, "shop: no job changes (dry run: nothing was changed)\n")
    assert api.requests[0].validate_only


def test_every_mistake_is_told_with_its_path(ostinato: Ostinato, api: FakeApi, shop: str) -> None:
    api.answers["ApplyProjectConfig"] = FOUR_MISTAKES
    ran = ostinato("apply", shop)
    assert (ran.exit_code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        f"Error: {shop}: 4 rules are broken:",
        "  jobs[0].schedul: is unknown",
        "  jobs[1].schedule: `* * * *` has 4 fields",
        "  jobs[2].http.url: must be absolute",
        "  jobs[3].triggers[0]: no job `nobody`",
    ]


def test_each_file_stands_or_falls_alone(ostinato: Ostinato, api: FakeApi, tmp_path: Path) -> None:
    def apply(request: ApplyProjectConfigRequest) -> ApplyProjectConfigResponse | FailedPrecondition:
        if "bad" in request.config:
            return FailedPrecondition("not now")
        return ApplyProjectConfigResponse(project=f"projects/{request.config}", revision="r", changed=["a"])

    api.answers["ApplyProjectConfig"] = apply
    files = [tmp_path / name for name in ("one", "bad", "two", "latin")]
    for file in files:
        file.write_bytes(b"\xff" if file.name == "latin" else file.name.encode())
    ran = ostinato("apply", *map(str, files))
    assert ran.exit_code == 1
    assert ran.lines == [
        "one: 0 added, 1 changed, 0 disabled, revision r",
        "  ~ a",
        "two: 0 added, 1 changed, 0 disabled, revision r",
        "  ~ a",
    ]
    refused, unreadable = ran.err.splitlines()
    assert refused == f"Error: {files[1]}: not now (FAILED_PRECONDITION)"
    assert unreadable.startswith(f"{files[3]}: can't be read: 'utf-8' codec")


def test_json_is_one_object_with_every_answer(ostinato: Ostinato, api: FakeApi, shop: str) -> None:
    api.answers["ApplyProjectConfig"] = ApplyProjectConfigResponse(project="projects/shop", added=["a"])
    assert ostinato("--output", "json", "apply", shop).json == {
        "results": [
            {
                "project": "projects/shop",
                "revision": "",
                "added": ["a"],
                "changed": [],
                "disabled": [],
                "validateOnly": False,
            }
        ]
    }


def test_standard_input_is_a_file_too(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ApplyProjectConfig"] = ApplyProjectConfigResponse(project="projects/shop")
    assert ostinato("apply", "-", stdin=b"project: shop").exit_code == 0
    assert api.requests[0].config == "project: shop"


@pytest.mark.parametrize("arguments", [(), ("/no/such/file",), ("/tmp",)])
def test_what_is_no_file_is_wrong_usage(ostinato: Ostinato, arguments: tuple[str, ...]) -> None:
    assert ostinato("apply", *arguments).exit_code == 2
