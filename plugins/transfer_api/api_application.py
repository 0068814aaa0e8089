"""Puts the API together: one FastAPI application, with limits and headers that hold for all of it."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from skyferry import __version__
from transfer_api import api_events, api_routes, api_statistics, api_transfers
from transfer_api.api_limits import BodyLimit
from transfer_api.api_models import Health
from transfer_api.api_page import add_page
from transfer_api.api_problems import Problem, add_problem_handlers

URL_PREFIX = "/transfer/v1"

_DESCRIPTION = """\
Start transfers, watch them, and read what they add up to. It runs in Airflow's API server, below `/transfer/v1`, and
does everything in your name: log in to Airflow (`POST /auth/token`), send the token as `Authorization: Bearer`, and you
may do here what you may do there.

Every error is a problem document (RFC 9457) whose `code` is the class that logs and the command line show.
"""

_unprotected = APIRouter(tags=["health"])


@_unprotected.get("/health", summary="Is the API there?")
async def health() -> Health:
    """Answer without a login; says nothing about stores, nor about the rest of Airflow."""
    return Health(version=__version__)


def build_api() -> FastAPI:
    """Return the application that Airflow's API server mounts.

    Every operation but `/health` asks Airflow who the caller is; files of the page hold no data and are public, as
    those of Airflow's own UI are.
    """
    app = FastAPI(
        title="Skyferry",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # needs scripts of another host
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": URL_PREFIX, "description": "Below the address of Airflow."}],
        root_path_in_servers=False,
    )
    app.include_router(_unprotected)
    for module in (api_routes, api_transfers, api_statistics, api_events):
        app.include_router(module.router)
    add_page(app)
    add_problem_handlers(app)
    app.add_middleware(BodyLimit)
    _add_problem_schema(app)
    return app


def _add_problem_schema(app: FastAPI) -> None:
    """Name the shape of errors in the OpenAPI document, which lists only what operations return."""
    document = app.openapi()
    document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    for operations in document["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            if "application/json" in answers.get("422", {}).get("content", {}):
                del answers["422"]
