"""`tickvault stat`: all that is known of an object or a bucket.

Invariants: reads no body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, vault_option, version_id_option
from tickvault.cli.places import parse_place
from tickvault.cli.records import bucket_record, object_detail


@click.command()
@click.argument("place", metavar="BUCKET[/KEY]")
@version_id_option
@vault_option
@json_option
def stat(place: str, version_id: str | None, vault_dir: str, as_json: bool) -> None:
    """Show all that is known of an object or a bucket.

    Of an object: size, etag, version, metadata, tags, checksums, retention and legal hold. Of a bucket: its settings.
    Reads no body.

    \b
    Examples:
      tickvault stat raw/ES/1
      tickvault stat raw/ES/1 --json | jq .etag
      tickvault stat raw
    """
    where = parse_place(place)
    with open_vault(vault_dir) as vault:
        bucket = vault.store.bucket(where.bucket)
        if where.key:
            info = bucket.head(where.key, version_id=version_id)
            tags = bucket.get_tags(where.key, version_id=version_id) if info.tag_count else {}
            record = object_detail(where.bucket, info, tags)
        else:
            record = bucket_record(bucket.info)
    if as_json:
        terminal.answer_json(record)
        return
    for name, text in _rows(record):
        terminal.answer(f"{name:<14}  {terminal.printable(text)}")


def _rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in record.items():
        if value is None or value is False or value in ({}, [], ""):
            continue
        if name.endswith("_ns"):
            rows.append((name.removesuffix("_ns"), terminal.format_time(value)))
        elif name == "size":
            exact = terminal.count(value, "byte")
            rows.append((name, exact if value < 1024 else f"{exact} ({terminal.format_size(value)})"))
        elif isinstance(value, Mapping):
            rows.extend((f"{name}.{key}", str(item)) for key, item in value.items() if item is not None)
        elif isinstance(value, bool):
            rows.append((name, "yes"))
        elif isinstance(value, list):
            rows.append((name, ", ".join(f"{item:,}" if isinstance(item, int) else str(item) for item in value)))
        else:
            rows.append((name, str(value)))
    return rows
