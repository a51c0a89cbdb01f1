"""Blocks of lines, as several feeds want them.

Invariants: blank lines at the end of a file are no rows; those between others are given, for they are damage.
"""

from __future__ import annotations

from collections.abc import Iterator


def without_last_blanks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Iterate over blocks of whole lines without the blank ones at the end of all; each lacks its last newline."""
    held = b""
    for block in blocks:
        whole = held + block if held else block
        body = whole.rstrip(b"\r\n")
        held = whole[len(body) :] if body else whole
        if body:
            held = held.removeprefix(b"\r").removeprefix(b"\n")
            yield body
