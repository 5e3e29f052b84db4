"""http of the hub."""
