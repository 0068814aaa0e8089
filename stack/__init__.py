"""The local stack: the emulators and Airflow of a development machine, as one table of components.

`python -m stack up|down|status|env` (or `make up` and so on) runs all of them in the background under supervisord.
`stack.running.running` starts a single one on a free port for as long as a test needs it. Both read
`stack.components`, so what the tests run is what the stack runs.

Everything listens on 127.0.0.1 only, and every credential is a published development one: this is not a deployment.
docker-compose.yaml has the production shape, with the same settings (`*.env`) and Airflow commands.
"""
