"""Fixtures of all tests: real databases."""

from __future__ import annotations

from ostinato.testing.fixtures import *  # noqa: F403
