"""Triggers: what waits in the triggerer for sensors and routes; they look, and consume nothing."""
