"""`python -m ostinato_engine [--check-config]`."""

from __future__ import annotations

from ostinato_engine.main import main

main()
