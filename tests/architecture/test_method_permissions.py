"""Every method that the protos define asks for a permission, or says why it asks for none."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from google.protobuf.descriptor import FileDescriptor

import ostinato.pb
from ostinato.auth.permissions import METHOD_PERMISSIONS, OPEN_SERVICES, ROLE_PERMISSIONS, TOKEN_METHODS, Permission
from ostinato.rpc.call_interceptor import CallInterceptor
from tests.architecture.source_tree import own_sources

# Serves on loopback what belongs to Google, to whoever is there.
WITHOUT_PERMISSIONS = "libs/ostinato/localcloud/local_cloud.py"


def methods() -> Iterator[str]:
    for module in pkgutil.walk_packages(ostinato.pb.__path__, "ostinato.pb."):
        if module.name.endswith("_pb2"):
            descriptor: FileDescriptor = importlib.import_module(module.name).DESCRIPTOR
            for service in descriptor.services_by_name.values():
                yield from (f"/{service.full_name}/{method.name}" for method in service.methods)


def test_each_method_stands_in_exactly_one_table() -> None:
    defined = set(methods())
    assert len(defined) > 20
    assert METHOD_PERMISSIONS.keys() | TOKEN_METHODS == defined
    assert METHOD_PERMISSIONS.keys() & TOKEN_METHODS == set()


def test_what_is_open_to_everybody_is_not_ours() -> None:
    assert [name for name in OPEN_SERVICES if name.startswith("ostinato.")] == []


def test_every_permission_is_asked_for_and_somebody_can_hold_it() -> None:
    held = {permission for permissions in ROLE_PERMISSIONS.values() for permission in permissions}
    assert held == set(Permission) - {Permission.ADMIN}
    unused = set(Permission) - set(METHOD_PERMISSIONS.values())
    assert unused <= {Permission.JOBS_EDIT}  # roles hold it already; no method changes a single job yet


def test_every_server_that_is_opened_checks_permissions() -> None:
    opening = [source for source in own_sources() if "open_grpc_server(" in source.text and "/rpc/" not in source.path]
    assert opening
    without = [source.path for source in opening if CallInterceptor.__name__ not in source.text]
    assert without == [WITHOUT_PERMISSIONS]
