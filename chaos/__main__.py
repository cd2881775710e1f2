"""`python -m chaos`: kills everything again and again under load, settles, and counts what was lost or done twice.

Exits with 1 if anything was; the logs and the database are kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from chaos.installation import NotStartedError
from chaos.report import details, table
from chaos.run import Plan, run_chaos


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the plan of faults; default: a random one, which is printed")
    parser.add_argument("--seconds", type=float, default=80, help="how long things go wrong; default 80")
    parser.add_argument("--rate", type=float, help="triggers per second; default 250, with --cloud 30")
    parser.add_argument("--cloud", action="store_true", help="tasks wait in local Cloud Tasks, which fail too")
    parser.add_argument("--runs", type=int, default=1, help="that many runs, until one fails; seeds count up")
    parser.add_argument("--keep", action="store_true", help="keep logs and database of a run that passed, too")
    parser.add_argument("--details", action="store_true", help="tell what was logged even if nothing is wrong")
    return parser.parse_args()


def run_once(plan: Plan, *, keep: bool, tell_details: bool) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="ostinato-chaos-"))
    folder.chmod(0o755)  # PostgreSQL's own account must come through
    passed = False
    try:
        outcome = asyncio.run(run_chaos(plan, folder))
        print(table(outcome), flush=True)
        passed = outcome.passed
        if tell_details or not passed:
            print(details(outcome), flush=True)
    except NotStartedError as error:
        print(f"not started: {error}")
    finally:
        if passed and not keep:
            shutil.rmtree(folder)
        else:
            print(f"\nlogs and database: {folder}", flush=True)
    return passed


def main() -> int:
    arguments = parse_arguments()
    logging.basicConfig(level=logging.WARNING)
    first = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    rate = arguments.rate or (30 if arguments.cloud else 250)
    for seed in range(first, first + arguments.runs):
        plan = Plan(seed, arguments.seconds, rate, with_cloud=arguments.cloud)
        if not run_once(plan, keep=arguments.keep, tell_details=arguments.details):
            return 1
    return 0


if __name__ == "__main__":
    # As Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
