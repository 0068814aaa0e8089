"""The tasks of a transfer, and the DAG they make: arguments in, one call of the library, its result out."""
