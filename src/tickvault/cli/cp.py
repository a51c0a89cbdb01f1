"""`tickvault cp`: copies between places in a vault, and between a vault and local files.

Invariants: a copy inside a vault is one atomic change and keeps metadata, tags and media type; a copy to a
file replaces it whole or not at all; a recursive copy goes on past what cannot be copied, and does not end with 0 then;
it writes nothing outside of the folder that was named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tickvault.cli import terminal
from tickvault.cli.destination import Destination
from tickvault.cli.options import json_option, open_vault, recursive_option, vault_option, version_id_option
from tickvault.cli.places import Place, is_local, parse_object, parse_place, path_below
from tickvault.cli.records import object_record
from tickvault.cli.skipping import Skip, Skipped
from tickvault.cli.transfer import (
    PutOptions,
    Uploader,
    download,
    download_to_file,
    files_below,
    local_file,
)
from tickvault.errors import InvalidInputError, TickVaultError

if TYPE_CHECKING:
    from tickvault.vault import Vault

Record = dict[str, Any]


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("destination", metavar="DESTINATION")
@recursive_option("Copy everything below a prefix or a folder.")
@version_id_option
@vault_option
@json_option
def cp(
    *, source: str, destination: str, recursive: bool, version_id: str | None, vault_dir: str, as_json: bool
) -> None:
    """Copy objects and files.

    A place that begins with /, ./, ../ or ~/ is local, and - is stdin or stdout; every other place is
    BUCKET/KEY. A destination that is a bare bucket, or ends in /, takes the source's name.

    With --recursive, what cannot be copied (a key that is no file name, a damaged object) is skipped: it is
    counted and listed with its reason at the end, and the exit status is that of the reason, or 1 if there
    were several. Symbolic links inside the destination folder are not followed.

    \b
    Examples:
      tickvault cp raw/ES/1 archive/ES/1
      tickvault cp ./prices.csv raw/2026-01-05/
      tickvault cp --recursive raw/2026-01-05/ ./day/
      tickvault cp --recursive raw/ES/ archive/ES/
    """
    if is_local(source) and is_local(destination):
        raise InvalidInputError(
            f"cp: both {source} and {destination} are local; write a place in the vault as BUCKET/KEY"
        )
    if version_id and (recursive or is_local(source)):
        raise InvalidInputError("cp --version-id names one version of one object in the vault")
    if as_json and destination == "-":
        raise InvalidInputError("cp --json: stdout cannot hold the object and JSON; name a file")
    copied = 0
    skipped = Skipped()
    with open_vault(vault_dir) as vault, terminal.Progress("cp") as progress:
        if is_local(source):
            records = _upload(vault, source, parse_place(destination), skipped, recursive=recursive)
        elif is_local(destination):
            records = _download(vault, source, destination, version_id, skipped, recursive=recursive)
        else:
            records = _copy(vault, source, parse_place(destination), version_id, skipped, recursive=recursive)
        for record in records:
            if isinstance(record, Skip):
                if as_json:
                    terminal.answer_json({"skipped": record.name, "reason": record.reason})
                continue
            copied += 1
            progress(copied, 0, "objects")
            if as_json:
                terminal.answer_json(record)
    if destination != "-":
        terminal.say(f"copied {terminal.count(copied, 'object')} to {destination}")
    if status := skipped.tell():
        raise click.exceptions.Exit(status)


def _upload(vault: Vault, source: str, place: Place, skipped: Skipped, *, recursive: bool) -> Iterator[Record | Skip]:
    uploader = Uploader(vault.store.bucket(place.bucket), PutOptions())
    if source == "-":
        if place.is_folder:
            raise InvalidInputError(f"cp -: standard input has no name; write {place}/KEY")
        info = uploader.stream(place.key, sys.stdin.buffer)
        yield object_record(place.bucket, info)
        return
    path = os.path.expanduser(source)
    if os.path.isdir(path) and recursive:
        files = files_below(path, place.key if place.is_folder else f"{place.key}/")
        results = uploader.files(files, lambda file, error: skipped.add(file.path, error))
    else:
        key = place.key + os.path.basename(path) if place.is_folder else place.key
        results = uploader.files(iter([local_file(path, key)]))
    for result in results:
        yield result if isinstance(result, Skip) else object_record(place.bucket, result)


def _download(
    vault: Vault, source: str, destination: str, version_id: str | None, skipped: Skipped, *, recursive: bool
) -> Iterator[Record | Skip]:
    path = os.path.expanduser(destination)
    if not recursive:
        place = parse_object(source)
        bucket = vault.store.bucket(place.bucket)
        if destination == "-":
            info = download(bucket, place.key, sys.stdout.buffer, version_id=version_id)
        else:
            if os.path.isdir(path) or destination.endswith("/"):
                os.makedirs(path, exist_ok=True)
                path = path_below(path, place.key.rpartition("/")[2])
            info = download_to_file(bucket, place.key, path, version_id=version_id)
        yield object_record(place.bucket, info) | {"file": path}
        return
    if destination == "-":
        raise InvalidInputError("cp --recursive: many objects cannot go to stdout; name a folder")
    with Destination(path) as folder:
        for place, name in _below(vault, parse_place(source)):
            try:
                file, info = folder.write(vault.store.bucket(place.bucket), place.key, name)
                record: Record | Skip = object_record(place.bucket, info) | {"file": file}
            except (TickVaultError, OSError) as error:
                if folder.refuses_all(error):
                    raise
                record = skipped.add(str(place), error)
            yield record


def _copy(
    vault: Vault, source: str, target: Place, version_id: str | None, skipped: Skipped, *, recursive: bool
) -> Iterator[Record | Skip]:
    destination = vault.store.bucket(target.bucket)

    def copied(place: Place, copy: Place) -> Record:
        bucket = vault.store.bucket(place.bucket)
        return object_record(
            target.bucket, bucket.copy(place.key, copy.key, dest_bucket=destination, version_id=version_id)
        )

    if not recursive:
        place = parse_object(source)
        yield copied(place, target.below(place.key.rpartition("/")[2]) if target.is_folder else target)
        return
    root = target if target.is_folder else Place(target.bucket, f"{target.key}/")
    # The listing is read ahead of the copies: a copy below its own source must not be copied again.
    for place, name in list(_below(vault, parse_place(source))):
        try:
            record: Record | Skip = copied(place, root.below(name))
        except TickVaultError as error:
            record = skipped.add(str(place), error)
        yield record


def _below(vault: Vault, source: Place) -> Iterator[tuple[Place, str]]:
    """Yield each object below a prefix, with its name relative to the prefix's last ``/``."""
    folder_size = source.key.rfind("/") + 1
    for entry in vault.store.bucket(source.bucket).list(source.key):
        if not isinstance(entry, str):
            yield Place(source.bucket, entry.key), entry.key[folder_size:]
