"""Every SQL statement about scheduler entities, one store per table."""
