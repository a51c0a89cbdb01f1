"""`tickvault put`: local files into a bucket.

Invariants: an object is reported only once it is durable; the words and the JSON name every object that was
stored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, parse_pairs, recursive_option, vault_option
from tickvault.cli.places import Place, parse_place
from tickvault.cli.records import object_record
from tickvault.cli.retention import mode_option, parse_until
from tickvault.cli.transfer import LocalFile, PutOptions, Uploader, files_below, local_file
from tickvault.errors import InvalidInputError, NotFoundError
from tickvault.objects.lock.retention import requested_lock
from tickvault.objects.model import ObjectInfo


@click.command()
@click.argument("sources", metavar="FILE...", nargs=-1, required=True)
@click.argument("destination", metavar="BUCKET/KEY")
@recursive_option("Store every file below a folder; its relative path becomes the key.")
@click.option("--content-type", metavar="TYPE", help="Media type to store, such as text/csv.")
@click.option("--metadata", metavar="NAME=VALUE", multiple=True, help="User metadata; may be repeated.")
@click.option("--tag", "tags", metavar="NAME=VALUE", multiple=True, help="Object tag; may be repeated, up to 10.")
@click.option("--if-match", metavar="ETAG", help="Store only over the object with this etag.")
@click.option("--if-none-match", metavar="ETAG|*", help="'*': store only if no object has this key.")
@mode_option("--retention-mode", help_text="Keep the version, with --retain-until; the bucket needs object lock.")
@click.option("--retain-until", metavar="TIME", help="Until when: 2031-01-01T00:00:00Z, or a date: to the day's end.")
@click.option("--legal-hold", is_flag=True, help="Keep the version until the hold is released.")
@vault_option
@json_option
def put(
    *,
    sources: tuple[str, ...],
    destination: str,
    recursive: bool,
    content_type: str | None,
    metadata: tuple[str, ...],
    tags: tuple[str, ...],
    if_match: str | None,
    if_none_match: str | None,
    retention_mode: str | None,
    retain_until: str | None,
    legal_hold: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Store files as objects.

    The destination comes last. A bare bucket, or a key that ends in /, takes the names of the files; any
    other key is the object's whole name. FILE may be - for standard input. Each object is durable when the
    command reports it (in a bucket of relaxed durability: accepted).

    \b
    Examples:
      tickvault put prices.csv raw/2026-01-05/prices.csv
      tickvault put *.csv raw/2026-01-05/
      tickvault put --recursive capture/ raw/capture/
      pg_dump trades | tickvault put - raw/dumps/trades.sql
      tickvault put lock raw/lock --if-none-match '*'
      tickvault put orders.csv orders/1 --retention-mode COMPLIANCE --retain-until 2032-01-01
    """
    place = parse_place(destination)
    _refuse_swapped(sources, destination)
    options = PutOptions(
        content_type,
        parse_pairs(metadata, "--metadata") or None,
        parse_pairs(tags, "--tag") or None,
        if_match,
        if_none_match,
        requested_lock(
            retention_mode,
            None if retain_until is None else parse_until(retain_until, "--retain-until"),
            legal_hold,
        ),
    )
    with open_vault(vault_dir) as vault, terminal.Progress("put") as progress:
        bucket = vault.store.bucket(place.bucket)
        counter = _ByteCounter(progress)
        uploader = Uploader(bucket, options, counter)
        if sources == ("-",):
            if place.is_folder:
                raise InvalidInputError(f"put -: standard input has no name; write {place}/KEY, such as {place}/1")
            infos = iter([uploader.stream(place.key, sys.stdin.buffer)])
        else:
            files = list(_files(sources, place, recursive))
            counter.total = sum(file.size for file in files)
            infos = uploader.files(files)
        _report(place.bucket, infos, as_json, progress)


class _ByteCounter:
    """Turns pieces into progress."""

    def __init__(self, progress: terminal.Progress) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress

    def __call__(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self.total, "bytes")


def _report(bucket: str, infos: Iterator[ObjectInfo], as_json: bool, progress: terminal.Progress) -> None:
    stored, size, last = 0, 0, None
    for info in infos:
        stored, size, last = stored + 1, size + info.size, info
        if as_json:
            terminal.answer_json(object_record(bucket, info))
    progress.wipe()
    if stored == 1 and last is not None:
        name = terminal.printable(f"{bucket}/{last.key}")
        terminal.say(f"stored {name}, {terminal.format_size(size)}, etag {last.etag}")
    else:
        terminal.say(f"stored {terminal.count(stored, 'object')}, {terminal.format_size(size)}, in {bucket}")


def _refuse_swapped(sources: tuple[str, ...], destination: str) -> None:
    if len(sources) == 1 and not os.path.exists(sources[0]) and sources[0] != "-" and os.path.exists(destination):
        raise NotFoundError(
            f"no local file {sources[0]!r}; files come first, the destination last: "
            f"tickvault put {destination} {sources[0]}"
        )


def _files(sources: tuple[str, ...], place: Place, recursive: bool) -> Iterator[LocalFile]:
    if len(sources) > 1 and not place.is_folder:
        raise InvalidInputError(f"{len(sources)} files need a place that ends in /: write {place}/")
    if "-" in sources:
        raise InvalidInputError("- (standard input) cannot be mixed with files; put it by itself")
    for source in sources:
        if os.path.isdir(source) and recursive:
            prefix = place.key if place.is_folder else f"{place.key}/"
            yield from files_below(source, prefix)
        else:
            key = place.below(os.path.basename(source)).key if place.is_folder else place.key
            yield local_file(source, key)
