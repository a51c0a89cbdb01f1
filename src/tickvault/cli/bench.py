"""`tickvault bench`: the published budgets, measured on this machine.

Invariants: `--json` prints one object, ``{"machine": …, "rows": […]}``, for every kind of benchmark; the
exit status says whether the run worked, not whether the goals were met.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from tickvault.cli import terminal
from tickvault.cli.options import F, help_without_command, json_option
from tickvault.errors import InvalidInputError

if TYPE_CHECKING:
    from tickvault.bench.report import Report


@click.group(invoke_without_command=True)
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure this machine against the published budgets.

    \b
    Examples:
      tickvault bench embedded
      tickvault bench s3 --json
      tickvault bench market --data market-data
    """
    help_without_command(context)


def _bench_options(command: F) -> F:
    command = json_option(command)
    command = click.option("--quick", is_flag=True, help="A short run: rough figures.")(command)
    return click.option(
        "--dir",
        "folder",
        metavar="DIR",
        help="A folder on the disk to measure; its files are left alone.  [default: the current one]",
    )(command)


@bench.command()
@_bench_options
def embedded(folder: str | None, quick: bool, as_json: bool) -> None:
    """Measure the embedded engine.

    Reads, durable writes, batches and listings. Beside each figure stands the raw limit of the same run: a
    slice of a map with its checksum, a pwrite with its fdatasync.

    \b
    Examples:
      tickvault bench embedded --quick
      tickvault bench embedded --dir /mnt/nvme --json
    """
    from tickvault.bench.embedded import run_embedded

    _report(run_embedded, folder, quick, as_json)


@bench.command()
@_bench_options
def s3(folder: str | None, quick: bool, as_json: bool) -> None:
    """Measure the S3 door.

    Signed GET and PUT, large bodies, listings, idle connections. nginx serves the same objects beside it,
    when it is installed.

    \b
    Examples:
      tickvault bench s3 --quick
      tickvault bench s3 --json
    """
    from tickvault.bench.s3 import run_s3

    _report(run_s3, folder, quick, as_json)


@bench.command()
@_bench_options
def security(folder: str | None, quick: bool, as_json: bool) -> None:
    """Measure what audit, encryption and policies cost.

    Audit records chained and verified, reads and writes with the trail and without, encrypted reads, ciphers
    against the bare library, policy decisions.

    \b
    Examples:
      tickvault bench security --quick
      tickvault bench security --json
    """
    from tickvault.bench.security import run_security

    _report(run_security, folder, quick, as_json)


@bench.command()
@click.option(
    "--data",
    metavar="DIR",
    envvar="TICKVAULT_MARKET_DATA",
    show_envvar=True,
    help="Folder of real market data; without it simulated rows stand in where they can.",
)
@_bench_options
def market(folder: str | None, quick: bool, as_json: bool, data: str | None) -> None:
    """Measure the market library.

    Bytes a row, decoding, live appends and subscribers, warm and cold reads, joins, books. Beside each figure stands
    the raw limit of the same run, or a rival: Parquet, polars, and ArcticDB when it is installed.

    \b
    Examples:
      tickvault bench market --quick
      tickvault bench market --data market-data --json
    """
    try:
        from tickvault.bench.market.run import run_market
    except ImportError as error:
        raise InvalidInputError(f"bench market: {error}; install the extra: pip install 'tickvault[market]'") from error

    _report(partial(run_market, data=data), folder, quick, as_json)


def _report(run: Callable[..., Report], folder: str | None, quick: bool, as_json: bool) -> None:
    report = run(folder, quick, terminal.say)
    if as_json:
        terminal.answer_json(report.as_json())
    else:
        terminal.answer(report.table_text())
