"""`ostinato up`: a whole installation on one machine, kept running by one supervisor."""
