"""The console command `transfer`: one module for each group of commands; this one puts them together.

Exit codes: 0 done, 1 a transfer failed, 2 usage or configuration, 3 Airflow unreachable. Standard output is data,
standard error is talk, and a mistake of the user is one message, never a traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from skyferry import __version__
from skyferry.cli import config
from skyferry.cli.audit import audit
from skyferry.cli.clean import clean
from skyferry.cli.control import cancel, retry
from skyferry.cli.demo_files import demo_files
from skyferry.cli.doctor import doctor
from skyferry.cli.output import say
from skyferry.cli.presigning_verb import presign
from skyferry.cli.provision import deprovision, policy, provision
from skyferry.cli.reading_verbs import cat, du, find, ls, stat
from skyferry.cli.receipts import receipts
from skyferry.cli.removing_verbs import mb, mkdir, rb, rm
from skyferry.cli.renaming_verb import rename
from skyferry.cli.request_options import takes_request
from skyferry.cli.run import INTERRUPTED, AsJson, Unpause, Wait, run
from skyferry.cli.sending_verbs import get, put
from skyferry.cli.statistic import statistic
from skyferry.cli.status import status
from skyferry.errors import AirflowUnreachableError, TransferError, UnknownRunError

USAGE_ERROR = 2
UNREACHABLE = 3

app = typer.Typer(
    name="transfer",
    help="Move objects between S3, Azure Blob, Google Cloud Storage and local folders as Airflow DAG runs.",
    epilog="Example: transfer --id orders_to_lake --data 2026/may.csv --copy True",
    invoke_without_command=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(config.app, name="config")
app.command(epilog="Example: transfer run --source s3://shop/ --destination az://lake/ --wait")(takes_request(run))
app.command(epilog="Example: transfer status --id orders_to_lake")(status)
app.command(epilog="Example: transfer statistic --since 7d --by route")(statistic)
app.command(epilog="Example: transfer cancel manual__2026-11-21")(cancel)
app.command(epilog="Example: transfer retry manual__2026-11-21 --failed-only")(retry)
app.command("demo-files", epilog="Example: transfer demo-files exchange/Watch --count 20 --rate 2")(demo_files)


app.command(epilog="Example: transfer audit manual__2026-11-21 --readback")(audit)
app.command(epilog="Example: transfer clean --older-than 3d --dry-run")(clean)
app.command(epilog="Example: transfer provision --id orders_as_they_come --dry-run")(provision)
app.command(epilog="Example: transfer deprovision --id orders_as_they_come --dry-run")(deprovision)
app.command(epilog="Example: transfer doctor --id orders_as_they_come")(doctor)
app.command(epilog="Example: transfer policy --id orders_to_lake")(policy)
app.command(epilog="Example: transfer receipts --id orders_to_lake --key-begins-with 2026/may --since 30d")(receipts)

app.command(epilog="Example: transfer ls s3://shop-exports/orders/")(ls)
app.command(epilog="Example: transfer stat s3://shop-exports/orders/2026/may.csv")(stat)
app.command(epilog="Example: transfer find s3://shop-exports/ --name '*.csv' --larger 10M --newer 7d")(find)
app.command(epilog="Example: transfer du az://lake/raw/ --depth 1")(du)
app.command(epilog="Example: transfer cat 's3://shop-exports/orders/2026/*.csv' --count 1K")(cat)

app.command(epilog="Example: transfer put report.csv s3://shop-exports/reports/")(put)
app.command(epilog="Example: transfer get az://lake/raw/ lake/ --recursive --include '**/*.csv'")(get)
app.command(epilog="Example: transfer rm s3://shop-exports/tmp/ --recursive --dry-run")(rm)
app.command(epilog="Example: transfer rename s3://shop-exports/tmp/may.csv s3://shop-exports/2026/may.csv")(rename)
app.command(epilog="Example: transfer mb gs://shop-archive")(mb)
app.command(epilog="Example: transfer rb gs://shop-archive --force")(rb)
app.command(epilog="Example: transfer mkdir s3://shop-exports/incoming/")(mkdir)
app.command(epilog="Example: transfer presign s3://shop-exports/reports/may.csv --expires 12h")(presign)


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except AirflowUnreachableError as error:
        say(str(error))
        sys.exit(UNREACHABLE)
    except UnknownRunError as error:
        say(str(error) if error.hint else f"{error}; see: transfer status")
        sys.exit(USAGE_ERROR)
    except TransferError as error:
        say(str(error))
        sys.exit(USAGE_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _show_version(is_wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if is_wanted:
        typer.echo(f"transfer {__version__}")
        raise typer.Exit


@app.callback()
@takes_request
def _without_a_command(
    context: typer.Context,
    conf: dict[str, Any],
    *,
    wait: Wait = False,
    unpause: Unpause = False,
    as_json: AsJson = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Move objects between S3, Azure Blob, Google Cloud Storage and local folders as Airflow DAG runs.

    Without a command it starts a transfer, as `transfer run` does.
    """
    if context.invoked_subcommand is None:
        run(conf, wait=wait, unpause=unpause, as_json=as_json)
    elif conf:
        raise typer.BadParameter(
            f"options of the transfer stand after the command: transfer {context.invoked_subcommand} ..."
        )
