"""A route's surroundings: what it needs, which rights, what is missing, and what brings it into being.

Nothing here asks anybody: what is there is handed in, what has to be written comes out.
"""
