from __future__ import annotations

from ostinato.client.channel import service_config
from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2

FILES = (admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2)
REPEATED_BY_NOBODY = {
    ("ostinato.scheduler.v1.ProjectService", "ApplyProjectConfig"),
    ("ostinato.scheduler.v1.AdminService", "RequeueDeadLetters"),
    # What came between the two would go as well.
    ("ostinato.scheduler.v1.AdminService", "PurgeDeadLetters"),
    ("ostinato.scheduler.v1.AdminService", "PurgeQueue"),
    # The first one's run may have ended meanwhile.
    ("ostinato.scheduler.v1.InvocationService", "RetryInvocation"),
}


def test_for_every_method_it_is_decided_whether_it_is_repeated() -> None:
    served = {
        (service.full_name, method.name)
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    (config,) = service_config()["methodConfig"]
    repeated = {(name["service"], name["method"]) for name in config["name"]}
    assert repeated | REPEATED_BY_NOBODY == served
    assert not repeated & REPEATED_BY_NOBODY
