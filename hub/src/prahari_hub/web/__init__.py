"""web of the hub."""
