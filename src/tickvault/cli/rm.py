"""`tickvault rm`: objects away.

Invariants: without --versions nothing that versioning keeps is destroyed; what is printed has been done.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, recursive_option, vault_option, version_id_option
from tickvault.cli.places import Place, parse_object, parse_place
from tickvault.cli.records import delete_record
from tickvault.errors import IntegrityError, InvalidInputError, NotFoundError, VersionNotFoundError
from tickvault.objects.lookup import DeletedError
from tickvault.objects.model import DeleteResult

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

_BATCH_SIZE = 1000


@click.command()
@click.argument("places", metavar="BUCKET/KEY...", nargs=-1, required=True)
@recursive_option("Remove every object whose key begins with KEY (all of them for a bare bucket).")
@version_id_option
@click.option("--versions", is_flag=True, help="With --recursive: destroy every version and delete marker too.")
@click.option("-f", "--force", is_flag=True, help="An object that is not there is no error.")
@click.option("--bypass-governance", is_flag=True, help="Destroy versions that GOVERNANCE retains, too.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@vault_option
@json_option
def rm(
    *,
    places: tuple[str, ...],
    recursive: bool,
    version_id: str | None,
    versions: bool,
    force: bool,
    bypass_governance: bool,
    dry_run: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """Remove objects.

    In a bucket with versioning the object gets a delete marker and its versions stay; --version-id destroys
    one version, --recursive --versions all of them. A version under a retention or a legal hold is refused with exit
    status 6; --bypass-governance lifts GOVERNANCE retentions, and nothing else.

    \b
    Examples:
      tickvault rm raw/ES/1
      tickvault rm --recursive --dry-run raw/2025/
      tickvault rm --recursive raw/2025/
      tickvault rm raw/ES/1 --version-id 0001f3a2
    """
    if versions and not recursive:
        raise InvalidInputError("rm --versions goes with --recursive; for one version use --version-id")
    if version_id and (recursive or len(places) != 1):
        raise InvalidInputError("rm --version-id names one version of one object")
    removed = 0
    with open_vault(vault_dir) as vault, terminal.Progress("rm") as progress:
        for text in places:
            place = parse_place(text) if recursive else parse_object(text)
            bucket = vault.store.bucket(place.bucket)
            targets = _targets(bucket, place, version_id, recursive=recursive, versions=versions)
            for result in _remove(
                bucket, targets, strict=not (force or recursive), dry_run=dry_run, bypass=bypass_governance
            ):
                removed += 1
                progress(removed, 0, "objects")
                if as_json:
                    terminal.answer_json(delete_record(place.bucket, result) | ({"dry_run": True} if dry_run else {}))
                elif dry_run:
                    terminal.answer(terminal.printable(f"{place.bucket}/{result.key}"))
    noun = terminal.count(removed, "version" if versions or version_id else "object")
    terminal.say(f"would remove {noun}" if dry_run else f"removed {noun}")


Target = tuple[str, str | None]
"""A key, and the version to destroy if it is one that is meant."""


def _targets(
    bucket: Bucket, place: Place, version_id: str | None, *, recursive: bool, versions: bool
) -> Iterator[Target]:
    if not recursive:
        yield place.key, version_id
    elif versions:
        key_marker: str | None = ""
        version_id_marker = ""
        while key_marker is not None:
            page = bucket.list_versions_page(
                prefix=place.key, key_marker=key_marker, version_id_marker=version_id_marker
            )
            yield from ((info.key, info.version_id) for info in page.versions)
            key_marker, version_id_marker = page.next_key_marker, page.next_version_id_marker or ""
    else:
        yield from ((entry.key, None) for entry in bucket.list(place.key) if not isinstance(entry, str))


def _remove(
    bucket: Bucket, targets: Iterator[Target], *, strict: bool, dry_run: bool, bypass: bool
) -> Iterator[DeleteResult]:
    while batch := list(islice(targets, _BATCH_SIZE)):
        if strict:
            for key, version_id in batch:
                _require(bucket, key, version_id)
        if dry_run:
            for key, version_id in batch:
                yield DeleteResult(key, version_id, delete_marker=False, existed=True)
            continue
        for result in bucket.delete_many(batch, bypass_governance=bypass):
            if not isinstance(result, DeleteResult):
                raise result
            if strict and not result.existed:  # gone since it was looked for
                raise NotFoundError(f"no object {bucket.name}/{result.key}; nothing was removed")
            yield result


def _require(bucket: Bucket, key: str, version_id: str | None) -> None:
    """Refuse what is not there, before a delete marker is made for it."""
    try:
        bucket.head(key, version_id=version_id)
    except IntegrityError:
        pass  # what is damaged is there, and may go
    except DeletedError:
        if version_id is None:
            raise
    except VersionNotFoundError as error:
        raise VersionNotFoundError(f"{error}; nothing was removed") from None
