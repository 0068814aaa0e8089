"""Telling others what has arrived: messages to a queue, sent before the source is let go."""
