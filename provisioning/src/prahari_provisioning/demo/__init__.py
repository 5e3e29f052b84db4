"""The demo: a small site of three devices, put into service through the same code that a real one uses."""
