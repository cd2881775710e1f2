"""Cloud Tasks and Cloud Pub/Sub on this machine, in memory: for laptops and tests, on loopback only."""
