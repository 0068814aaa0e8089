"""The Transfers page: static files, and the headers that keep anything else out of them."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE_PATH = "/page"
_FOLDER = Path(__file__).parent / "page"
_CHARTS = _FOLDER / "node_modules" / "uplot" / "dist"

_HEADERS = {
    # Nothing inline and nothing from elsewhere; Airflow itself shows the page in a frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class _Files(StaticFiles):
    """Files with the page's headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def add_page(app: FastAPI) -> None:
    """Serve the page below `/page`, and the charting library from where npm installed it.

    Without that library (`make install` gets it) the page shows tables in place of charts.
    """
    app.mount(f"{PAGE_PATH}/charts", _Files(directory=_CHARTS, check_dir=False), name="charts")
    app.mount(PAGE_PATH, _Files(directory=_FOLDER / "static", html=True), name="page")

    @app.get("/", include_in_schema=False)
    async def to_page() -> Response:
        return RedirectResponse("page/")
