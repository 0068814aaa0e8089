"""Between Airflow and the library: connections become stores, DAG run conf becomes requests, errors become retries."""
