"""Availability: how long each device was up, down, unknown, in a planned power cut or in maintenance."""
