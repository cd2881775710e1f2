from __future__ import annotations

import grpc

from ostinato.cli.refusal import explain
from ostinato.client import ClientError
from ostinato.errors import Violation


def test_a_list_that_the_api_cut_is_not_counted_as_whole() -> None:
    told = (Violation("a", "is wrong"), Violation("b", "is wrong"), Violation("", "and 7 more"))
    error = ClientError(grpc.StatusCode.INVALID_ARGUMENT, "", violations=told)
    assert explain(error).splitlines() == [
        "more than 2 rules are broken:",
        "  a: is wrong",
        "  b: is wrong",
        "  and 7 more",
    ]
