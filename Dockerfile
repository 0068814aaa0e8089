# syntax=docker/dockerfile:1
# Skyferry with Airflow: the one image of every Airflow service in docker-compose.yaml.

FROM python:3.12.12-slim-bookworm AS base
# PYTHONDONTWRITEBYTECODE stays unset: without bytecode every Airflow process takes twice as long to start.
ENV AIRFLOW_HOME=/opt/airflow \
    PATH=/opt/skyferry/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1
WORKDIR /opt/skyferry
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home skyferry && mkdir /opt/airflow/logs \
    && chown 50000:0 /opt/airflow/logs

FROM base AS packages
COPY requirements.txt requirements-dev.txt ./
# The uv of the development lock, so that one pin serves every place that installs.
RUN sed -n '/^uv==/,/^ *#/p' requirements-dev.txt > /tmp/uv.txt \
    && pip install --no-cache-dir --require-hashes --no-deps -r /tmp/uv.txt \
    && python -m venv .venv \
    && uv pip sync --python .venv/bin/python --no-cache --require-hashes --compile-bytecode requirements.txt

FROM packages AS application
COPY pyproject.toml ./
COPY include include
# Before the installation, which registers the packages it finds.
COPY plugins plugins
RUN uv pip install --python .venv/bin/python --no-cache --no-deps --no-build-isolation --compile-bytecode --editable .
COPY dags dags

# The charts of the Transfers page; nothing of Node is in the image.
FROM node:22.21.1-bookworm-slim AS page
WORKDIR /page
COPY plugins/transfer_api/page/package.json plugins/transfer_api/page/package-lock.json plugins/transfer_api/page/.npmrc ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM base AS production
COPY --from=application /opt/skyferry /opt/skyferry
COPY --from=page /page/node_modules /opt/skyferry/plugins/transfer_api/page/node_modules
ENV AIRFLOW__CORE__DAGS_FOLDER=/opt/skyferry/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/skyferry/plugins
USER 50000:0
CMD ["airflow", "version"]
