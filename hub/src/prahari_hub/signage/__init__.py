"""signage of the hub."""
