"""`tickvault ls`: buckets, objects, versions.

Invariants: keys come in byte order, versions of a key newest first; a listing of any length needs constant
memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from tickvault.cli import terminal
from tickvault.cli.bucket import list_buckets
from tickvault.cli.options import json_option, open_vault, recursive_option, vault_option
from tickvault.cli.places import Place, parse_place
from tickvault.cli.records import lock_text, object_record
from tickvault.errors import InvalidInputError
from tickvault.objects.model import ObjectInfo

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket


@click.command()
@click.argument("place", metavar="[BUCKET[/PREFIX]]", default="")
@recursive_option("List every key below the prefix, not only the next level.")
@click.option("--delimiter", metavar="TEXT", help="Group keys at this text.  [default: /]")
@click.option("--start-after", metavar="KEY", default="", help="Begin after this key.")
@click.option("--versions", is_flag=True, help="List every version and delete marker, and what locks it.")
@click.option("-l", "--long", "is_long", is_flag=True, help="Show size and time of change as well.")
@vault_option
@json_option
def ls(
    *,
    place: str,
    recursive: bool,
    delimiter: str | None,
    start_after: str,
    versions: bool,
    is_long: bool,
    vault_dir: str,
    as_json: bool,
) -> None:
    """List buckets, or the objects of a bucket.

    A prefix is the beginning of a key, not a folder: raw/ES finds ES/1 and ES-mini alike. With --long, sizes
    are in bytes and times in UTC.

    \b
    Examples:
      tickvault ls
      tickvault ls raw/2026-01-05/
      tickvault ls raw --recursive --long
      tickvault ls raw/ES/ --versions --json
    """
    if recursive and delimiter:
        raise InvalidInputError("ls: --recursive lists every key and --delimiter groups them; choose one")
    group_at = "" if recursive else delimiter if delimiter is not None else "/"
    with open_vault(vault_dir) as vault:
        if not place:
            list_buckets(vault, is_long=is_long, as_json=as_json)
            return
        where = parse_place(place)
        bucket = vault.store.bucket(where.bucket)
        entries = (
            _versions(bucket, where.key, group_at, start_after)
            if versions
            else bucket.list(where.key, group_at, start_after)
        )
        for entry in entries:
            if as_json:
                terminal.answer_json(
                    {"bucket": where.bucket, "prefix": entry}
                    if isinstance(entry, str)
                    else object_record(where.bucket, entry)
                )
            else:
                terminal.answer(_line(where, entry, is_long=is_long, versions=versions))


def _versions(bucket: Bucket, prefix: str, delimiter: str, key_marker: str) -> Iterator[ObjectInfo | str]:
    version_id_marker = ""
    while True:
        page = bucket.list_versions_page(
            prefix=prefix, delimiter=delimiter, key_marker=key_marker, version_id_marker=version_id_marker
        )
        entries: list[ObjectInfo | str] = [*page.versions, *page.common_prefixes]
        # Stable, so that the versions of one key keep their order.
        entries.sort(key=lambda entry: (entry if isinstance(entry, str) else entry.key).encode())
        yield from entries
        if page.next_key_marker is None:
            return
        key_marker, version_id_marker = page.next_key_marker, page.next_version_id_marker or ""


def _line(where: Place, entry: ObjectInfo | str, *, is_long: bool, versions: bool) -> str:
    name = terminal.printable(entry if isinstance(entry, str) else entry.key)
    if isinstance(entry, str):
        return f"{'':>15}  {'':24}  {name}" if is_long else name
    notes = ""
    if versions:
        state = "delete marker" if entry.delete_marker else "current" if entry.is_latest else ""
        kept = lock_text(entry)
        states = ", ".join(text for text in (state, kept) if text)
        notes = f"  {entry.version_id}" + (f"  ({states})" if states else "")
    if not is_long:
        return name + notes
    size = "" if entry.delete_marker else f"{entry.size:,}"
    return f"{size:>15}  {terminal.format_time(entry.modified_ns)}  {name}{notes}"
