"""`python -m ostinato.localcloud [--grpc ADDRESS] [--http ADDRESS]`."""

from __future__ import annotations

from ostinato.localcloud.main import main

if __name__ == "__main__":
    main()
