"""`python -m ostinato_api [--check-config]`."""

from __future__ import annotations

from ostinato_api.main import main

main()
