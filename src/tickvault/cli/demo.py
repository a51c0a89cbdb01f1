"""`tickvault demo`: a vault with a simulated trading day, served. It is what `make run` runs.

Invariants: only an empty vault, or one whose loading was interrupted, is loaded; everything goes through the
public API; the last object of a day is written last, so that it says whether the day is complete.
"""

from __future__ import annotations

import time

import click

import tickvault
from tickvault.cli import demo_day, terminal
from tickvault.cli.options import json_option, open_vault, vault_option
from tickvault.cli.serve import Listening, listening_options, run_server

_BUCKET = "market"
_SEED = 7
_COMPLETE_KEY = f"{demo_day.VENUE}/complete.json"
_EXAMPLE_KEY = f"{demo_day.VENUE}/{demo_day.SYMBOLS[0]}/definition.json"
_MINUTES_PER_BATCH = 10
"""400 objects: large enough to share a sync, small enough for a progress bar."""


@click.command()
@listening_options
@click.option("--no-serve", is_flag=True, help="Load the day and end.")
@vault_option
@json_option
def demo(*, host: str, port: int, workers: int | None, no_serve: bool, vault_dir: str, as_json: bool) -> None:
    """Load a simulated trading day and serve it.

    The day is loaded if the vault is empty: trades and quotes of twenty invented instruments, one object a
    minute, the same on every machine. Then the vault is served over S3, like serve does.

    \b
    Examples:
      tickvault demo
      tickvault demo --vault /tmp/demo --port 9100
      tickvault demo --no-serve --json
    """
    loaded, example_key = load_if_empty(vault_dir)
    if no_serve:
        if as_json:
            terminal.answer_json({"vault": vault_dir, "bucket": _BUCKET, "objects_loaded": loaded})
        return
    run_server(vault_dir, Listening(host, port, workers), as_json=as_json, example_key=example_key)


def load_if_empty(vault_dir: str) -> tuple[int, str | None]:
    """Load the day unless the vault holds something else or the whole of it already.

    Returns
    -------
    objects_loaded : int
    example_key : str or None
        An object of the day (``bucket/key``) if it is there.
    """
    example = f"{_BUCKET}/{_EXAMPLE_KEY}"
    with open_vault(vault_dir, create=True) as vault:
        names = [info.name for info in vault.store.list_buckets()]
        if not names:
            return _load(vault.create_bucket(_BUCKET)), example
        if _BUCKET in names:
            bucket = vault.bucket(_BUCKET)
            if _holds_the_day(bucket):
                return 0, example
            if names == [_BUCKET] and _holds_nothing_else(bucket):  # a loading that was interrupted
                return _load(bucket), example
    terminal.say(f"{vault_dir} holds other objects; the simulated day is loaded into an empty vault only")
    return 0, None


def _holds_the_day(bucket: tickvault.Bucket) -> bool:
    try:
        bucket.head(_COMPLETE_KEY)
    except tickvault.NotFoundError:
        return False
    return True


def _holds_nothing_else(bucket: tickvault.Bucket) -> bool:
    return all(entry == f"{demo_day.VENUE}/" for entry in bucket.list(delimiter="/"))


def _load(bucket: tickvault.Bucket) -> int:
    started = time.monotonic()
    terminal.say(f"loading a simulated trading day of {len(demo_day.SYMBOLS)} instruments into {_BUCKET}")
    day = [demo_day.series(symbol, _SEED) for symbol in demo_day.SYMBOLS]
    loaded = size = 0
    with terminal.Progress("loading") as progress:
        for one in day:
            bucket.put(
                f"{demo_day.VENUE}/{one.symbol}/definition.json",
                demo_day.definition(one),
                content_type="application/json",
                metadata={"venue": demo_day.VENUE, "raw_symbol": one.symbol, "simulated": "yes"},
            )
            loaded += 1
        batch: list[tuple[str, bytes]] = []
        for minute, objects in enumerate(demo_day.minutes(day), start=1):
            batch += objects
            if minute % _MINUTES_PER_BATCH == 0 or minute == demo_day.MINUTE_COUNT:
                size += sum(info.size for info in bucket.put_many(batch))
                loaded += len(batch)
                batch = []
                progress(loaded, demo_day.object_count(), "objects")
        bucket.put(_COMPLETE_KEY, b'{"date": "%s"}' % demo_day.DATE.encode(), content_type="application/json")
    seconds = time.monotonic() - started
    terminal.say(
        f"loaded {terminal.count(loaded + 1, 'object')}, {terminal.format_size(size)}, each synced to disk, "
        f"in {seconds:.1f} s"
    )
    terminal.say("")
    return loaded + 1
