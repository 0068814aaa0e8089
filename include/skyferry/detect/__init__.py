"""Seeing that there is something new to copy: what the sources tell, read without touching a source."""
