"""Who may do what: permissions, the roles that bundle them, and which permission each served method asks for.

Everything here is pure. A method that stands in no table is refused (deny by default).
Roles are bound to members per realm in the project config; administrators may everything, everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from ostinato.auth.identity import Identity

ALL_REALMS = "*"


class Permission(StrEnum):
    JOBS_GET = "scheduler.jobs.get"
    JOBS_TRIGGER = "scheduler.jobs.trigger"
    JOBS_PAUSE = "scheduler.jobs.pause"
    JOBS_RESUME = "scheduler.jobs.resume"
    JOBS_ABORT = "scheduler.jobs.abort"
    JOBS_EDIT = "scheduler.jobs.edit"
    PROJECTS_GET = "scheduler.projects.get"
    PROJECTS_CONFIGURE = "scheduler.projects.configure"
    ADMIN = "scheduler.admin"


class Role(StrEnum):
    READER = "reader"
    TRIGGERER = "triggerer"
    OPERATOR = "operator"
    OWNER = "owner"


_READER = frozenset({Permission.JOBS_GET})
_TRIGGERER = _READER | {Permission.JOBS_TRIGGER}
_OPERATOR = _TRIGGERER | {Permission.JOBS_PAUSE, Permission.JOBS_RESUME, Permission.JOBS_ABORT}
_OWNER = _OPERATOR | {Permission.JOBS_EDIT, Permission.PROJECTS_GET, Permission.PROJECTS_CONFIGURE}

# Each role holds what the one before holds.
ROLE_PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {Role.READER: _READER, Role.TRIGGERER: _TRIGGERER, Role.OPERATOR: _OPERATOR, Role.OWNER: _OWNER}
)


def _methods(service: str, **permissions: Permission) -> dict[str, Permission]:
    return {f"/ostinato.{service}/{method}": permission for method, permission in permissions.items()}


METHOD_PERMISSIONS: Mapping[str, Permission] = MappingProxyType(
    {
        **_methods(
            "scheduler.v1.JobService",
            GetJob=Permission.JOBS_GET,
            ListJobs=Permission.JOBS_GET,
            BatchGetJobs=Permission.JOBS_GET,
            PauseJob=Permission.JOBS_PAUSE,
            ResumeJob=Permission.JOBS_RESUME,
            PreviewSchedule=Permission.JOBS_GET,
            ExplainJob=Permission.JOBS_GET,
            ForecastStarts=Permission.JOBS_GET,
            VerifyJob=Permission.JOBS_GET,
        ),
        **_methods(
            "scheduler.v1.InvocationService",
            GetInvocation=Permission.JOBS_GET,
            ListInvocations=Permission.JOBS_GET,
            AbortInvocation=Permission.JOBS_ABORT,
            RetryInvocation=Permission.JOBS_TRIGGER,
            ListLogs=Permission.JOBS_GET,
            WatchInvocation=Permission.JOBS_GET,
        ),
        **_methods(
            "scheduler.v1.TriggerService",
            EmitTriggers=Permission.JOBS_TRIGGER,
            ListTriggers=Permission.JOBS_GET,
        ),
        **_methods(
            "scheduler.v1.ProjectService",
            ApplyProjectConfig=Permission.PROJECTS_CONFIGURE,
            GetProject=Permission.PROJECTS_GET,
            ListProjects=Permission.PROJECTS_GET,
        ),
        **_methods(
            "scheduler.v1.AdminService",
            GetDebugJobState=Permission.ADMIN,
            ListQueues=Permission.ADMIN,
            ListDeadLetters=Permission.ADMIN,
            GetDeadLetter=Permission.ADMIN,
            PauseQueue=Permission.ADMIN,
            ResumeQueue=Permission.ADMIN,
            PurgeQueue=Permission.ADMIN,
            RequeueDeadLetters=Permission.ADMIN,
            PurgeDeadLetters=Permission.ADMIN,
            Sweep=Permission.ADMIN,
        ),
        **_methods("engine.v1.EngineService", GetStatus=Permission.ADMIN, Drain=Permission.ADMIN),
    }
)

# Their requests carry their own proof, a notification token, which the method itself verifies.
TOKEN_METHODS = frozenset(
    {
        "/ostinato.ingest.v1.NotificationService/Notify",
        "/ostinato.scheduler.v1.InvocationService/AppendLogs",
    }
)
# What everybody may ask of a server: is it well, and what does it serve.
OPEN_SERVICES = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """Gives `role` to `members` in `realms`; `*` is every realm."""

    role: Role
    members: frozenset[Identity]
    realms: frozenset[str]


Policy = tuple[RoleBinding, ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated identity. `is_admin` is decided once, when the call comes in."""

    identity: Identity
    is_admin: bool


@dataclass(frozen=True, slots=True)
class RealmScope:
    """The realms of one project in which something is allowed."""

    everywhere: bool
    realms: frozenset[str]

    def covers(self, realm: str) -> bool:
        return self.everywhere or realm in self.realms

    def __bool__(self) -> bool:
        return self.everywhere or bool(self.realms)


class Access(StrEnum):
    ALLOWED = "allowed"
    DENIED = "denied"  # the caller may see the resource, but not do that
    INVISIBLE = "invisible"  # for this caller the resource does not exist


def decide_realms(caller: Caller, policy: Policy, permission: Permission) -> RealmScope:
    """Where in a project the caller holds `permission`."""
    if caller.is_admin:
        return RealmScope(everywhere=True, realms=frozenset())
    names: set[str] = set()
    for binding in _bindings_of(caller, policy):
        if permission in ROLE_PERMISSIONS[binding.role]:
            names |= binding.realms
    return RealmScope(everywhere=ALL_REALMS in names, realms=frozenset(names - {ALL_REALMS}))


def decide_job_access(caller: Caller, policy: Policy, realm: str, permission: Permission) -> Access:
    """Of something that lives in a realm: a job, its invocations and triggers."""
    if decide_realms(caller, policy, permission).covers(realm):
        return Access.ALLOWED
    visible = decide_realms(caller, policy, Permission.JOBS_GET).covers(realm)
    return Access.DENIED if visible else Access.INVISIBLE


def decide_project_access(caller: Caller, policy: Policy, permission: Permission) -> Access:
    """Of the project as a whole: only a role in every realm counts. Whoever has any role in it may know it exists."""
    if decide_realms(caller, policy, permission).everywhere:
        return Access.ALLOWED
    visible = any(_bindings_of(caller, policy))
    return Access.DENIED if visible else Access.INVISIBLE


def decide_admin_access(caller: Caller) -> Access:
    return Access.ALLOWED if caller.is_admin else Access.DENIED


def _bindings_of(caller: Caller, policy: Policy) -> Iterable[RoleBinding]:
    return (binding for binding in policy if caller.identity in binding.members)
