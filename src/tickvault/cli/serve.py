"""`tickvault serve`: the S3 door on a vault, until Ctrl-C or SIGTERM.

Invariants: what can be refused is refused before anything is announced; a secret is never printed; this
process holds no vault open, since its workers are forked from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from tickvault.cli import interrupts, terminal
from tickvault.cli.announcement import Rates, announce, log_to_stderr
from tickvault.cli.options import F, json_option
from tickvault.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens, and whom it answers."""

    host: str
    port: int
    workers: int | None
    certificate: str | None = None
    private_key: str | None = None
    domains: Sequence[str] = ()
    region: str = "us-east-1"
    allow_anonymous: bool = False


def listening_options(command: F) -> F:
    """Add ``--host``, ``--port`` and ``--workers``."""
    command = click.option(
        "--workers", type=click.IntRange(1, 256), metavar="COUNT", help="Processes.  [default: one a core]"
    )(command)
    command = click.option(
        "--port",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        default=9000,
        show_default=True,
        help="Port to listen on; 0 takes a free one.",
    )(command)
    return click.option(
        "--host",
        metavar="HOST",
        default="127.0.0.1",
        show_default=True,
        help="Address to listen on; 0.0.0.0 or :: is every one.",
    )(command)


@click.command()
@click.argument("vault_dir", metavar="[DIR]", default="./data", envvar="TICKVAULT_VAULT")
@listening_options
@click.option("--cert", "certificate", metavar="FILE", help="Serve TLS with this certificate chain (PEM).")
@click.option("--key", "private_key", metavar="FILE", help="Private key of the certificate (PEM).")
@click.option("--domain", "domains", metavar="NAME", multiple=True, help="BUCKET.NAME is a bucket; may be repeated.")
@click.option(
    "--region",
    metavar="NAME",
    default="us-east-1",
    show_default=True,
    help="Region that buckets report.",
)
@click.option(
    "--allow-anonymous",
    is_flag=True,
    help="Answer unsigned requests too, as far as bucket policies and canned ACLs open it.",
)
@json_option
def serve(
    *,
    vault_dir: str,
    host: str,
    port: int,
    workers: int | None,
    certificate: str | None,
    private_key: str | None,
    domains: tuple[str, ...],
    region: str,
    allow_anonymous: bool,
    as_json: bool,
) -> None:
    """Serve a vault over S3.

    DIR is the vault's folder (default ./data, or TICKVAULT_VAULT) and is made if it is missing. A new vault
    makes a key pair in a file that only its owner can read; TICKVAULT_ACCESS_KEY and
    TICKVAULT_SECRET_KEY_FILE take its place. With --json, one object is printed on stdout once the server
    answers.

    \b
    Examples:
      tickvault serve data
      tickvault serve data --host 0.0.0.0 --port 9443 --cert server.crt --key server.key
      tickvault serve data --domain s3.example.com --workers 4
    """
    if (certificate is None) != (private_key is None):
        missing = "--key" if private_key is None else "--cert"
        raise InvalidInputError(f"serve: TLS needs --cert and --key together; {missing} is missing")
    options = Listening(host, port, workers, certificate, private_key, domains, region, allow_anonymous)
    run_server(vault_dir, options, as_json=as_json)


def run_server(vault_dir: str, options: Listening, *, as_json: bool, example_key: str | None = None) -> None:
    """Serve until the process is told to stop; the rates go to stderr.

    Parameters
    ----------
    vault_dir : str
        Folder of the vault.
    options : Listening
        Where to listen, and whom to answer.
    as_json : bool
        Print one JSON object on stdout when the server answers.
    example_key : str, optional
        An object (``bucket/key``) for the printed examples to read.
    """
    try:
        with interrupts.ending_at_once():
            from tickvault.doors.s3 import server
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"serve needs {error.name}, which is not installed; run: pip install 'tickvault[s3]'"
        ) from None

    log_to_stderr()
    rates = Rates()

    def on_ready(endpoint: server.Endpoint) -> None:
        announce(vault_dir, endpoint, options.certificate, example_key)
        if options.allow_anonymous:
            terminal.say(click.style("Unsigned requests are answered: do not expose this port.", fg="yellow"))
        if as_json:
            terminal.answer_json(
                {
                    "endpoint": endpoint.url,
                    "host": endpoint.host,
                    "port": endpoint.port,
                    "workers": endpoint.workers,
                    "access_key": endpoint.access_key,
                    "credentials_file": endpoint.credentials_path,
                }
            )

    server.serve(
        vault_dir,
        host=options.host,
        port=options.port,
        workers=options.workers,
        certificate=options.certificate,
        private_key=options.private_key,
        domains=options.domains,
        region=options.region,
        allow_anonymous=options.allow_anonymous,
        on_ready=on_ready,
        on_tick=rates,
    )
    rates.end()
