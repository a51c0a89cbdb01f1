"""Cold files: blocks of rows, compressed column by column.

``encode_cold`` writes them, ``open_cold`` reads columns, and of a range of time only the blocks that it touches, block
by block in threads.

Invariants: what is read equals what was written, bit for bit; a chunk is decoded only after its checksum matched; a
term or mask is made of a column that does not depend on it, also in a file that says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import crc32c

from tickvault.errors import InvalidInputError
from tickvault.market.codec.chunks import BLOCK, CHUNK, libraries
from tickvault.market.codec.coldfile import ColdFile
from tickvault.market.codec.describe import described
from tickvault.market.codec.encode import encode_chunk, masks_of
from tickvault.market.codec.identity import Identity
from tickvault.market.codec.layout import COLD, HEADER, Buffer, Run, header, read_footer, trailer_and_footer
from tickvault.market.codec.reading import in_threads, threads_for, viewed
from tickvault.market.columns import Columns

#: A range of time decodes whole blocks, so that small ones read faster; they cost half a per cent of bytes.
BLOCK_ROWS = 64 * 1024
BLOCK_ROWS_MIN = 64 * 1024
_LEVEL_MAX = 12


def encode_cold(
    columns: Columns,
    runs: Sequence[Run] | Identity | None = None,
    about: Mapping[str, Any] | None = None,
    level: int = 8,
    *,
    block_rows: int = BLOCK_ROWS,
    threads: int | None = None,
) -> list[Buffer]:
    """Return a cold file as buffers to be written one after the other.

    Parameters
    ----------
    columns : Columns
    runs : sequence of (source id, first ordinal, count), or Identity, optional
        The identity of the rows.
    about : mapping, optional
        Anything that msgpack can hold: venue, symbol, sources.
    level : int
        0 to 12: how hard pcodec tries. Below 6 no alternatives are tried: about three times as fast, and larger.
    block_rows : int
        Rows that are decoded together; at least 65,536.
    threads : int, optional
        As many as there are processors, at most 8, by default.
    """
    if not 0 <= level <= _LEVEL_MAX or block_rows < BLOCK_ROWS_MIN:
        raise InvalidInputError(
            f"a cold file: level must be 0 to {_LEVEL_MAX} and blocks {BLOCK_ROWS_MIN} rows or more, "
            f"was {level} and {block_rows}"
        )
    libraries()
    footer, arrays = described(columns, runs, about, COLD)
    named = {info.column: array for info, array in zip(footer.columns, arrays, strict=True)}
    places = {column.name: place for place, column in enumerate(named)}
    scales = (columns.size_scale, columns.turnover_scale)
    times = columns.ts_index
    jobs: list[Callable[[], Any]] = []
    blocks = bytearray()
    starts = range(0, len(columns), block_rows)
    for start in starts:
        rows = slice(start, start + block_rows)
        block = {column: array[rows] for column, array in named.items()}
        masks = masks_of(block, level)
        by_name = {column.name: array for column, array in block.items()}
        blocks += BLOCK.pack(len(times[rows]), int(times[rows].min()), int(times[rows].max()))
        for column in block:
            jobs.append(_job(column, by_name, masks, places, scales, level))
    pieces: list[Buffer] = [header(COLD)]
    index = bytearray(len(starts).to_bytes(8, "little") + blocks)
    at = HEADER.size
    for chunk, mask, numbers in in_threads(lambda job: job(), jobs, threads_for(threads)):
        crc = crc32c.crc32c(numbers, crc32c.crc32c(mask))
        length = len(mask) + len(numbers)
        index += CHUNK.pack(*chunk._replace(offset=at, length=length, crc=crc))
        pieces += [part for part in (mask, numbers) if part]
        at += length
    return [*pieces, *trailer_and_footer(replace(footer, data_end=at, index=bytes(index)))]


def _job(*args: Any) -> Callable[[], Any]:
    return lambda: encode_chunk(*args)


def open_cold(buffer: Any) -> ColdFile:
    """Open a cold file in memory.

    Raises
    ------
    IntegrityError
        It is cut off, its footer is damaged, or something would lie outside it.
    FormatError
        It is of another version.
    """
    view = viewed(buffer)
    return ColdFile(view, read_footer(view, COLD))
