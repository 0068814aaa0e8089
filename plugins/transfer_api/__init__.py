"""Transfers over HTTP: the REST API and the Transfers page, which Airflow's API server serves below /transfer/v1."""
