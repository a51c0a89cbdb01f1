"""`tickvault get`: an object to a file or to stdout.

Invariants: only verified bytes are written; a file is replaced whole or left alone.
"""

from __future__ import annotations

import sys

import click

from tickvault.cli import terminal
from tickvault.cli.options import json_option, open_vault, vault_option, version_id_option
from tickvault.cli.places import parse_object
from tickvault.cli.records import object_record
from tickvault.cli.transfer import WHOLE, Span, download, download_to_file
from tickvault.errors import InvalidInputError

_TEXT_PROBE_SIZE = 8192


@click.command()
@click.argument("source", metavar="BUCKET/KEY")
@click.argument("file", metavar="[FILE]", default="")
@version_id_option
@click.option("--range", "byte_range", metavar="START:END", help="Bytes START up to, not including, END.")
@vault_option
@json_option
def get(
    *, source: str, file: str, version_id: str | None, byte_range: str | None, vault_dir: str, as_json: bool
) -> None:
    """Write an object to FILE, or to stdout for - (the default).

    Every byte is checked against its checksum before it is written. A damaged object ends with exit status
    8: FILE is then left as it was, and stdout has got the bytes before the damage.

    \b
    Examples:
      tickvault get raw/2026-01-05/prices.csv prices.csv
      tickvault get raw/2026-01-05/prices.csv | head
      tickvault get raw/ES/1 first-kib.bin --range 0:1024
    """
    place = parse_object(source)
    span = parse_span(byte_range)
    if as_json and file in {"", "-"}:
        raise InvalidInputError("get --json: stdout cannot hold the object and JSON; name a FILE")
    with open_vault(vault_dir) as vault, terminal.Progress("get") as progress:
        bucket = vault.store.bucket(place.bucket)
        if file in {"", "-"}:
            if not file and sys.stdout.isatty():
                probe = bytes(bucket.read(place.key, version_id=version_id).bytes(0, _TEXT_PROBE_SIZE))
                _refuse_binary(source, probe)
            download(bucket, place.key, sys.stdout.buffer, version_id=version_id, span=span)
            return
        total = bucket.head(place.key, version_id=version_id).size
        done = 0

        def on_bytes(size: int) -> None:
            nonlocal done
            done += size
            progress(done, total, "bytes")

        info = download_to_file(bucket, place.key, file, version_id=version_id, span=span, on_bytes=on_bytes)
    if as_json:
        terminal.answer_json(object_record(place.bucket, info) | {"file": file, "written": done})
    terminal.say(f"wrote {file}, {terminal.format_size(done)}, verified")


def parse_span(text: str | None) -> Span:
    """Return the part of an object that ``START:END`` means.

    >>> parse_span("0:1024"), parse_span("100:"), parse_span(None)
    (Span(start=0, end=1024), Span(start=100, end=None), Span(start=0, end=None))

    Raises
    ------
    InvalidInputError
        The text is no such range.
    """
    if text is None:
        return WHOLE
    first, colon, last = text.partition(":")
    numbers_only = all(part == "" or (part.isascii() and part.isdigit()) for part in (first, last))
    if not colon or not numbers_only:
        raise InvalidInputError(f"--range {text!r}: write START:END in bytes, such as 0:1024 or 100:")
    span = Span(int(first or 0), int(last) if last else None)
    if span.end is not None and span.end < span.start:
        raise InvalidInputError(f"--range {text!r}: the end lies before the start")
    return span


def _refuse_binary(source: str, probe: bytes) -> None:
    # Control codes can leave a terminal unusable; a pipe or `-` says that the caller means it.
    if b"\0" in probe or not _is_text(probe):
        raise InvalidInputError(f"{source} is binary, and stdout a terminal; name a file, or - to print it anyway")


def _is_text(probe: bytes) -> bool:
    try:
        text = probe.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(probe) - 3:  # not a character that the probe has cut
            return False
        text = probe[: error.start].decode("utf-8")
    return "\x1b" not in text
