"""`python -m ostinato_ingester [--check-config]`."""

from __future__ import annotations

from ostinato_ingester.main import main

main()
