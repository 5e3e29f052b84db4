"""live of the hub."""
