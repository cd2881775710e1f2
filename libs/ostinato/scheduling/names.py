"""Resource names: `projects/{project}/jobs/{job}/invocations/{id}`.

Job ids hold no slash, so a name splits in one way only. Names in URLs and headers are percent-encoded there.
"""

from __future__ import annotations

import re

from ostinato.scheduling.invocation_id import InvocationId

PROJECT_ID_RULE = "must be 1 to 63 lower-case letters, digits and dashes, beginning with a letter"
JOB_ID_RULE = "must be 1 to 100 letters, digits, spaces and any of _ - . ( )"

_PROJECT_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_JOB_ID = re.compile(r"[0-9A-Za-z_\-. ()]{1,100}")
_INVOCATION_ID = re.compile(r"[1-9][0-9]{0,18}")
_MAX_INVOCATION_ID = (1 << 63) - 1


class ResourceNameError(ValueError):
    """The message is the rule that the name breaks."""


def is_project_id(text: str) -> bool:
    return _PROJECT_ID.fullmatch(text) is not None


def is_job_id(text: str) -> bool:
    return _JOB_ID.fullmatch(text) is not None


def project_name(project: str) -> str:
    return f"projects/{project}"


def job_name(project: str, job: str) -> str:
    return f"projects/{project}/jobs/{job}"


def invocation_name(job: str, invocation_id: int) -> str:
    """`job` is the job's full name."""
    return f"{job}/invocations/{invocation_id}"


def short_name(name: str) -> str:
    """As one types it: `shop/nightly/7` of `projects/shop/jobs/nightly/invocations/7`."""
    return "/".join(name.split("/")[1::2])


def parse_project_name(text: str) -> str:
    """The project's id."""
    match text.split("/"):
        case ["projects", project] if is_project_id(project):
            return project
        case _:
            raise ResourceNameError("must look like projects/{project}")


def parse_job_name(text: str) -> tuple[str, str]:
    """(project, job): ids."""
    match text.split("/"):
        case ["projects", project, "jobs", job] if is_project_id(project) and is_job_id(job):
            return project, job
        case _:
            raise ResourceNameError("must look like projects/{project}/jobs/{job}")


def parse_invocation_name(text: str) -> tuple[str, str, InvocationId]:
    """(project, job, invocation): ids."""
    match text.split("/"):
        case ["projects", project, "jobs", job, "invocations", number] if (
            is_project_id(project) and is_job_id(job) and _is_invocation_id(number)
        ):
            return project, job, InvocationId(int(number))
        case _:
            raise ResourceNameError("must look like projects/{project}/jobs/{job}/invocations/{id}")


def _is_invocation_id(text: str) -> bool:
    return _INVOCATION_ID.fullmatch(text) is not None and int(text) <= _MAX_INVOCATION_ID
