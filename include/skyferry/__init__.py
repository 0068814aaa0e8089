"""Move objects between S3, Azure Blob, Google Cloud Storage and local folders, and prove that they arrived.

This library imports no Airflow: the folders `dags/` and `plugins/` adapt it to Airflow.
"""

__version__ = "0.1.0"
