"""Who asks, by Airflow's own authentication, and in whose name everything is then read and done.

The API has no rights of its own: it calls Airflow's REST v2 with the caller's token, so nobody can do or see more
through it than in Airflow itself. What has no counterpart there, writing route files, asks Airflow's auth manager.

The functions of Airflow that are used here are not part of its public interface; this module is the one place that
knows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from transfer_api.api_threads import in_thread

if TYPE_CHECKING:
    from skyferry.history.airflow_api import AirflowApi

COOKIE_NAME = "_token"
"""Airflow's own; a test compares it."""

Change = Literal["POST", "PUT", "DELETE"]

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token from `POST /auth/token`.")
_cookie = APIKeyCookie(
    name=COOKIE_NAME, auto_error=False, scheme_name="session", description="The session of Airflow's web UI."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody Airflow knows.

    Attributes:
        name: As Airflow's auth manager has it.
        airflow_url: Where this process reaches the API server it is part of.
    """

    name: str
    airflow_url: str
    token: str = field(repr=False)
    user: Any = field(repr=False)

    def airflow(self) -> AirflowApi:
        """Return Airflow's REST v2 as this caller sees it."""
        from skyferry.history.airflow_access import AirflowAccess
        from skyferry.history.airflow_api import AirflowApi

        return AirflowApi(AirflowAccess(url=self.airflow_url, token=self.token))

    async def may_write_routes(self, change: Change) -> bool:
        """Tell whether Airflow lets the caller create, change or delete connections in general.

        A route may use any connection for its own two places, so whoever writes one must be trusted with them.
        """
        from airflow.api_fastapi.app import get_auth_manager

        return await in_thread(lambda: get_auth_manager().is_authorized_connection(method=change, user=self.user))


async def signed_in(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    session: Annotated[str | None, Security(_cookie)],
) -> Caller:
    """Return who asks.

    Raises:
        HTTPException: 401 for no or an expired token; 403 for a forged one, or a session used from another site.
    """
    from airflow.api_fastapi.core_api.security import get_user

    user = await get_user(request, None, bearer)
    if bearer is None:
        _refuse_other_sites(request)
    token = bearer.credentials if bearer is not None else session or ""
    return Caller(name=user.get_name(), airflow_url=own_url(request), token=token, user=user)


SignedIn = Annotated[Caller, Depends(signed_in)]


def own_url(request: Request) -> str:
    """Return the address of this API server, from inside.

    It is the socket the request came in by, never a header of the request: a token must not be sent to a host that the
    caller names. With TLS it is the configured address, which the certificate is for.
    """
    from airflow.configuration import conf

    base_url = conf.get("api", "base_url", fallback="").rstrip("/")
    server = request.scope.get("server")
    if conf.get("api", "ssl_cert", fallback="") or not server or server[1] is None:
        return str(base_url)
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    return f"http://{host}:{server[1]}{_path_of(base_url)}"


def _path_of(url: str) -> str:
    return "/" + url.split("://", 1)[-1].partition("/")[2] if url.count("/") > 2 else ""


def _refuse_other_sites(request: Request) -> None:
    """Refuse a change that another site made the caller's browser send, with the session it keeps for Airflow.

    Browsers say where a request comes from, older ones by `Origin` only; whoever sends neither is no browser.
    """
    if request.method in _SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_of_here = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if site not in {"same-origin", "none"} if site is not None else not is_of_here:
        raise HTTPException(403, "a session of the web UI cannot be used from another site; send a token instead")
