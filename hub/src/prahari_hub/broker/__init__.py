"""broker of the hub."""
