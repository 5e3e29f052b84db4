"""A variable message display: drawing, playing, and following playlist and overrides."""
