"""ingest of the hub."""
