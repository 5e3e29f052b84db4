"""scheduler of the hub."""
