"""What one process of the hub does, and how several share the work."""
