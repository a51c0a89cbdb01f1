"""The lines of LOBSTER's files, taken apart; and what message and orderbook files share.

Invariants: a header is no row, nor are blank lines at the end; a price that stands for none is null.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tickvault.market.columns import Array
from tickvault.market.feeds.source import Member
from tickvault.market.feeds.text import Fields, decimals, integers
from tickvault.market.schema import PRICE_NULL

#: Of a message.
FIELD_COUNT = 6
#: A price of the file, in units of 1e-9.
PRICE_FACTOR = 100_000
_PRICE_MAX = PRICE_NULL // PRICE_FACTOR
_DAY_NS = 86_400 * 1_000_000_000
_NONE = -(2**63)
_BLANK = b" \t\r\n"


def body(member: Member) -> Iterator[bytes]:
    """Iterate over blocks of whole lines, without a header and without blank lines at the end."""
    held = b""
    begun = False
    for block in member.lines():
        lines = block
        if not begun:
            begun = True
            lines = lines.removeprefix(b"\xef\xbb\xbf")
            if is_header(lines.partition(b"\n")[0]):
                lines = lines.partition(b"\n")[2]
        rows = lines.rstrip(_BLANK)
        blank = lines[len(rows) :]
        if rows:
            yield held + rows + b"\n"
            held = blank.partition(b"\n")[2]
        else:
            held += blank


def is_header(line: bytes) -> bool:
    """Return whether a first line names the columns, rather than being a row."""
    return line.lstrip(b' "\xef\xbb\xbf')[:1].isalpha()


def row_count(member: Member) -> int:
    """Return how many rows a member has."""
    return sum(block.count(b"\n") for block in body(member))


def first_row(member: Member) -> bytes:
    """Return the first line that is a row, b"" if there is none."""
    for block in member.blocks(65_536):
        lines = block.removeprefix(b"\xef\xbb\xbf").splitlines()
        return next((line for line in lines[:2] if not is_header(line)), b"")
    return b""


def prices(fields: Fields, column: int) -> tuple[Array, Array]:
    """Return (prices in the file's units, which of them can be stored)."""
    values, good = integers(fields, column, _NONE, empty_is_null=False)
    return values, good & (values <= _PRICE_MAX) & (values >= -_PRICE_MAX)


def sizes(fields: Fields, column: int) -> tuple[Array, Array]:
    """Return (sizes, which of them are right)."""
    values, good = integers(fields, column, _NONE, empty_is_null=False)
    return values, good & (values >= 0)


def times(fields: Fields) -> tuple[Array, Array]:
    """Return (nanoseconds after midnight, which of them are times of a day)."""
    values, good = decimals(fields, 0, 9, _NONE, empty_is_null=False)
    good = good & fields.sound & (values >= 0) & (values < _DAY_NS)
    return np.where(good, values, 0), good
