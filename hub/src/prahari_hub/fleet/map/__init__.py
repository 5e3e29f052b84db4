"""The map: layers that a site brings, and where the devices stand."""
