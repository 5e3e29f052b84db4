"""identity of the hub."""
