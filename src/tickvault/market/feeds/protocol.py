"""What a feed is given, and what it gives.

Invariants: decoding a source again gives the same pieces with the same ordinals; what a source does not say is asked
for by name, never guessed; a row that cannot be decoded is quarantined with its bytes, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.source import Source


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What the caller says of a file that the file does not say itself."""

    tz: str | None = None
    """Zone of its clock, by IANA name: ``America/New_York``."""
    scale: int | None = None
    """Stored units in one of its prices, where they are integers: 10_000."""
    date: str | None = None
    """Day of its times, ``2012-06-21``."""
    symbol: str | None = None
    venue: str | None = None
    schema: str | None = None
    """Of a table of one's own (CSV, Parquet)."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a table of one's own: our column by theirs."""
    unique: tuple[str, ...] = ()
    """Columns of which only the first row of each value is kept."""

    def needed(self, name: str, source: Source, why: str) -> str:
        """Return an option that cannot be done without.

        Raises
        ------
        InvalidInputError
            It was not given; the message says which, and why it is needed.
        """
        value = getattr(self, name)
        if value is None:
            raise InvalidInputError(f"ingest {source.path}: {why}; say it with {name}= (--{name})")
        return str(value)


class Piece(NamedTuple):
    """Rows of one series, in the order of the source."""

    venue: str
    symbol: str
    columns: Columns
    ordinals: Array
    """int64, shape (n_rows,): each stored row's number in the source; with the source, its identity."""


class Quarantined(NamedTuple):
    """An input row that cannot be decoded."""

    row: int
    """Its number in the source, from 0."""
    reason: str
    raw: bytes


class Counted(NamedTuple):
    """Input rows that were read, decoded or not."""

    rows: int


Decoded = Piece | Quarantined | Counted


class Feed(Protocol):
    """A format."""

    name: str
    """As `--format` takes it."""

    def recognises(self, source: Source) -> bool:
        """Return whether a source is of this format, by its path and its first bytes; cheap, and never a guess."""

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a source in constant memory.

        Raises
        ------
        InvalidInputError
            The source does not say something that is needed, or is not of this format after all.
        IntegrityError
            The source is cut off or damaged beyond what can be read; what was yielded before is sound.
        """
