"""Where Airflow is and how to log in: from the environment, from a file, or from the local stack.

The first of these that there is counts:

    1. TRANSFER_AIRFLOW_URL with TRANSFER_AIRFLOW_TOKEN, or with TRANSFER_AIRFLOW_USER and TRANSFER_AIRFLOW_PASSWORD
    2. the file that TRANSFER_AIRFLOW_FILE names
    3. airflow.yaml in the folder that SKYFERRY_STACK names: the local stack of this shell
    4. skyferry/airflow.yaml in the user's configuration folder (XDG_CONFIG_HOME, or ~/.config)
    5. .stack/airflow.yaml of the checkout: the local stack, which `make up` started

A file holds `url`, and `token` or `user` and `password`. Tokens and passwords are shown nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from skyferry.config_folder import project_folder, read_model
from skyferry.errors import AirflowAccessError
from skyferry.yaml_document import shown_path

ACCESS_FILE_NAME = "airflow.yaml"
URL_VARIABLE = "TRANSFER_AIRFLOW_URL"
TOKEN_VARIABLE = "TRANSFER_AIRFLOW_TOKEN"  # noqa: S105 - the name of the variable
USER_VARIABLE = "TRANSFER_AIRFLOW_USER"
PASSWORD_VARIABLE = "TRANSFER_AIRFLOW_PASSWORD"  # noqa: S105
FILE_VARIABLE = "TRANSFER_AIRFLOW_FILE"
STACK_VARIABLE = "SKYFERRY_STACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowAccess:
    """One Airflow, and a login for it.

    Attributes:
        url: Of the API server, without a slash at the end.
        token: A JSON web token of Airflow; empty to get one with user and password.
        found_in: Where this stands, for messages.
        records: The folder with the records of its runs, where this machine sees it; empty if unknown.
    """

    url: str
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    found_in: str = ""
    records: str = ""

    @property
    def text(self) -> str:
        """Address and where it was found, for messages."""
        return f"{self.url} (from {self.found_in})" if self.found_in else self.url


def _secret(value: object) -> object:
    # A password of digits is a number to YAML.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Secret = Annotated[str, BeforeValidator(_secret)]


class AccessFile(BaseModel):
    """The file that says where Airflow is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, title="Access to Airflow")

    url: str = Field(
        description="Address of Airflow's API server.",
        pattern=r"^https?://[^\s/?#@]+[^\s?#@]*$",
        json_schema_extra={"expected": "a URL such as https://airflow.example.com, without user or password in it"},
    )
    token: _Secret = Field(
        default="",
        description="A JSON web token of Airflow.",
        json_schema_extra={"expected": "a text"},
    )
    user: _Secret = Field(default="", description="Name to log in with.", json_schema_extra={"expected": "a text"})
    password: _Secret = Field(default="", description="Its password.", json_schema_extra={"expected": "a text"})
    records: str = Field(
        default="",
        description="The folder in which runs keep their records, if this machine sees it: progress is then exact.",
        json_schema_extra={"expected": "a folder"},
    )


def find_access(environ: Mapping[str, str] = os.environ) -> AirflowAccess:
    """Return the Airflow that the environment, a file or the local stack names.

    Raises:
        AirflowAccessError: None does, or what was found is wrong; the message says which place and what is wanted.
    """
    if environ.get(URL_VARIABLE):
        return _from_variables(environ)
    if environ.get(FILE_VARIABLE):
        return _from_file(Path(environ[FILE_VARIABLE]))
    for file in _usual_files(environ):
        if file.is_file():
            return _from_file(file)
    raise AirflowAccessError(
        "no Airflow is known",
        hint=f"start the local stack with `make up`, or set {URL_VARIABLE} with {TOKEN_VARIABLE} (or {USER_VARIABLE}"
        f" and {PASSWORD_VARIABLE}), or write url and token into {shown_path(_user_file(environ))}",
    )


def _from_variables(environ: Mapping[str, str]) -> AirflowAccess:
    values = {
        "url": environ[URL_VARIABLE],
        "token": environ.get(TOKEN_VARIABLE, ""),
        "user": environ.get(USER_VARIABLE, ""),
        "password": environ.get(PASSWORD_VARIABLE, ""),
    }
    try:
        stated = AccessFile.model_validate(values)
    except ValueError:
        raise AirflowAccessError(
            f"{URL_VARIABLE} is not the URL of an Airflow",
            hint="expected a URL such as https://airflow.example.com, without user or password in it",
        ) from None
    return _complete(stated, found_in=URL_VARIABLE)


def _from_file(file: Path) -> AirflowAccess:
    if not file.is_file():
        raise AirflowAccessError(f"{shown_path(file)}, which {FILE_VARIABLE} names, is not there")
    stated, problems = read_model(file, AccessFile)
    if stated is None:
        raise AirflowAccessError("; ".join(str(problem) for problem in problems))
    return _complete(stated, found_in=shown_path(file))


def _complete(stated: AccessFile, *, found_in: str) -> AirflowAccess:
    if not stated.token and not (stated.user and stated.password):
        raise AirflowAccessError(
            f"no login for {stated.url} in {found_in}",
            hint=f"set {TOKEN_VARIABLE}, or {USER_VARIABLE} and {PASSWORD_VARIABLE}"
            if found_in == URL_VARIABLE
            else "write token, or user and password, into that file",
        )
    return AirflowAccess(
        url=stated.url.rstrip("/"),
        token=stated.token,
        user=stated.user,
        password=stated.password,
        found_in=found_in,
        records=stated.records,
    )


def _usual_files(environ: Mapping[str, str]) -> list[Path]:
    stack = [Path(environ[STACK_VARIABLE])] if environ.get(STACK_VARIABLE) else []
    folders = [*stack, _user_file(environ).parent, project_folder() / ".stack"]
    return [folder / ACCESS_FILE_NAME for folder in folders]


def _user_file(environ: Mapping[str, str]) -> Path:
    folder = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(folder) / "skyferry" / ACCESS_FILE_NAME
