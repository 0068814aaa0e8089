"""The console command `transfer`: one module for each group of commands; this one puts them together.

Exit codes: 0 done, 1 a transfer failed, 2 usage or configuration, 3 Airflow unreachable. Standard output is data,
standard error is talk, and a mistake of the user is one message, never a traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from skyferry import __version__
from skyferry.cli import config
from skyferry.cli.demo_files import demo_files
from skyferry.cli.output import say
from skyferry.errors import TransferError

USAGE_ERROR = 2

app = typer.Typer(
    name="transfer",
    help="Move objects between S3, Azure Blob, Google Cloud Storage and local folders as Airflow DAG runs.",
    epilog="Example: transfer config list",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config.app, name="config")
app.command("demo-files", epilog="Example: transfer demo-files exchange/Watch --count 20 --rate 2")(demo_files)


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except TransferError as error:
        say(str(error))
        sys.exit(USAGE_ERROR)


def _show_version(is_wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if is_wanted:
        typer.echo(f"transfer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that stand before the command."""
