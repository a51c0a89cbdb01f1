"""What the layer above tells the engine: the meaning of records.

Invariants: the engine asks only through this protocol; it knows no bucket, object or version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from tickvault.engine.bodies import Extent
    from tickvault.engine.index import IndexWriter, Reader
    from tickvault.engine.record import Location, Record


class Referrer(NamedTuple):
    """An index entry that refers to a record."""

    bucket_id: int
    key: bytes
    sequence: int
    segment_id: int
    offset: int
    has_extents: bool
    version_id: str


class Interpreter(Protocol):
    """What records mean; the layer above gives it."""

    def apply(
        self,
        writer: IndexWriter,
        kind: int,
        flags: int,
        sequence: int,
        bucket_id: int,
        key: bytes,
        meta: bytes,
        time_ns: int,
        aux: int,
        body_length: int,
        location: Location,
    ) -> None:
        """Change the index as the record says: in a commit, in replay, and for a relocated copy alike.

        Must give the same index whether a record is applied once or again, and for any journal in which a copy stands
        after its original.
        """

    def has_meaning(self, record: Record) -> bool:
        """Return whether a record with sound bytes says what one of its kind can say."""

    def apply_damaged(self, writer: IndexWriter, record: Record, location: Location) -> None:
        """Have what a damaged record was about answer with an error, as far as its header can be made out.

        Nothing in the record is proven but its place; its sequence is at most the last one of its batch.
        """

    def live(self, reader: Reader, record: Record, location: Location) -> bool:
        """Return whether the index still refers to this record at this place."""

    def tombstone(self, record: Record) -> bool:
        """Return whether the record says that another is gone, and so must outlive it."""

    def extents(self, record: Record) -> Sequence[Extent]:
        """Return what the record refers to in body segments."""

    def with_extents(self, record: Record, extents: Sequence[Extent]) -> bytes:
        """Return the record's meta with other extents in place of its own."""

    def referrers(self, reader: Reader) -> Iterator[Referrer]:
        """Iterate over the index entries that refer to records with a body: versions and parts."""

    def dead_bytes(self, reader: Reader, segment_id: int) -> int:
        """Return a lower bound of the dead bytes in a journal segment."""

    def volatile(self, key: bytes) -> bool:
        """Return whether an index entry is a hint that replay need not give again."""

    def place_of(self, key: bytes, raw: bytes) -> tuple[int, int, int] | None:
        """Return (sequence, segment, offset) of the record that an index entry was made from, None if it names none.

        Raises `IntegrityError` if the entry does not match its own checksum.
        """

    def drop_strays(self, writer: IndexWriter) -> None:
        """Put in order what damaged records left in the index, after a replay that met some."""

    def finish_rebuild(self, writer: IndexWriter) -> None:
        """Remove entries whose owner does not exist, after a rebuild from segments alone."""
