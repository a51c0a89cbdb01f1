"""Lines of CSV with quotes, by RFC 4180, taken apart without a Python loop over rows.

Invariants: a block begins where a line does; a line that its quotes spoil is told by itself, and ends where it would
without quotes; what is looked at of a line is bounded, so that a file of spoilt lines takes no longer than another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tickvault.market.feeds.text import Fields, count_lines

#: A line with quotes is no longer than this; a quote that is never closed must not swallow a file.
QUOTED_SIZE_MAX = 1024 * 1024


@njit(nogil=True, cache=True)
def _quoted_field(data: Any, clean: Any, place: Any, stop: Any) -> Any:
    """Copy a quoted field to `clean` with its doubled quotes made one; return (where it ends there, the quote)."""
    out = place
    while place < stop:
        letter = data[place]
        if letter == 34:
            if place + 1 >= len(data) or data[place + 1] != 34:
                return out, place
            place += 1
        clean[out] = letter
        out += 1
        place += 1
    return out, -1


@njit(nogil=True, cache=True)
def _split_quoted(
    data: Any,
    clean: Any,
    delimiter: Any,
    is_last: Any,
    starts: Any,
    ends: Any,
    line_starts: Any,
    line_ends: Any,
    sound: Any,
) -> Any:
    """Return (how many rows, where the first begins that goes on beyond the block)."""
    wanted = starts.shape[1]
    size = len(data)
    row = 0
    place = 0
    while place < size:
        line = place
        field = 0
        right = True
        closed = True
        while True:
            begin = place
            if place < size and data[place] == 34:
                begin += 1
                end, quote = _quoted_field(data, clean, begin, min(size, line + QUOTED_SIZE_MAX))
                if quote < 0:
                    closed = False
                    break
                place = quote + 1
                while place < size and data[place] != delimiter and data[place] != 10:
                    # Blanks may follow a quote, nothing else may.
                    right = right and (data[place] == 13 or data[place] == 32)
                    place += 1
                if not right:
                    break
            else:
                while place < size and data[place] != delimiter and data[place] != 10:
                    place += 1
                end = place
                if end > begin and data[end - 1] == 13 and (place >= size or data[place] == 10):
                    end -= 1
            if field < wanted:
                starts[row, field] = begin
                ends[row, field] = end
            field += 1
            if place >= size or data[place] == 10:
                break
            if field > wanted:
                # To look further could cost as much for each line of a file.
                right = False
                break
            place += 1
        if not closed and not is_last and size - line < QUOTED_SIZE_MAX:
            return row, line
        if not closed or not right:
            # The line is spoilt by itself; those after it are read as if it were not there.
            right = False
            reach = place if closed else min(size, line + QUOTED_SIZE_MAX)
            clean[line:reach] = data[line:reach]
            place = line
            while place < size and data[place] != 10:
                place += 1
        end = place
        if end > line and data[end - 1] == 13:
            end -= 1
        if end > line:
            line_starts[row] = line
            line_ends[row] = end
            sound[row] = right and field == wanted
            if not sound[row]:
                for other in range(wanted):
                    starts[row, other] = 0
                    ends[row, other] = 0
            row += 1
        place += 1
    return row, size


def split_quoted(block: bytes, field_count: int, *, is_last: bool, delimiter: str = ",") -> tuple[Fields, bytes]:
    """Take a block of lines apart by RFC 4180; return also the bytes of a last line that goes on in the next block.

    A field in quotes may hold the delimiter, line ends and, doubled, quotes; a quote inside a field that does not begin
    with one is a letter. A line is not sound if text follows a closing quote, or if a quote does not close within
    `QUOTED_SIZE_MAX` bytes; then it ends where it would without quotes. Blank lines are none.
    """
    data = np.frombuffer(block, np.uint8)
    clean = data.copy()
    rows = count_lines(data)
    starts = np.empty((rows, field_count), np.int32)
    ends = np.empty((rows, field_count), np.int32)
    line_starts, line_ends = np.empty(rows, np.int64), np.empty(rows, np.int64)
    sound = np.empty(rows, np.bool_)
    count, size = _split_quoted(
        data, clean, np.uint8(ord(delimiter)), is_last, starts, ends, line_starts, line_ends, sound
    )
    fields = Fields(
        clean, starts[:count], ends[:count], line_starts[:count], line_ends[:count], sound[:count], written=data
    )
    return fields, block[size:]
