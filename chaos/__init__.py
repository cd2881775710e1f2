"""Kills everything again and again under load and counts what was lost: `make chaos`."""

import os

# Children are other programs. gRPC would get ready to go on in them, and now and then aborts one that it has to leave.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
