"""`tickvault demo`: a vault with a simulated trading day, served. It is what `make run` runs.

The day goes into a library of market data; its quotes and trades go into a bucket too, as small objects for S3 clients.

Invariants: only an empty vault, or one whose loading was interrupted, is loaded; everything goes through the
public API; the last object of a day is written last, so that it says whether the day is complete; loading it again
puts each series in the place of what there is of it, so that nothing is there twice.
"""

from __future__ import annotations

import shlex
import time
from typing import NamedTuple

import click

import tickvault
from tickvault.cli import demo_day, terminal
from tickvault.cli.options import VAULT_DEFAULT, json_option, open_vault, vault_option
from tickvault.cli.serve import Listening, listening_options, run_server

_BUCKET = "market"
_LIBRARY = "demo"
_LIBRARY_BUCKET = f"library-{_LIBRARY}"
_SEED = 7
_COMPLETE_KEY = f"{demo_day.VENUE}/complete.json"
_EXAMPLE_KEY = f"{demo_day.VENUE}/{demo_day.SYMBOLS[0]}/definition.json"
_MINUTES_PER_BATCH = 10
"""400 objects: large enough to share a sync, small enough for a progress bar."""


class Loaded(NamedTuple):
    """What a loading did."""

    objects: int = 0
    rows: int = 0
    """In the library."""
    example_key: str | None = None
    """An object of the day (``bucket/key``), if it is there."""


@click.command()
@listening_options
@click.option("--no-serve", is_flag=True, help="Load the day and end.")
@vault_option
@json_option
def demo(*, host: str, port: int, workers: int | None, no_serve: bool, vault_dir: str, as_json: bool) -> None:
    """Load a simulated trading day and serve it.

    The day is loaded if the vault is empty: orders, trades and quotes of twenty invented instruments, the same on
    every machine. It goes into the library demo and, as one object a minute, into the bucket market. Then the vault
    is served over S3, like serve does.

    \b
    Examples:
      tickvault demo
      tickvault demo --vault /tmp/demo --port 9100
      tickvault demo --no-serve --json
    """
    loaded = load_if_empty(vault_dir)
    if no_serve:
        if as_json:
            terminal.answer_json(
                {
                    "vault": vault_dir,
                    "bucket": _BUCKET,
                    "objects_loaded": loaded.objects,
                    "library": _LIBRARY,
                    "rows_loaded": loaded.rows,
                }
            )
        return
    run_server(vault_dir, Listening(host, port, workers), as_json=as_json, example_key=loaded.example_key)


def load_if_empty(vault_dir: str) -> Loaded:
    """Load the day unless the vault holds something else or the whole of it already."""
    example = f"{_BUCKET}/{_EXAMPLE_KEY}"
    with open_vault(vault_dir, create=True) as vault:
        names = {info.name for info in vault.store.list_buckets()}
        loaded = None
        if not names:
            loaded = _load(vault)
        elif _BUCKET in names:
            bucket = vault.bucket(_BUCKET)
            if _holds_the_day(bucket):
                loaded = Loaded()
            elif names <= {_BUCKET, _LIBRARY_BUCKET} and _holds_nothing_else(bucket):  # an interrupted loading
                loaded = _load(vault)
        if loaded is not None:
            if _LIBRARY in vault.libraries():
                _tell_how_to_read(vault_dir)
            return loaded._replace(example_key=example)
    terminal.say(f"{vault_dir} holds other objects; the simulated day is loaded into an empty vault only")
    return Loaded()


def _tell_how_to_read(vault_dir: str) -> None:
    symbol = demo_day.SYMBOLS[0]
    terminal.say(click.style("Market data", bold=True) + f" is in the library {_LIBRARY}; in Python:")
    terminal.say("")
    terminal.say(
        f"import tickvault as tv\n"
        f"with tv.open({vault_dir!r}) as vault:\n"
        f'    trades = vault.library({_LIBRARY!r}).read({symbol!r}, "trades", start="{demo_day.DATE}T15:00")\n'
        f"    print(trades)\n"
    )
    terminal.say("and in a shell:")
    terminal.say("")
    place = "" if vault_dir == VAULT_DEFAULT else f" --vault {shlex.quote(vault_dir)}"
    terminal.say(f"tickvault symbols --library {_LIBRARY}{place}")
    terminal.say(f"tickvault read {symbol} bbo --library {_LIBRARY}{place}")
    terminal.say("")


def _holds_the_day(bucket: tickvault.Bucket) -> bool:
    try:
        bucket.head(_COMPLETE_KEY)
    except tickvault.NotFoundError:
        return False
    return True


def _holds_nothing_else(bucket: tickvault.Bucket) -> bool:
    return all(entry == f"{demo_day.VENUE}/" for entry in bucket.list(delimiter="/"))


def _load(vault: tickvault.Vault) -> Loaded:
    started = time.monotonic()
    terminal.say(f"simulating a trading day of {len(demo_day.SYMBOLS)} instruments (the first time takes some seconds)")
    day = demo_day.day(_SEED)
    bucket = vault.bucket(_BUCKET) if _BUCKET in vault else vault.create_bucket(_BUCKET)
    with terminal.Progress("loading") as progress:
        objects, size = _load_objects(bucket, day, progress)
        rows = _load_library(vault, day, progress)
        bucket.put(_COMPLETE_KEY, b'{"date": "%s"}' % demo_day.DATE.encode(), content_type="application/json")
    objects += 1
    seconds = time.monotonic() - started
    terminal.say(
        f"loaded {terminal.count(rows, 'row')} into the library {_LIBRARY}, and {terminal.count(objects, 'object')} "
        f"({terminal.format_size(size)}) into the bucket {_BUCKET}, all synced to disk, in {seconds:.1f} s"
    )
    terminal.say("")
    return Loaded(objects, rows)


def _load_objects(bucket: tickvault.Bucket, day: list[demo_day.Series], progress: terminal.Progress) -> tuple[int, int]:
    """Return how many objects there are now, and the bytes of the minutes."""
    loaded = size = 0
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
    return loaded, size


def _load_library(vault: tickvault.Vault, day: list[demo_day.Series], progress: terminal.Progress) -> int:
    """Return how many rows the library has now."""
    library = vault.library(_LIBRARY)
    total = sum(len(table) for one in day for table in one.tables.values())
    loaded = 0
    for one in day:
        for schema, table in one.tables.items():
            library.write(one.symbol, schema, table, venue=demo_day.VENUE)
            loaded += len(table)
            progress(loaded, total, "rows")
    return loaded
