"""fleet of the hub."""
