"""How far a receiver has acknowledged a trail, kept in a small file.

Invariants: the file is there whole or not at all (written beside, synced, renamed, the folder synced); it is believed
only if its checksum holds, if it is of this trail and not ahead of it, because a cursor that is too high would skip
records in silence; `sequence` never goes back but by `rewind`.

The file is one line of JSON: ``{"format": 1, "sink": …, "trail": …, "sequence": …, "dead_letters": …, "crc32c": …}``;
the checksum is that of the same line without it.
"""

from __future__ import annotations

import json
import os
from typing import Any

from crc32c import crc32c

from tickvault.audit.ship.event import to_json
from tickvault.audit.ship.source import Source
from tickvault.errors import FormatError, IntegrityError, InvalidInputError
from tickvault.seam.disk import Disk, OsDisk, storage_error

FORMAT = 1
_SIZE_MAX = 4096


class Cursor:
    """The last acknowledged record of one receiver."""

    def __init__(self, path: str, sink_name: str, trail_id: str, disk: Disk | None = None) -> None:
        self.path = path
        self.sink_name = sink_name
        self.trail_id = trail_id
        self.sequence = 0
        """Last record that the receiver has acknowledged, or that went to the dead letters; 0 at the beginning."""
        self.dead_letter_count = 0
        self._disk = disk or OsDisk()
        self._is_saved = False

    @classmethod
    def load(cls, path: str, sink_name: str, source: Source, disk: Disk | None = None) -> Cursor:
        """Return the cursor in a file, or one at the beginning of the trail where there is no file.

        Raises
        ------
        IntegrityError
            The file is damaged.
        FormatError
            Another release wrote it.
        InvalidInputError
            It is of another sink or another trail, or ahead of this one.
        """
        cursor = cls(path, sink_name, source.trail_id, disk)
        line = cursor._read()
        if line is not None:
            cursor._take(line)
            cursor.check(source)
            cursor._is_saved = True
        return cursor

    def check(self, source: Source) -> None:
        """Raise `InvalidInputError` unless the trail is the cursor's own and reaches to where it stands."""
        if source.trail_id != self.trail_id:
            raise InvalidInputError(
                f"cursor {self.path}: belongs to the trail {self.trail_id}, and the vault now has {source.trail_id}; "
                "if the trail was begun anew (`tickvault audit restart`), or the vault was made anew, remove the file, "
                "and the new trail is sent from its first record"
            )
        last = source.last_sequence
        if self.sequence > last:
            raise InvalidInputError(
                f"cursor {self.path}: record {self.sequence} was acknowledged, and the trail ends at {last}; the trail "
                "is older than the cursor (a backup was restored?) or lost its end: compare both with the receiver, "
                "which may hold the only copy, then remove the file, and the trail is sent again from its first record"
            )

    def advance(self, sequence: int, dead_letter_count: int = 0) -> None:
        """Take an acknowledgement up to `sequence`, with what of it went to the dead letters, and make it durable.

        When the file cannot be written, the cursor has moved in memory all the same: what was acknowledged is not
        sent again as long as this process lives. `save` tries again.
        """
        assert sequence >= self.sequence, "a cursor only goes forward"
        self.sequence = sequence
        self.dead_letter_count += dead_letter_count
        self._is_saved = False
        self.save()

    def rewind(self, count: int) -> None:
        """Go back by some records, in memory only: they are sent again."""
        self.sequence = max(0, self.sequence - count)

    def save(self) -> None:
        """Make the cursor durable, if it is not yet."""
        if self._is_saved:
            return
        temporary = f"{self.path}.tmp"
        line = _line(self._document())
        disk = self._disk
        disk.unlink(temporary)  # a new file each time: a sync that failed is never tried again
        fd = disk.open(temporary, create=True)
        try:
            disk.pwritev(fd, [line], 0)
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.rename(temporary, self.path)
        disk.sync_directory(os.path.dirname(self.path) or ".")
        self._is_saved = True

    def _document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "sink": self.sink_name,
            "trail": self.trail_id,
            "sequence": self.sequence,
            "dead_letters": self.dead_letter_count,
        }

    def _read(self) -> bytes | None:
        try:
            fd = self._disk.open(self.path, writable=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, "open", self.path) from error
        try:
            return self._disk.pread(fd, _SIZE_MAX + 1, 0)
        finally:
            self._disk.close(fd)

    def _take(self, line: bytes) -> None:
        document = _document_of(line, self.path)
        if document["sink"] != self.sink_name:
            raise InvalidInputError(
                f"cursor {self.path}: belongs to the sink {document['sink']!r}, not to {self.sink_name!r}; a sink's "
                "cursor cannot be copied or renamed: remove the file, and the trail is sent from its first record"
            )
        self.trail_id = document["trail"]
        self.sequence = document["sequence"]
        self.dead_letter_count = document["dead_letters"]


def _line(document: dict[str, Any]) -> bytes:
    return to_json({**document, "crc32c": f"{crc32c(to_json(document)):08x}"}) + b"\n"


def _document_of(line: bytes, path: str) -> dict[str, Any]:
    document: dict[str, Any]
    try:
        document = json.loads(line)
        checksum = document.pop("crc32c")
        is_whole = len(line) <= _SIZE_MAX and checksum == f"{crc32c(to_json(document)):08x}"
        version = document["format"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        is_whole, version, document = False, FORMAT, {}
    if not is_whole:
        raise IntegrityError(
            f"cursor {path}: is damaged, its checksum does not hold, and a wrong cursor would skip records; remove the "
            "file, and the trail is sent again from its first record: receivers know the events by their ids"
        )
    if version != FORMAT:
        raise FormatError(f"cursor {path}: has format {version!r}, this release knows {FORMAT}; use the newer release")
    counts = (document.get("sequence"), document.get("dead_letters"))
    names = (document.get("sink"), document.get("trail"))
    if not all(type(count) is int and count >= 0 for count in counts) or not all(type(n) is str for n in names):
        raise FormatError(f"cursor {path}: has fields of the wrong type; remove the file to send from the beginning")
    return document
