"""Random projects: a handful of jobs that differ in all that the scheduler distinguishes."""

from __future__ import annotations

import json
from random import Random
from typing import Any

PROJECT = "shop"
# Given triggers by people; the others run by time or after others.
TRIGGERED = ("hot", "slow", "web")
NAMES = (*TRIGGERED, "after", "tick", "often", "rest")


def random_job(random: Random, name: str) -> dict[str, Any]:
    """A stanza. Runs are short and few, so that the walk meets every limit."""
    policy = random_policy(random)
    stanza = {"id": name, "triggering_policy": policy, "timeout": f"{random.randint(20, 60)}s"}
    match name:
        case "hot":
            return stanza | {"noop": {}}
        case "slow":
            return stanza | {
                "noop": {"sleep": f"{random.randint(1, 15)}s", "triggers_count": random.randint(0, 2)},
                "downstream": [{"job": "after", "trigger_on": random.choice(("SUCCESS", "FAILURE", "FINISH"))}],
            }
        case "web":
            reports = random.random() < 0.7
            silence = {"heartbeat_timeout": f"{random.randint(3, 15)}s"} if reports and random.random() < 0.6 else {}
            return (
                stanza
                | silence
                | {
                    "http": {"url": "http://work.example/", "multistage": reports},
                    "retry": {"max_attempts": random.randint(1, 3), "min_backoff": "1s", "max_backoff": "8s"},
                    "downstream": [
                        {"job": "after", "trigger_on": "FINISH"},
                        {"job": "hot", "trigger_on": random.choice(("SUCCESS", "FAILURE"))},
                    ],
                }
            )
        case "tick" | "often":
            period = random.randint(2, 9) if name == "often" else random.randint(5, 20)
            work = {"noop": {"sleep": f"{random.randint(0, 4)}s"}}
            return stanza | {"schedule": f"every {period}s"} | _terms(period) | work
        case "rest":
            return stanza | {"schedule": f"with {random.randint(2, 9)}s interval", "noop": {"sleep": "1s"}}
        case _:
            return stanza | {"noop": {}}


def random_policy(random: Random) -> dict[str, Any]:
    policy = {"max_concurrent_invocations": random.randint(1, 3), "max_batch_size": random.choice((1, 2, 5))}
    match random.randint(0, 5):
        case 0:
            return policy | {"kind": "LOGARITHMIC_BATCHING", "log_base": random.choice((1.5, 2))}
        case 1:
            return policy | {"kind": "NEWEST_FIRST", "pending_timeout": f"{random.randint(2, 30)}s"}
        case _:
            return policy


def _terms(period: int) -> dict[str, Any]:
    """Delays and deadlines of slots, and what becomes of missed ones, different from one period to the next."""
    terms: dict[str, Any] = {"offset": f"{period % 3 * 2}s", "jitter": f"{period % 4 * 900}ms"}
    catch_up: tuple[dict[str, Any], ...] = (
        {},
        {"policy": "LATEST"},
        {"policy": "ALL", "window": f"{period * 5}s", "limit": 3},
        {"policy": "ALL"},
        {"policy": "LATEST", "window": "5s"},
    )
    terms["catch_up"] = catch_up[period % len(catch_up)]
    return terms | {"start_deadline": f"{period * 2}s"} if period % 2 else terms


def random_stanzas(random: Random) -> dict[str, dict[str, Any]]:
    return {name: random_job(random, name) for name in NAMES}


def without_schedules(stanzas: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    terms = {"schedule", "offset", "jitter", "start_deadline", "catch_up"}
    return {name: {key: value for key, value in stanza.items() if key not in terms} for name, stanza in stanzas.items()}


def config_text(stanzas: dict[str, dict[str, Any]]) -> str:
    """JSON is YAML. What isn't there can't be triggered."""
    jobs = [
        stanza | {"downstream": [entry for entry in stanza.get("downstream", ()) if entry["job"] in stanzas]}
        for stanza in stanzas.values()
    ]
    return json.dumps({"project": PROJECT, "jobs": jobs})
