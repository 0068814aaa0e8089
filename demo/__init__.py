"""The demo: real files move between all stores as real DAG runs of the local stack, and each copy is checked.

`make demo` runs it. What it checks, it checks without Skyferry: with the vendors' own clients, against the files on
disk. It works on the emulators of the local stack only, in buckets of its own that it empties at every start.
"""
