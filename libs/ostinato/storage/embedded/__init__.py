"""A PostgreSQL server of our own for laptops and tests, run as a supervised child process.

Start with `server.EmbeddedServer`. It needs no system service, no system user and no open door: it listens on
loopback only and asks for passwords, because others on the same machine can reach loopback.
"""
