"""incidents of the hub."""
