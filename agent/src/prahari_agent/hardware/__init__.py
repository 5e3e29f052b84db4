"""What differs by board."""
