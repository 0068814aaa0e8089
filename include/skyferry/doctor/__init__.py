"""The doctor: finds out what a route may do in its places before a transfer does.

Nothing here is Airflow's, and nothing is left behind where it looks.
"""
