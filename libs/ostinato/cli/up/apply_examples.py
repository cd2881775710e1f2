"""Applies the example projects with the same command that a person would type."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ostinato.cli.up.service_specs import PYTHON


async def apply_examples(files: Sequence[Path], api_address: str, environ: Mapping[str, str]) -> str:
    """What `ostinato apply` printed. A refusal is told in its words, too: it is not a reason to stop."""
    program = "from ostinato.cli.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(*PYTHON, "-c", program, "--address", api_address, "apply", *(str(file) for file in files)),
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode(errors="replace").strip()
