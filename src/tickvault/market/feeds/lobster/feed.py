"""LOBSTER: what happened to each order of a stock on Nasdaq in a day, and the book after each of it.

A message file has the columns Time (seconds after midnight in New York), Type, OrderId, Size, Price (dollars × 10,000)
and Direction (of the resting order), and becomes `mbo`:

====  =========================  ===================================================================
type  what happened              rows
====  =========================  ===================================================================
1     an order comes             A
2     part of it is cancelled    C, the amount cancelled
3     all of it is               C, the amount that was left
4     it is executed             T (the aggressor's side), F and C (the resting order)
5     a hidden order is          T: the book never showed it
6     a cross, as of an auction  T without a side: the orders behind it have messages of their own
7     trading halts or resumes   a row of `status`: price -1 halt, 0 quoting resumes, 1 trading does
====  =========================  ===================================================================

An orderbook file has a row for each of the message file beside it, from which it takes the times; it becomes `bbo` if
it has one level, else `mbp-10`.  It is stored as given: messages within so few levels do not suffice to make the book.
https://lobsterdata.com/info/DataStructure.php

Invariants: the day and the symbol are those of the file's name, else of the options; the rows of a book and of its
messages correspond one to one, or nothing of the book is stored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import numpy as np

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.lobster.book import LEVELS_MAX, Times, decode_book
from tickvault.market.feeds.lobster.lines import FIELD_COUNT, body, first_row, row_count
from tickvault.market.feeds.lobster.messages import ZONE, decode_messages
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Member, Source
from tickvault.market.feeds.text import Fields, day_start_ns

VENUE = "XNAS"
_NAME = re.compile(
    r"(?P<symbol>.+?)_(?P<date>\d{4}-\d{2}-\d{2})_\d+_\d+_(?P<kind>message|orderbook)_(?P<levels>\d+)\.csv(\.gz|\.zst)?",
    re.IGNORECASE,
)
_SUFFIXES = (".csv", ".csv.gz", ".csv.zst")
_HEADER = b"time,type,orderid,size,price,direction"


class LobsterFeed:
    """LOBSTER's message and orderbook files."""

    name = "lobster"

    def recognises(self, source: Source) -> bool:
        """Return whether the name and the first row are LOBSTER's, or the first line is its header."""
        lowered = source.name.lower()
        if lowered.endswith(_SUFFIXES) and source.head[: len(_HEADER)].lower() == _HEADER:
            return True
        if not lowered.endswith((*_SUFFIXES, ".zip")):
            return False
        for member in source.members():
            named = _NAME.fullmatch(_base(member))
            if named is not None:
                wanted = FIELD_COUNT if named["kind"].lower() == "message" else 4 * int(named["levels"])
                try:
                    return first_row(member).count(b",") + 1 == wanted
                except IntegrityError:
                    return False
        return False

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a source; see `feeds.protocol.Feed`."""
        reader = _Reader(source, options)
        members = [member for member in source.members() if _NAME.fullmatch(_base(member))]
        for member in members or source.members():
            yield from reader.read(member)


class _Reader:
    """Reads the files of one source, one after the other."""

    def __init__(self, source: Source, options: IngestOptions) -> None:
        self._source = source
        self._options = options
        self._row_count = 0
        self._stored_count = 0

    def read(self, member: Member) -> Iterator[Decoded]:
        named = _NAME.fullmatch(_base(member))
        row = first_row(member)
        field_count = row.count(b",") + 1
        if not row:
            return  # no rows at all
        if named and named["kind"].lower() == "message":
            field_count = FIELD_COUNT
        if field_count != FIELD_COUNT and field_count % 4:
            raise InvalidInputError(
                f"{self._where(member)}: a LOBSTER message has {FIELD_COUNT} fields and a book 4 for each level, and "
                f"its first row has {field_count}: {row[:80]!r}"
            )
        symbol = named["symbol"] if named else self._options.needed("symbol", self._source, "its name has no symbol")
        date = named["date"] if named else self._options.needed("date", self._source, "its times have no date")
        try:
            day_start_ns(date)
        except ValueError as error:
            raise InvalidInputError(f"{self._where(member)}: {date!r} is no date ({error})") from error
        if field_count == FIELD_COUNT:
            yield from self._messages(member, symbol, date)
        else:
            yield from self._book(member, symbol, date, field_count // 4)

    def _where(self, member: Member) -> str:
        return f"ingest {self._source.path}" + (f": {member.name}" if member.inside is not None else "")

    def _messages(self, member: Member, symbol: str, date: str) -> Iterator[Decoded]:
        for block in body(member):
            found = decode_messages(block, date)
            yield Counted(found.row_count)
            yield from self._quarantined(found.wrong, found.fields)
            yield from self._piece(symbol, found.mbo, found.mbo_ordinals)
            yield from self._piece(symbol, found.status, found.status_ordinals)
            self._row_count += found.row_count
            self._stored_count += found.stored_count

    def _book(self, member: Member, symbol: str, date: str, level_count: int) -> Iterator[Decoded]:
        if level_count > LEVELS_MAX:
            raise InvalidInputError(
                f"{self._where(member)}: a book of {level_count} levels; at most {LEVELS_MAX} can be stored (mbp-10)"
            )
        messages = self._messages_of(member)
        rows, message_rows = row_count(member), row_count(messages)
        if rows != message_rows:
            raise InvalidInputError(
                f"{self._where(member)}: the book has {rows} rows and its messages, {messages.name}, {message_rows}; "
                f"each row takes its time from the message in the same line, so that they must be as many"
            )
        clock = Times(messages)
        for block in body(member):
            found = decode_book(block, level_count, clock, date, ZONE)
            yield Counted(found.row_count)
            yield from self._quarantined(found.wrong, found.fields)
            yield from self._piece(symbol, found.columns, np.arange(len(found.columns)))
            self._row_count += found.row_count
            self._stored_count += len(found.columns)

    def _messages_of(self, member: Member) -> Member:
        """Return the message file that lies beside a book."""
        name = re.sub("orderbook", "message", _base(member), flags=re.IGNORECASE)
        if name != _base(member):
            beside: list[Member] = []
            if member.inside is not None:
                beside = list(self._source.members())
            path = os.path.join(os.path.dirname(self._source.path), name)
            if os.path.isfile(path):
                beside += Source(path).members()
            for other in beside:
                if _base(other) == name:
                    return other
        wanted = f"there is no {name}"
        if name == _base(member):
            wanted = "its name must have the word orderbook where theirs has the word message"
        raise InvalidInputError(
            f"{self._where(member)}: a LOBSTER book has no times of its own, and takes them from its messages, which "
            f"must lie beside it; {wanted}"
        )

    def _quarantined(self, wrong: dict[int, str], fields: Fields) -> Iterator[Quarantined]:
        for row in sorted(wrong):
            yield Quarantined(self._row_count + row, wrong[row], fields.raw(row))

    def _piece(self, symbol: str, columns: Columns, ordinals: Array) -> Iterator[Piece]:
        if len(columns):
            yield Piece(VENUE, symbol, columns, ordinals + self._stored_count)


def _base(member: Member) -> str:
    """Return a member's name without the folders of a zip."""
    return member.name.rpartition("/")[2]
