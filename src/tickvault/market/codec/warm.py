"""Warm files: raw columns, mapped.

``open_warm`` takes any read-only buffer (a mapped file, a `Blob` of a store) and hands columns out as views of it.

Invariants: a view is made only of bytes that lie within the buffer; every byte of the data lies under a page's
checksum; a page that was checked once is not checked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import crc32c
import numpy as np

from tickvault.market.codec.describe import described
from tickvault.market.codec.identity import KNOWN, ORDINAL, SOURCE, STAMP, Identity, identity_of
from tickvault.market.codec.layout import (
    ALIGNMENT,
    HEADER,
    WARM,
    Buffer,
    ColumnInfo,
    Footer,
    Run,
    damaged,
    header,
    read_footer,
    trailer_and_footer,
)
from tickvault.market.codec.reading import select, viewed, without_checks
from tickvault.market.columns import Array, Columns
from tickvault.market.schema import Schema

PAGE_SIZE = 64 * 1024


def encode_warm(
    columns: Columns, runs: Sequence[Run] | Identity | None = None, about: Mapping[str, Any] | None = None
) -> list[Buffer]:
    """Return a warm file as buffers to be written one after the other; columns are not copied.

    Parameters
    ----------
    columns : Columns
    runs : sequence of (source id, first ordinal, count), or Identity, optional
        The identity of the rows.
    about : mapping, optional
        Anything that msgpack can hold: venue, symbol, sources.
    """
    footer, arrays = described(columns, runs, about, WARM)
    pieces: list[Buffer] = [header(WARM)]
    at = HEADER.size
    infos = []
    for info, array in zip(footer.columns, arrays, strict=True):
        if info.constant is not None or not len(array):
            infos.append(info)
            continue
        data = array.data.cast("B")
        infos.append(info._replace(offset=at, length=len(data)))
        pieces.append(data)
        at += len(data)
        if at % ALIGNMENT:
            pieces.append(bytes(-at % ALIGNMENT))
            at += -at % ALIGNMENT
    made = replace(footer, columns=tuple(infos), data_end=at, index=_page_checksums(pieces))
    return [*pieces, *trailer_and_footer(made)]


def _page_checksums(pieces: Iterable[Buffer]) -> bytes:
    checksums, crc, filled = [], 0, 0
    for piece in pieces:
        start = 0
        while start < len(piece):
            part = memoryview(piece)[start : start + PAGE_SIZE - filled]
            crc = crc32c.crc32c(part, crc)
            filled += len(part)
            start += len(part)
            if filled == PAGE_SIZE:
                checksums.append(crc)
                crc = filled = 0
    if filled:
        checksums.append(crc)
    return np.array(checksums, "<u4").tobytes()


def _pages(start: int, end: int) -> range:
    """Return the pages that bytes [start, end) lie on."""
    return range(start // PAGE_SIZE, -(-end // PAGE_SIZE))


def open_warm(buffer: Any) -> ColumnFile:
    """Open a warm file in memory.

    Parameters
    ----------
    buffer : buffer
        Of the whole file; must not change while columns of it are in use.

    Raises
    ------
    IntegrityError
        It is cut off, its footer is damaged, or something would lie outside it.
    FormatError
        It is of another version.
    """
    view = viewed(buffer)
    return ColumnFile(view, read_footer(view, WARM))


class ColumnFile:
    """A warm file; made by `open_warm`."""

    def __init__(self, view: memoryview, footer: Footer) -> None:
        self._view = view
        self.footer = footer
        self._infos = {info.column.name: info for info in footer.columns}
        page_count = -(-footer.data_end // PAGE_SIZE)
        if len(footer.index) != page_count * 4:
            raise damaged(f"it has {len(footer.index) // 4} page checksums for {page_count} pages")
        self._checksums = np.frombuffer(footer.index, "<u4")
        self._checked = np.zeros(page_count, np.bool_)
        for info in footer.columns:
            self._check_place(info)

    def _check_place(self, info: ColumnInfo) -> None:
        footer = self.footer
        stored = info.constant is None and footer.row_count > 0
        wanted = footer.row_count * info.column.dtype.itemsize if stored else 0
        inside = not stored or (HEADER.size <= info.offset and info.offset + info.length <= footer.data_end)
        if info.length != wanted or not inside or info.offset % ALIGNMENT:
            raise damaged(f"column {info.column.name} does not lie where {footer.row_count} rows have room")

    @property
    def schema(self) -> Schema:
        """The schema of the rows."""
        return self.footer.schema

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return self.footer.row_count

    @property
    def about(self) -> Mapping[str, Any]:
        """What the writer said of the file."""
        return self.footer.about

    def columns(self, names: Sequence[str] | None = None, start: int = 0, end: int | None = None) -> Columns:
        """Return rows [start, end) of columns as read-only views of the buffer.

        Pages are not checked here; see `verify`.  A constant column is one number seen as often as there are rows
        (a stride of 0).  A column that is null throughout is not there.

        Raises
        ------
        InvalidInputError
            The schema has no column of a name.
        """
        infos = select(self.footer, names)
        arrays = {info.column.name: self._array(info)[start:end] for info in infos}
        return without_checks(self.footer, infos, arrays)

    def _array(self, info: ColumnInfo) -> Array:
        dtype = info.column.dtype
        if info.constant is not None:
            return np.broadcast_to(np.array(info.constant, dtype), (self.footer.row_count,))
        if not self.footer.row_count:
            return np.empty(0, dtype)
        return np.frombuffer(self._view, dtype, self.footer.row_count, info.offset)

    def ordinals(self, start: int = 0, end: int | None = None) -> Array:
        """Return rows' numbers in their sources, int64, from checked pages; empty if the writer gave none."""
        return self._identity(ORDINAL.name, 1)[start:end]

    def source_ids(self, start: int = 0, end: int | None = None) -> Array:
        """Return the ids of rows' sources, int64, from checked pages; empty if the writer gave none."""
        return self._identity(SOURCE.name, 0)[start:end]

    def stamps(self) -> Array | None:
        """Return rows' commit times, int64 ns, from checked pages; None where the file does not hold them."""
        return self._identity(STAMP.name, -1) if STAMP.name in self._infos else None

    def known(self) -> Array | None:
        """Return when rows were published, int64 ns or null, from checked pages; None where the file does not say."""
        return self._identity(KNOWN.name, -1) if KNOWN.name in self._infos else None

    def _identity(self, name: str, which: int) -> Array:
        info = self._infos.get(name)
        if info is not None:
            self.verify(_pages(info.offset, info.offset + info.length))
            return self._array(info)
        identity = identity_of(self.footer.runs)
        return identity.ordinals if which else identity.source_ids

    def pages(self, names: Sequence[str] | None = None, start: int = 0, end: int | None = None) -> list[range]:
        """Return the pages that rows [start, end) of columns lie on: one range a column that has any."""
        start, end, _ = slice(start, end).indices(self.footer.row_count)
        found = []
        for info in select(self.footer, names):
            width = info.column.dtype.itemsize
            if info.length and start < end:
                found.append(_pages(info.offset + start * width, info.offset + end * width))
        return found

    def verify(self, pages: Iterable[int] | None = None) -> None:
        """Check pages that were not checked before: all, or some.

        Raises
        ------
        IntegrityError
            A page does not match its checksum; the message names the columns on it.
        """
        if pages is None:
            pages = range(len(self._checked))
        checked, checksums, view, end = self._checked, self._checksums, self._view, self.footer.data_end
        for page in pages:
            if checked[page]:
                continue
            start = page * PAGE_SIZE
            if crc32c.crc32c(view[start : min(start + PAGE_SIZE, end)]) != checksums[page]:
                raise damaged(f"page {page} with {self._told(page)} does not match its checksum")
            checked[page] = True

    def verify_rows(self, names: Sequence[str] | None = None, start: int = 0, end: int | None = None) -> None:
        """Check the pages that rows [start, end) of columns lie on, once."""
        for pages in self.pages(names, start, end):
            self.verify(pages)

    def _told(self, page: int) -> str:
        low, high = page * PAGE_SIZE, (page + 1) * PAGE_SIZE
        names = [
            info.column.name
            for info in self.footer.columns
            if info.length and info.offset < high and info.offset + info.length > low
        ]
        return f"column {', '.join(names)}" if names else "the header"
