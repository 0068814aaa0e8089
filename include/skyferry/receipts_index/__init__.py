"""Receipts in a table beside the state folder, where one object's history is found without reading whole runs.

The records in the state folder stay the truth. Nothing here asks a service: items come out, rows go in.
"""
