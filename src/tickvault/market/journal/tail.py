"""The reading side of a series' journal: all its files that are not yet files of columns.

Invariants: a reader takes no lock and keeps no writer waiting; what it shows was acknowledged, or about to be; a file
that is unlinked while it is read stays readable to its end.
"""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from tickvault.errors import IntegrityError
from tickvault.market.catalog import LIVE, SeriesKey
from tickvault.market.journal.file import Elsewhere, JournalFile, Rows, bases_in, file_name
from tickvault.market.journal.place import Place
from tickvault.market.journal.state import Extent, StatePage
from tickvault.market.schema import Schema


class Unread(NamedTuple):
    """The rows of one file, as of one moment."""

    source: str
    """Under which a manifest notes that the rows are in parts."""
    base: int
    next_sequence: int
    stamp: int
    """Of its last row."""
    schema: Schema
    rows: list[Rows]
    rows_elsewhere: int
    """How many more lie in files of columns already."""

    @property
    def is_whole(self) -> bool:
        """Whether all its numbers are accounted for."""
        here = sum(len(rows.stamps) for rows in self.rows)
        return self.base + here + self.rows_elsewhere == self.next_sequence


class JournalTail:
    """The files of one series' journal, open for reading."""

    def __init__(self, place: Place, key: SeriesKey) -> None:
        self.key = key
        self._place = place
        self.folder = place.folder(key)
        self._files: dict[int, JournalFile] = {}
        self._state: StatePage | None = None
        self._boot_id = b""
        self._mutex = threading.Lock()
        self.waiters = 0
        """Subscriptions that sleep on the page: it is not closed under them."""

    def after_fork(self) -> None:
        """Begin anew in a forked child: a thread of the parent may have been in the middle of something."""
        self._mutex = threading.Lock()
        self._files = {}
        if self._state is not None:
            self._state.after_fork()

    def snapshot(self) -> list[Unread]:
        """Return all rows that lie in files of the journal, the oldest first."""
        with self._mutex:
            return [
                Unread(
                    source_of(file),
                    file.header.base,
                    file.next_sequence,
                    file.stamp,
                    file.schema,
                    file.rows(),
                    file.rows_elsewhere,
                )
                for file in self.files()
            ]

    def rows_from(self, sequence: int, extent: Extent | None = None) -> tuple[int, list[Rows | Elsewhere]]:
        """Return (the first sequence that lies in files, rows from a sequence on), as far as the page said."""
        with self._mutex:
            files = self.files(extent)
            first = files[0].header.base if files else 0
            return first, [
                found for file in files if file.next_sequence > sequence for found in file.rows_from(sequence)
            ]

    @property
    def is_open(self) -> bool:
        """Whether it holds files open."""
        return self._state is not None or bool(self._files)

    def close(self) -> None:
        """Close the files; the next look opens them again."""
        with self._mutex:
            for file in self._files.values():
                file.close()
            self._files.clear()
            if self._state is not None:
                self._state.close()
                self._state = None

    @property
    def exists(self) -> bool:
        """Whether anything was ever appended, or somebody waits for it."""
        return self._state is not None or os.path.exists(os.path.join(self.folder, "state"))

    @property
    def state(self) -> StatePage:
        """The page shared with the writers."""
        if self._state is None:
            self._state = StatePage(os.path.join(self.folder, "state"))
            self._boot_id = self._place.host.boot_id()
        return self._state

    def extent(self) -> Extent | None:
        """Return how far the journal is valid; None if only the files can tell."""
        if self.state.journal_id(self._boot_id) is None:
            return None
        return self.state.read()

    def files(self, extent: Extent | None = None) -> list[JournalFile]:
        """Return the files, the oldest first, each read up to its valid end, or up to what the page said before."""
        if not self.exists:
            # A vault that was restored has files, and no page.
            try:
                bases = bases_in(os.listdir(self.folder))
            except FileNotFoundError:
                return []
            return self._advanced(bases, None)
        extent = extent or self.extent()
        # What an interrupt hit is read anew.
        self._files = {base: file for base, file in self._files.items() if file.is_settled}
        if extent is not None and extent.base in self._files and len(self._files) == 1:
            # The common case: the file that is appended to is the only one, and no directory need be read.
            file = self._files[extent.base]
            file.advance(extent.end)
            return [file]
        bases = bases_in(os.listdir(self.folder))
        if extent is not None and extent.base >= 0:
            bases = [base for base in bases if base <= extent.base]
            if extent.base not in bases:
                path = os.path.join(self.folder, file_name(extent.base))
                raise IntegrityError(
                    f"journal {path}: the file is gone, and rows up to sequence {extent.next_sequence - 1:,} were "
                    "acknowledged; restore it from a replica or a backup"
                )
        return self._advanced(bases, extent)

    def _advanced(self, bases: list[int], extent: Extent | None) -> list[JournalFile]:
        for base in [base for base in self._files if base not in bases]:
            self._files.pop(base).close()
        found = []
        for base in bases:
            file = self._files.get(base)
            if file is None:
                try:
                    file = JournalFile(self._place.disk, os.path.join(self.folder, file_name(base)))
                except FileNotFoundError:
                    continue
                self._files[base] = file
            found.append(file)
        for file, successor in zip(found, [*found[1:], None], strict=False):
            if successor is not None and successor.header.previous_base == file.header.base:
                file.advance(successor.header.previous_end)
            elif extent is not None and extent.base == file.header.base:
                file.advance(extent.end)
            else:
                file.advance(None)
                file.check_end()
        return found


def source_of(file: JournalFile) -> str:
    """Return the name under which a manifest notes that a journal file's rows are in parts."""
    return f"{LIVE}{file.header.journal_id}:{file.header.base}"
