"""evidence of the hub."""
