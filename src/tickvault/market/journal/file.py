"""One file of a journal, as a reader has it: frames checked, rows gathered into columns.

Invariants: a row is handed out only after its frame's checksum matched; rows stand in the order of their sequence; what
was gathered is kept, so that looking again costs only what is new.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack
import numpy as np

from tickvault.errors import IntegrityError
from tickvault.market.columns import Array, Columns
from tickvault.market.journal.format import HEADER_SIZE, FileHeader, Frame, FrameKind, Layout, Stray, frame_at, strays
from tickvault.market.journal.kernels import FRAME_WORDS, HAS_WALK, gather, spread, walk
from tickvault.market.schema import CODE_NULL, PRICE_NULL, TIME_NULL, Kind, Schema, schema_of
from tickvault.seam.disk import Disk

_FRAMES_AT_ONCE = 4096


class Rows(NamedTuple):
    """Rows whose sequences follow each other."""

    columns: Columns
    stamps: Array
    """Commit time of each, int64 ns."""
    sequence: int
    """Of the first."""
    in_order: bool = False
    """Whether `ts_index` never goes back; False where nobody looked."""
    first_ns: int = TIME_NULL
    """Smallest `ts_index`, and the largest."""
    last_ns: int = PRICE_NULL


class Elsewhere(NamedTuple):
    """Rows that lie in files of columns."""

    sequence: int
    row_count: int
    part_keys: tuple[str, ...]


class JournalFile:
    """A file of a series' journal, open for reading."""

    def __init__(self, disk: Disk, path: str, *, keep_rows: bool = True) -> None:
        self.path = path
        self._keep_rows = keep_rows
        self._fd = disk.open(path, writable=False)
        try:
            self._disk = disk
            self._map = disk.map(self._fd, max(disk.size(self._fd), 1))
            self.header = FileHeader.unpack(self._map, path)
        except BaseException:
            disk.close(self._fd)
            self._fd = -1
            raise
        self.schema = schema_of(self.header.key.schema)
        self._seed = self.header.seed
        self.is_settled = True
        """Whether no exception came while frames were taken in; otherwise what is here may lack some of them."""
        self.end = HEADER_SIZE
        self.next_sequence = self.header.base
        self.stamp = self.header.stamp
        self.layouts: dict[int, Layout] = {}
        self.words: dict[str, dict[str, int]] = {}
        self._texts: dict[str, list[str]] | None = None
        self.stretches: list[_Stretch | Elsewhere] = []

    def close(self) -> None:
        """Close the descriptor; the mapping lives as long as columns of it are in use, and none are."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        """Close the descriptor, if nobody did."""
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def advance(self, end: int | None) -> bool:
        """Take in the frames up to an offset, or all that are sound; return whether there was any.

        Raises
        ------
        IntegrityError
            A frame before `end` is damaged; what lies before it was taken in.
        """
        begun = self.end
        if end is not None and end <= begun:
            return False
        if end is None or end > len(self._map):
            size = self._disk.size(self._fd)
            if size > len(self._map):
                self._map = self._disk.map(self._fd, size)
        limit = len(self._map) if end is None else min(end, len(self._map))
        # Not `try`: an interrupt may come at any instruction.
        self.is_settled = False
        while self.end < limit:
            frames = self._walk(limit)
            if not len(frames):
                break
            self._take(frames)
        self.is_settled = True
        if end is not None and self.end < end:
            raise IntegrityError(
                f"journal {self.path}: the frame at byte {self.end:,} does not match its checksum, and {end:,} bytes "
                f"were acknowledged; rows from sequence {self.next_sequence:,} on in this file cannot be read: restore "
                "the file from a replica or a backup"
            )
        return self.end > begun

    def strays(self) -> list[Stray]:
        """Return the sound frames behind the end that `advance` found by itself."""
        return list(strays(memoryview(self._map), self.end, self._seed))

    def is_damage(self, stray: Stray) -> bool:
        """Whether a frame behind the end shows that what is missing before it was on the disk once.

        A frame of the next sequence may be of the same write as what is missing, a layout or words, and that write may
        never have been acknowledged; each later one was written after the rows before it had been synced.
        """
        return stray.strict and stray.sequence > self.next_sequence

    def is_torn(self) -> bool:
        """Whether anything but zeros lies behind the end."""
        return bool(np.frombuffer(self._map, np.uint8)[self.end :].any())

    def check_end(self) -> None:
        """See to it that the end that `advance` found by itself is one, and no damage.

        Raises
        ------
        IntegrityError
            A frame that was synced lies behind it: whatever stood before that was synced too.
        """
        behind = [stray for stray in self.strays() if self.is_damage(stray)]
        if behind:
            raise IntegrityError(
                f"journal {self.path}: the frame at byte {self.end:,} is damaged, and sound ones follow: rows from "
                f"sequence {self.next_sequence:,} to {behind[-1].next_sequence - 1:,} cannot be read; restore the file "
                "from a replica or a backup, or move it out of the vault to accept the loss of all its rows"
            )

    def _walk(self, limit: int) -> Array:
        if HAS_WALK and limit - self.end > 4096:
            data = np.frombuffer(self._map, np.uint8)
            frames = np.empty((_FRAMES_AT_ONCE, FRAME_WORDS), np.int64)
            count, self.end, self.next_sequence = walk(
                data.ctypes.data, self.end, limit, self._seed, self.next_sequence, int(FrameKind.ROWS), frames
            )
            return frames[:count]
        # A few frames: the kernel's call would cost more than they do.
        few, view = [], memoryview(self._map)
        while (found := frame_at(view, self.end, limit, self._seed, self.next_sequence)) is not None:
            few.append(found)
            self.end = found.end
            if found.kind >= FrameKind.ROWS:
                self.next_sequence += found.row_count
            if len(few) == _FRAMES_AT_ONCE:
                break
        return np.array(few, np.int64).reshape(-1, FRAME_WORDS)

    def _take(self, frames: Array) -> None:
        self.stamp = max(self.stamp, int(frames[-1, 6]))
        if len(frames) == 1:
            if int(frames[0, 1]) == FrameKind.ROWS:
                self._take_rows(frames)
            else:
                self._take_one(Frame(*frames[0].tolist()))
            return
        kinds = frames[:, 1]
        layouts = frames[:, 2]
        cuts = np.flatnonzero((np.diff(kinds) != 0) | (np.diff(layouts) != 0)) + 1
        for group in np.split(frames, cuts):
            kind = int(group[0, 1])
            if kind == FrameKind.ROWS:
                self._take_rows(group)
                continue
            for entry in group.tolist():
                self._take_one(Frame(*entry))

    def _take_one(self, frame: Frame) -> None:
        payload = msgpack.unpackb(self._map[frame.offset : frame.offset + frame.length])
        if frame.kind == FrameKind.LAYOUT:
            self.layouts[frame.layout_id] = Layout.unpack(
                self._map[frame.offset : frame.offset + frame.length], self.schema
            )
        elif frame.kind == FrameKind.WORDS:
            for name, added in payload.items():
                known = self.words.setdefault(name, {})
                for word in added:
                    known.setdefault(word, len(known))
            self._texts = None
        elif frame.kind == FrameKind.PARTS:
            self.stretches.append(Elsewhere(frame.sequence, frame.row_count, tuple(payload)))
        else:
            raise IntegrityError(f"journal {self.path}: a frame is of the unknown kind {frame.kind}")

    def _take_rows(self, frames: Array) -> None:
        layout = self.layouts.get(int(frames[0, 2]))
        if layout is None:
            raise IntegrityError(f"journal {self.path}: rows name a layout that no frame before them describes")
        if (frames[:, 4] != frames[:, 3] * layout.row_size).any():
            raise IntegrityError(f"journal {self.path}: a frame of rows is of another length than its layout")
        if not self._keep_rows:
            return
        last = self.stretches[-1] if self.stretches else None
        if not isinstance(last, _Stretch) or last.layout != layout:
            last = _Stretch(layout, int(frames[0, 5]))
            self.stretches.append(last)
        last.add(self._map, np.ascontiguousarray(frames))

    def rows(self) -> list[Rows]:
        """Return all rows taken in so far, in stretches of one layout."""
        dictionaries = self._dictionaries()
        return [
            Rows(
                stretch.columns(self.schema, dictionaries),
                stretch.stamps,
                stretch.sequence,
                stretch.in_order,
                stretch.first_ns,
                stretch.last_ns,
            )
            for stretch in self.stretches
            if isinstance(stretch, _Stretch)
        ]

    @property
    def rows_elsewhere(self) -> int:
        """How many of its numbers are those of rows in files of columns."""
        return sum(stretch.row_count for stretch in self.stretches if isinstance(stretch, Elsewhere))

    def _dictionaries(self) -> dict[str, list[str]]:
        if self._texts is None:
            self._texts = {name: list(words) for name, words in self.words.items()}
        return self._texts

    def rows_from(self, sequence: int) -> list[Rows | Elsewhere]:
        """Return what was taken in from a sequence on, in its order."""
        dictionaries = self._dictionaries()
        found: list[Rows | Elsewhere] = []
        for stretch in self.stretches:
            if isinstance(stretch, Elsewhere):
                if stretch.sequence + stretch.row_count > sequence:
                    found.append(stretch)
                continue
            skip = max(sequence - stretch.sequence, 0)
            if skip < stretch.count:
                columns = stretch.columns(self.schema, dictionaries, skip)
                found.append(Rows(columns, stretch.stamps[skip:], stretch.sequence + skip))
        return found


class _Stretch:
    """Rows of one layout, gathered into arrays that grow."""

    def __init__(self, layout: Layout, sequence: int) -> None:
        self.layout = layout
        self.sequence = sequence
        self.count = 0
        self._arrays = [np.empty(0, column.dtype) for column in layout.columns]
        self._stamps = np.empty(0, np.int64)
        self.in_order = True
        self.first_ns, self.last_ns = PRICE_NULL, TIME_NULL
        self._names = [column.name for column in layout.columns]
        self._most_code = {column.name: CODE_NULL for column in layout.columns if column.kind is Kind.CODE}

    @property
    def stamps(self) -> Array:
        return _read_only(self._stamps[: self.count])

    def add(self, data: Any, frames: Array) -> None:
        start = self.count
        if len(frames) == 1:
            end = self._add_one(data, frames[0].tolist())
        else:
            end = self._add_many(np.frombuffer(data, np.uint8), frames)
        self._note(start, end)
        self.count = end

    def _add_one(self, data: Any, frame: list[int]) -> int:
        """Take one frame in, which costs less than the kernels' calls."""
        at, rows = frame[0], frame[3]
        start, end = self.count, self.count + rows
        self._make_room(end)
        for array in self._arrays:
            array[start:end] = np.frombuffer(data, array.dtype, rows, at)
            at += rows * array.dtype.itemsize
        self._stamps[start:end] = frame[6]
        return end

    def _add_many(self, data: Array, frames: Array) -> int:
        total = int(frames[:, 3].sum())
        start, end = self.count, self.count + total
        self._make_room(end)
        prefix = 0
        for array in self._arrays:
            width = array.dtype.itemsize
            gather(data, frames, prefix, width, array[start:end].view(np.uint8))
            prefix += width
        spread(frames, self._stamps[start:end])
        return end

    def _note(self, start: int, end: int) -> None:
        """Keep what is known of the times, and how far codes reach, so that a read need not look at all rows again."""
        named = dict(zip(self._names, self._arrays, strict=True))
        received, happened = named.get("ts_recv"), named.get("ts_event")
        times = (happened if received is None else received)[start:end]  # type: ignore[index]
        if received is not None and happened is not None and (times == TIME_NULL).any():
            times = np.where(times == TIME_NULL, happened[start:end], times)
        before = self.last_ns if start else TIME_NULL
        if len(times) == 1:
            only = int(times[0])
            self.in_order = self.in_order and only >= before
            self.first_ns, self.last_ns = min(self.first_ns, only), max(self.last_ns, only)
            for name in self._most_code:
                self._most_code[name] = max(self._most_code[name], int(named[name][start]))
            return
        self.in_order = self.in_order and int(times[0]) >= before and not (times[1:] < times[:-1]).any()
        self.first_ns = min(self.first_ns, int(times.min()))
        self.last_ns = max(self.last_ns, int(times.max()))
        for name in self._most_code:
            self._most_code[name] = max(self._most_code[name], int(named[name][start:end].max()))

    def _make_room(self, count: int) -> None:
        if count <= len(self._stamps):
            return
        room = max(2 * len(self._stamps), count, 256)
        # Views handed out before keep the old arrays; nothing in them changes.
        self._arrays = [_grown(array, self.count, room) for array in self._arrays]
        self._stamps = _grown(self._stamps, self.count, room)

    def columns(self, schema: Schema, dictionaries: dict[str, list[str]], skip: int = 0) -> Columns:
        made = Columns.__new__(Columns)
        made.schema = schema
        made.arrays = {
            name: _read_only(array[skip : self.count]) for name, array in zip(self._names, self._arrays, strict=True)
        }
        made.dictionaries = {
            column.name: dictionaries.get(column.name, []) for column in self.layout.columns if column.kind is Kind.CODE
        }
        for name, words in made.dictionaries.items():
            if self._most_code[name] >= len(words):
                raise IntegrityError(f"journal: column {name} has codes beyond its {len(words)} strings")
        made.extensions = self.layout.extensions(schema)
        made.size_scale, made.turnover_scale = self.layout.size_scale, self.layout.turnover_scale
        return made


def _grown(array: Array, count: int, room: int) -> Array:
    made = np.empty(room, array.dtype)
    made[:count] = array[:count]
    return made


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def bases_in(names: Sequence[str]) -> list[int]:
    """Return the bases of the journal files among names, in order."""
    return sorted(int(name[: -len(SUFFIX)]) for name in names if name.endswith(SUFFIX) and name[0] != ".")


def file_name(base: int) -> str:
    """Return the name of the file that begins with a sequence."""
    return f"{base:016d}{SUFFIX}"


SUFFIX = ".journal"


def layout_of(columns: Columns) -> Layout:
    """Return the layout that rows have."""
    return Layout(tuple(columns.column(name) for name in columns.arrays), columns.size_scale, columns.turnover_scale)
