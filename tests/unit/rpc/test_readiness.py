from __future__ import annotations

import pytest

from ostinato.errors import Unavailable
from ostinato.rpc.http_endpoint import NotReadyError
from ostinato.rpc.readiness import Readiness


async def all_is_well() -> None:
    return None


async def database_is_away() -> None:
    raise Unavailable("database: connection refused")


async def test_a_process_is_not_ready_before_it_serves() -> None:
    with pytest.raises(NotReadyError) as caught:
        await Readiness().check()
    assert caught.value.reason == "starting"


async def test_a_serving_process_is_as_ready_as_what_it_needs() -> None:
    readiness = Readiness()
    readiness.serve(all_is_well)
    await readiness.check()
    readiness.serve(database_is_away)
    with pytest.raises(Unavailable):
        await readiness.check()


async def test_a_draining_process_is_not_ready_whatever_it_needs() -> None:
    readiness = Readiness()
    readiness.serve(all_is_well)
    readiness.drain()
    with pytest.raises(NotReadyError) as caught:
        await readiness.check()
    assert caught.value.reason == "draining"
