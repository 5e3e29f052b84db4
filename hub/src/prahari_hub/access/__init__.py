"""access of the hub."""
