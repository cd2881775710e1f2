from __future__ import annotations

from collections.abc import Callable

import pytest

from ostinato.errors import InvalidArgument
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersResponse, Trigger
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]
Result = EmitTriggersResponse.JobResult
JOB = "projects/shop/jobs/nightly"


def answered(**counts: object) -> EmitTriggersResponse:
    return EmitTriggersResponse(results=[Result(job=JOB, **counts)])


def sent(api: FakeApi) -> Trigger:
    (request,) = api.requests
    (batch,) = request.batches
    assert list(batch.jobs) == [JOB]
    return batch.trigger


def test_a_trigger_gets_an_id_and_is_told_to_be_accepted(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["EmitTriggers"] = answered(accepted=1)
    ran = ostinato("trigger", "shop/nightly")
    trigger = sent(api)
    assert (ran.exit_code, ran.out) == (0, f"{trigger.id} accepted\n")
    assert trigger.id.startswith("cli-")
    assert trigger.WhichOneof("payload") == "console"


def test_each_trigger_gets_an_id_of_its_own(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["EmitTriggers"] = answered(accepted=1)
    assert ostinato("trigger", "shop/nightly").out != ostinato("trigger", "shop/nightly").out


def test_an_id_and_data_are_sent_as_given(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["EmitTriggers"] = answered(accepted=1)
    ostinato("trigger", "shop/nightly", "--id", "order-7", "--data", '{"path": "in.csv", "rows": [1, null]}')
    assert sent(api).id == "order-7"
    assert dict(sent(api).event)["path"] == "in.csv"


def test_a_duplicate_is_nothing_new_and_no_failure(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["EmitTriggers"] = answered(duplicate=1)
    assert ostinato("trigger", "shop/nightly", "--id", "a") == Ran(0, "a was there already: nothing new\n", "")


def test_a_trigger_that_the_job_did_not_take_is_a_failure_with_its_reason(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["EmitTriggers"] = answered(dropped=[EmitTriggersResponse.Dropped(reason="PAUSED", count=1)])
    assert ostinato("trigger", "shop/nightly", "--id", "a") == Ran(
        1, "", "Error: a: shop/nightly did not take it: PAUSED\n"
    )


def test_json_is_the_answer_and_the_id(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["EmitTriggers"] = answered(accepted=1)
    assert ostinato("trigger", "shop/nightly", "--id", "a", "--output", "json").json == {
        "results": [{"job": JOB, "accepted": 1, "duplicate": 0, "dropped": []}],
        "triggerId": "a",
    }


def test_a_refused_id_names_the_field(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["EmitTriggers"] = InvalidArgument.of("batches[0].trigger.id", "must be 1 to 500 bytes")
    assert ostinato("trigger", "shop/nightly", "--id", "") == Ran(
        1, "", "Error: batches[0].trigger.id: must be 1 to 500 bytes\n"
    )


@pytest.mark.parametrize(
    "data", ["", "path=in.csv", "[1]", '"x"', '{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1' + "0" * 400 + "}", "[" * 9999]
)
def test_data_that_is_no_json_object_is_wrong_usage(ostinato: Ostinato, api: FakeApi, data: str) -> None:
    ran = ostinato("trigger", "shop/nightly", "--data", data)
    assert ran.exit_code == 2
    assert "--data" in ran.err
    assert api.requests == []


def test_an_id_that_would_steer_the_terminal_is_spelt_out(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["EmitTriggers"] = answered(accepted=1)
    ran = ostinato("trigger", "shop/nightly", "--id", "a\n\x1b[2Jb")
    assert sent(api).id == "a\n\x1b[2Jb"
    assert ran.out == "a\\x0a\\x1b[2Jb accepted\n"
