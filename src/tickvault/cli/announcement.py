"""What a server tells the person who started it: where it is, how to connect, and how it goes.

Invariants: a secret is never printed, only where it lies; everything that looks like code can be pasted as it
stands; without a terminal there is a line a minute and only when something happened.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

import click

from tickvault.cli import terminal

if TYPE_CHECKING:
    from tickvault.doors.s3.server import Endpoint
    from tickvault.doors.s3.supervisor import Counters

_LOG_INTERVAL_SECONDS = 60.0
#: What a server that listens everywhere is called on its own machine.
_HERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def announce(vault_dir: str, endpoint: Endpoint, certificate: str | None, example_key: str | None) -> None:
    """Print where the server is and how to connect to it.

    `example_key` is a ``bucket/key`` that the examples read; without one they list buckets.
    """
    heading = click.style("TickVault", bold=True)
    terminal.say(f"{heading} serves {vault_dir} over S3")
    terminal.say("")
    for name, text in (
        ("endpoint", click.style(endpoint.url, fg="green", bold=True)),
        ("access key", endpoint.access_key),
        ("secret key", f"in {endpoint.credentials_path} (only you can read it)"),
        ("workers", str(endpoint.workers)),
    ):
        terminal.say(f"  {name:<11} {text}")
    terminal.say("")
    terminal.say(click.style("Python", bold=True) + " (pip install boto3):")
    terminal.say("")
    terminal.say(boto3_example(endpoint, certificate, example_key))
    terminal.say(click.style("Shell", bold=True) + " (awscli):")
    terminal.say("")
    terminal.say(awscli_example(endpoint, certificate, example_key))
    terminal.say("Ctrl-C stops the server.")
    terminal.say("")


def reachable_url(endpoint: Endpoint) -> str:
    """Return a URL for a client on this machine: a server that listens everywhere is at the loopback address too."""
    here = _HERE.get(endpoint.host)
    if here is None:
        return endpoint.url
    scheme = endpoint.url.partition("://")[0]
    return f"{scheme}://{here}:{endpoint.port}"


def boto3_example(endpoint: Endpoint, certificate: str | None, example_key: str | None) -> str:
    """Return lines of Python that connect and read something, taking the secret from where it lies."""
    source = os.path.abspath(endpoint.credentials_path)
    if source.endswith(".json"):
        load = [f"key = json.load(open({source!r}))"]
        access, secret = 'key["access_key"]', 'key["secret_key"]'
    else:  # the secret comes from a file that the environment names
        load = []
        access, secret = repr(endpoint.access_key), f"open({source!r}).read().strip()"
    verify = f", verify={os.path.abspath(certificate)!r}" if certificate else ""
    lines = [
        "import boto3, json" if load else "import boto3",
        *load,
        f's3 = boto3.client("s3", endpoint_url="{reachable_url(endpoint)}", region_name="us-east-1"{verify},',
        f"                  aws_access_key_id={access}, aws_secret_access_key={secret})",
    ]
    if example_key:
        bucket, _, key = example_key.partition("/")
        lines.append(f'print(s3.get_object(Bucket="{bucket}", Key="{key}")["Body"].read().decode())')
    else:
        lines.append('print([bucket["Name"] for bucket in s3.list_buckets()["Buckets"]])')
    return "\n".join(lines) + "\n"


def awscli_example(endpoint: Endpoint, certificate: str | None, example_key: str | None) -> str:
    """Return lines of shell that connect and list something."""
    source = shlex.quote(os.path.abspath(endpoint.credentials_path))
    if endpoint.credentials_path.endswith(".json"):
        load = 'import json, sys; print(json.load(sys.stdin)["secret_key"])'
        read = f"$({shlex.quote(sys.executable)} -c {shlex.quote(load)} < {source})"
    else:
        read = f"$(cat {source})"
    bundle = f" --ca-bundle {shlex.quote(os.path.abspath(certificate))}" if certificate else ""
    place = f" s3://{example_key.rpartition('/')[0]}/" if example_key else ""
    lines = [
        f"export AWS_ACCESS_KEY_ID={endpoint.access_key} AWS_DEFAULT_REGION=us-east-1",
        f"export AWS_SECRET_ACCESS_KEY={read}",
        f"aws --endpoint-url {reachable_url(endpoint)}{bundle} s3 ls{place}",
    ]
    return "\n".join(lines) + "\n"


def log_to_stderr() -> None:
    """Let the server's warnings and errors appear on stderr, above the changing line of a terminal."""
    wipe = "\r\x1b[2K" if sys.stderr.isatty() else ""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{wipe}%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("tickvault")
    logger.addHandler(handler)
    logger.propagate = False


class Rates:
    """Live figures of a server: one line that changes on a terminal, a line a minute in a log."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._seen: Counters | None = None
        self._seen_at = time.monotonic()
        self._last: Counters | None = None
        self._drawn = False

    def __call__(self, stats: Counters) -> None:
        """Take the figures of this moment."""
        self._last = stats
        now = time.monotonic()
        seconds = now - self._seen_at
        if self._seen is None:
            self._seen, self._seen_at = stats, now
            return
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[2K{self.line(self._seen, stats, seconds)[:width]}")
            self._stream.flush()
            self._drawn = True
        elif seconds < _LOG_INTERVAL_SECONDS:
            return
        elif stats.requests != self._seen.requests:
            stamp = terminal.format_time(time.time_ns())
            self._stream.write(f"{stamp} {self.line(self._seen, stats, seconds)}\n")
            self._stream.flush()
        self._seen, self._seen_at = stats, now

    @staticmethod
    def line(before: Counters, now: Counters, seconds: float) -> str:
        """Say what happened between two moments; errors are counted since the start."""

        def rate(name: str) -> float:
            amount: int = getattr(now, name) - getattr(before, name)
            return amount / seconds

        received, sent = (terminal.format_size(rate(name)) for name in ("bytes_in", "bytes_out"))
        faults = [
            f"{amount:,} {word}"
            for amount, word in ((now.client_errors, "refused"), (now.server_errors, "failed"))
            if amount
        ]
        return (
            f"{rate('requests'):,.0f} requests/s  {rate('objects_read'):,.0f} gets  "
            f"{rate('objects_written'):,.0f} puts  in {received}/s  out {sent}/s  "
            f"{now.connections:,} open  {', '.join(faults) or 'no errors'}"
        )

    def end(self) -> None:
        """Leave the changing line behind, and say what was done in all."""
        if self._drawn:
            self._stream.write("\r\x1b[2K")
            self._drawn = False
        total = self._last
        if total is None:
            terminal.say("stopped")
            return
        terminal.say(
            f"stopped after {terminal.count(total.requests, 'request')}: "
            f"{terminal.count(total.objects_read, 'object')} read, {total.objects_written:,} written, "
            f"{terminal.count(total.client_errors + total.server_errors, 'error')}"
        )
