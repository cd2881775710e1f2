"""Roles, realms, and the table of methods."""

from __future__ import annotations

import pytest

from ostinato.auth.identity import Identity
from ostinato.auth.permissions import (
    METHOD_PERMISSIONS,
    OPEN_SERVICES,
    ROLE_PERMISSIONS,
    TOKEN_METHODS,
    Access,
    Caller,
    Permission,
    RealmScope,
    Role,
    RoleBinding,
    decide_admin_access,
    decide_job_access,
    decide_project_access,
    decide_realms,
)
from ostinato.pb.engine.v1 import engine_pb2
from ostinato.pb.ingest.v1 import notifications_pb2
from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2

ANA = Caller(Identity("user:ana"), is_admin=False)
BOB = Caller(Identity("user:bob"), is_admin=False)
ROOT = Caller(Identity("user:root"), is_admin=True)
P = Permission


def bound(role: Role, *realms: str) -> RoleBinding:
    return RoleBinding(role, frozenset({ANA.identity}), frozenset(realms or ("*",)))


def test_every_served_method_has_a_permission_and_nothing_else_has() -> None:
    files = [jobs_pb2, invocations_pb2, triggers_pb2, projects_pb2, admin_pb2, engine_pb2, notifications_pb2]
    served = {
        f"/{service.full_name}/{method.name}"
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert set(METHOD_PERMISSIONS) | TOKEN_METHODS == served
    assert not set(METHOD_PERMISSIONS) & TOKEN_METHODS
    assert not {method.split("/")[1] for method in served} & OPEN_SERVICES


@pytest.mark.parametrize(
    ("role", "held"),
    [
        (Role.READER, {P.JOBS_GET}),
        (Role.TRIGGERER, {P.JOBS_GET, P.JOBS_TRIGGER}),
        (Role.OPERATOR, {P.JOBS_GET, P.JOBS_TRIGGER, P.JOBS_PAUSE, P.JOBS_RESUME, P.JOBS_ABORT}),
        (Role.OWNER, set(P) - {P.ADMIN}),
    ],
)
def test_a_role_holds_its_permissions_and_no_others(role: Role, held: set[Permission]) -> None:
    assert ROLE_PERMISSIONS[role] == held
    for permission in Permission:
        expected = Access.ALLOWED if permission in held else Access.DENIED
        assert decide_job_access(ANA, (bound(role),), "@legacy", permission) is expected


@pytest.mark.parametrize("permission", Permission)
def test_an_administrator_may_everything_without_any_binding(permission: Permission) -> None:
    assert decide_job_access(ROOT, (), "any", permission) is Access.ALLOWED
    assert decide_project_access(ROOT, (), permission) is Access.ALLOWED
    assert decide_admin_access(ROOT) is Access.ALLOWED


def test_nobody_else_is_an_administrator() -> None:
    assert decide_admin_access(ANA) is Access.DENIED


def test_a_stranger_sees_nothing() -> None:
    policy = (bound(Role.OWNER),)
    assert decide_job_access(BOB, policy, "@legacy", P.JOBS_GET) is Access.INVISIBLE
    assert decide_project_access(BOB, policy, P.PROJECTS_GET) is Access.INVISIBLE
    assert not decide_realms(BOB, policy, P.JOBS_GET)


def test_a_role_counts_in_its_realms_only() -> None:
    policy = (bound(Role.OPERATOR, "prod"), bound(Role.READER, "test"))
    assert decide_job_access(ANA, policy, "prod", P.JOBS_PAUSE) is Access.ALLOWED
    assert decide_job_access(ANA, policy, "test", P.JOBS_PAUSE) is Access.DENIED
    assert decide_job_access(ANA, policy, "other", P.JOBS_PAUSE) is Access.INVISIBLE
    assert decide_realms(ANA, policy, P.JOBS_GET) == RealmScope(everywhere=False, realms=frozenset({"prod", "test"}))
    assert decide_realms(ANA, policy, P.JOBS_PAUSE) == RealmScope(everywhere=False, realms=frozenset({"prod"}))


def test_bindings_add_up() -> None:
    policy = (bound(Role.READER, "prod"), bound(Role.OPERATOR))
    assert decide_realms(ANA, policy, P.JOBS_GET).everywhere
    assert decide_job_access(ANA, policy, "prod", P.JOBS_ABORT) is Access.ALLOWED


def test_a_project_as_a_whole_belongs_to_those_who_own_every_realm() -> None:
    assert decide_project_access(ANA, (bound(Role.OWNER),), P.PROJECTS_CONFIGURE) is Access.ALLOWED
    assert decide_project_access(ANA, (bound(Role.OWNER, "prod"),), P.PROJECTS_CONFIGURE) is Access.DENIED
    assert decide_project_access(ANA, (bound(Role.READER),), P.PROJECTS_GET) is Access.DENIED
