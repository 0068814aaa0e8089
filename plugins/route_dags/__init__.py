"""How DAGs are put together from operators, sensors and triggers; DAG files call this and nothing else does."""
