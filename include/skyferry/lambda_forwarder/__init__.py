"""An AWS Lambda function that rings Airflow for events of S3; packed alone, it needs nothing but Python.

Besides this folder it takes `skyferry.stores.sigv4`, which needs nothing either.
"""
