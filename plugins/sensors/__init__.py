"""Sensors: they notice that a source has work, and consume nothing of it."""
