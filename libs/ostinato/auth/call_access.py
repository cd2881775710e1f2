"""The rights check of one call: the one place where a method's permission meets a resource.

It remembers that it was asked, so that whoever runs the call can withhold an answer that nobody checked.
"""

from __future__ import annotations

from ostinato.auth.permissions import (
    Access,
    Caller,
    Permission,
    Policy,
    RealmScope,
    decide_admin_access,
    decide_job_access,
    decide_project_access,
    decide_realms,
)
from ostinato.errors import NotFound, PermissionDenied


class CallAccess:
    """`permission` is what the called method asks for."""

    def __init__(self, caller: Caller, permission: Permission) -> None:
        self.caller = caller
        self.permission = permission
        self.asked = False

    def require_job(self, policy: Policy, realm: str, resource: str, permission: Permission | None = None) -> None:
        """Raises NotFound for what the caller may not see, PermissionDenied for what it may only see.

        `permission`: a further one that this request needs.
        """
        needed = permission or self.permission
        self._require(decide_job_access(self.caller, policy, realm, needed), needed, resource)

    def access_to_job(self, policy: Policy, realm: str) -> Access:
        """For requests about many jobs, which answer for all of them at once."""
        self.asked = True
        return decide_job_access(self.caller, policy, realm, self.permission)

    def require_project(self, policy: Policy, resource: str) -> None:
        """As `require_job`, of a project as a whole."""
        self._require(decide_project_access(self.caller, policy, self.permission), self.permission, resource)

    def require_admin(self) -> None:
        self._require(decide_admin_access(self.caller), Permission.ADMIN, "this deployment")

    def realms(self, policy: Policy) -> RealmScope:
        """For listings: where in a project the method's permission is held."""
        self.asked = True
        return decide_realms(self.caller, policy, self.permission)

    def is_needless(self) -> None:
        """Says that the answer follows from the request alone and shows nothing of anybody."""
        self.asked = True

    def not_found(self, resource: str) -> NotFound:
        """The answer for what does not exist: the same as for what is invisible."""
        self.asked = True
        return not_found(resource)

    def _require(self, access: Access, permission: Permission, resource: str) -> None:
        self.asked = True
        match access:
            case Access.ALLOWED:
                return
            case Access.DENIED:
                raise PermissionDenied(f"{self.caller.identity} lacks {permission} on {resource}")
            case Access.INVISIBLE:
                raise not_found(resource)


def not_found(resource: str) -> NotFound:
    return NotFound(f"{resource} does not exist, or you may not see it", resource=resource)
