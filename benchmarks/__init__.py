"""Measures the task queue and the scheduler beside a bare asyncpg loop, in one run on one database server.

A result is a ratio: both sides alternate (A B A B …) on the same durable PostgreSQL. Run `python -m benchmarks`;
docs/benchmarks.md says how to read what it prints.
"""

from __future__ import annotations

import os

# The measuring process starts service processes while it has a gRPC client: gRPC would comment on each fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
