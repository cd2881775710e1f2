"""The `bindings` of a project config: their rules, and the policy that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from ostinato.auth.identity import parse_identity
from ostinato.auth.permissions import ALL_REALMS, Policy, Role, RoleBinding
from ostinato.errors import Violation
from ostinato.pb.scheduler.v1 import project_config_pb2
from ostinato.pb.scheduler.v1.project_config_pb2 import ProjectConfig
from ostinato.scheduling.validate_job import validate_realm

MAX_BINDINGS = 1000
MAX_MEMBERS = 1000
_ROLES = ", ".join(Role)


def fill_binding_defaults(config: ProjectConfig) -> None:
    for binding in config.bindings:
        if not binding.realms:
            binding.realms.append(ALL_REALMS)


def validate_bindings(bindings: Sequence[project_config_pb2.RoleBinding]) -> Iterator[Violation]:
    if len(bindings) > MAX_BINDINGS:
        yield Violation("bindings", f"must be at most {MAX_BINDINGS}")
    for index, binding in enumerate(bindings):
        yield from _validate_binding(binding, f"bindings[{index}]")


def _validate_binding(binding: project_config_pb2.RoleBinding, path: str) -> Iterator[Violation]:
    if binding.role not in [role.value for role in Role]:
        yield Violation(f"{path}.role", f"must be one of {_ROLES}")
    if len(binding.members) > MAX_MEMBERS:
        yield Violation(f"{path}.members", f"must be at most {MAX_MEMBERS}")
    for index, member in enumerate(binding.members):
        try:
            parse_identity(member)
        except ValueError as error:
            yield Violation(f"{path}.members[{index}]", str(error))
    for index, realm in enumerate(binding.realms):
        if realm != ALL_REALMS:
            yield from validate_realm(realm, f"{path}.realms[{index}]")


@lru_cache(maxsize=10_000)
def policy_of(bindings: bytes) -> Policy:
    """The policy of stored bindings, valid when stored. A role that this build does not know gives nothing."""
    known = [role.value for role in Role]
    return tuple(
        RoleBinding(
            Role(binding.role),
            frozenset(parse_identity(member) for member in binding.members),
            frozenset(binding.realms),
        )
        for binding in ProjectConfig.FromString(bindings).bindings
        if binding.role in known
    )
