"""Nasdaq TotalView-ITCH 5.0: files of length-prefixed messages, and MoldUDP64 packets in a capture.

Layouts: Nasdaq TotalView-ITCH 5.0 and MoldUDP64 1.00 (nasdaqtrader.com, specifications of data products); BX and PSX
have the same.

| message | becomes |
|---|---|
| A, F add | `mbo` A |
| E, C executed | `mbo` T (the aggressor's side), F, C; and, where it is printable, `trades` |
| X cancel, D delete | `mbo` C: the amount taken away, the rest |
| U replace | `mbo` C of what was left of the old order, A of the new one at the old one's side |
| P trade with a hidden order, Q cross | `mbo` T, `trades`; a cross without shares is `mbo` N, no trade |
| B broken trade | `trades` with action C, by its `trade_id`; its price and size, not told, are null |
| R directory | `definition` |
| H, Y, h, S | `status`; S and whatever else concerns the whole market, of the symbol ``*`` |
| others | counted |

An execution that is not printable (its volume comes again in a cross) has ``printable`` N in `mbo`, and is not in
`trades`.  P tells no aggressor: since 2014 its side is always B.

Invariants: `sequence` is the number of the message, from 1, in the file or the session; an execution or cancel of more
than the order had left takes what it had, and is flagged; times are the stamps' nanoseconds since New York's midnight
of the day, which the options, the file's name or the capture's clock say, in this order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds import grouping
from tickvault.market.feeds.itch import kernels as itch_kernels
from tickvault.market.feeds.itch.events import event_pieces
from tickvault.market.feeds.itch.file import date_of, looks_right, venue_of
from tickvault.market.feeds.itch.kernels import CONDITIONS, SIZE_OF_TYPE, SIZES
from tickvault.market.feeds.itch.orders import orders_table
from tickvault.market.feeds.pcap import CHUNK_SIZE, Capture, Payloads, first_payloads, is_capture
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Quarantined
from tickvault.market.feeds.source import Member, Source
from tickvault.market.feeds.streams import Datagrams, Sequencer, Taken, Tally
from tickvault.market.feeds.text import local_to_utc
from tickvault.market.schema import CODE_NULL, SCHEMAS, TIME_NULL, Column, Kind

#: Rows that are gathered before they are given symbol by symbol.
ROWS_A_BATCH = 2_000_000
_ZONE = "America/New_York"
_QUARTER_NS = 900_000_000_000
#: The stamp's six bytes hold 78 hours.
_QUARTERS = 2**48 // _QUARTER_NS + 1
#: Of a capture whose clock was not set, the day is not known.
_CLOCK_SET_NS = 1_262_304_000_000_000_000
_HEADER_SIZE = 20
_END_OF_SESSION = 0xFFFF
_REASONS = {
    itch_kernels.WRONG_SIZE: "ITCH message {kind} has {size} bytes, and should have {right}",
    itch_kernels.CUT_OFF: "the packet ends inside a message; it and the packet's others after it are lost",
    itch_kernels.ORDER_UNKNOWN: "ITCH message {kind} names an order that was not added before",
    itch_kernels.OUT_OF_RANGE: "ITCH message {kind} has a side that is neither B nor S, or a price above 214748.3647",
    itch_kernels.LOCATE_UNKNOWN: "ITCH message {kind} is of a stock that was not announced before",
}
#: Of `mbo`, beyond Databento's.
MBO_EXTENSIONS = (
    Column("match_number", Kind.ID, "the venue's number of the trade, of T and F"),
    Column("printable", Kind.CHAR, "of T and F: N where the volume is reported again in a cross"),
)
#: Of `trades`.
TRADE_EXTENSIONS = (Column("order_id", Kind.ID, "the order that rested"),)


def _looks_like_mold(payload: bytes) -> bool:
    if len(payload) < _HEADER_SIZE + 2 or not all(32 <= letter < 127 for letter in payload[:10]):
        return False
    count = int.from_bytes(payload[18:20], "big")
    return 0 < count < _END_OF_SESSION and looks_right(payload[_HEADER_SIZE:])


@njit(nogil=True, cache=True)
def _mold_headers(data: Any, starts: Any, ends: Any, mine: Any, keys: Any, first: Any, count: Any) -> None:
    for row in range(len(starts)):
        begin, end = starts[row], ends[row]
        mine[row] = end - begin >= 20
        if not mine[row]:
            continue
        for step in range(10):
            letter = data[begin + step]
            if letter < 32 or letter > 126:
                mine[row] = False
        number = np.uint64(0)
        for step in range(8):
            keys[row, 0] = (keys[row, 0] << np.uint64(8)) | np.uint64(data[begin + step])
            number = (number << np.uint64(8)) | np.uint64(data[begin + 10 + step])
        keys[row, 1] = np.uint64(data[begin + 8]) * np.uint64(256) + np.uint64(data[begin + 9])
        # A number beyond 2**62 is no number that a session reaches.
        mine[row] = mine[row] and number < np.uint64(1 << 62)
        first[row] = np.int64(number & np.uint64((1 << 62) - 1))
        count[row] = np.int64(data[begin + 18]) * 256 + np.int64(data[begin + 19])
        if count[row] == 65535:
            count[row] = 0
        if count[row] and end - begin < 22:
            mine[row] = False


class ItchFeed:
    """Nasdaq TotalView-ITCH 5.0, as a file or as a capture of MoldUDP64."""

    name = "itch"

    def __init__(self) -> None:
        self.tally = Tally()

    def recognises(self, source: Source) -> bool:
        """Return whether the first messages are ITCH 5.0's."""
        if is_capture(source.head):
            return any(map(_looks_like_mold, first_payloads(source.head)))
        return looks_right(source.head)

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a file or a capture; see the module."""
        self.tally = Tally()
        if not source.head and not any(True for member in source.members() for _ in member.blocks(1)):
            raise InvalidInputError(f"ingest {source.path}: it is empty, and no ITCH 5.0 file")
        decoder = _Decoder(source, options, self.tally)
        for member in source.members():
            yield from decoder.member(member)


class _Decoder:
    """The state of decoding one source."""

    def __init__(self, source: Source, options: IngestOptions, tally: Tally) -> None:
        self._source, self._options, self._tally = source, options, tally
        self._captured = is_capture(source.head)
        self._venue = options.venue or venue_of(source.name)
        self._date = options.date or date_of(source.name)
        self._zone: Array | None = None
        self._slots = orders_table(None, 0, 0)
        self._names = np.zeros(grouping.KEY_COUNT, np.int64)
        self._symbols: dict[int, str] = {}
        self._types = np.zeros(256, np.int64)
        self._state = np.zeros(itch_kernels.STATE_COUNT, np.int64)
        self._words = grouping.WORD_COUNT if self._captured else grouping.WORD_COUNT - 1
        self._size_max = 0

    def member(self, member: Member) -> Iterator[Decoded]:
        """Decode one stream of bytes."""
        damage: IntegrityError | None = None
        if self._captured:
            capture = Capture.of(member, next(member.blocks(64), b""))
            yield from self._packets(capture)
            damage = capture.damage
        else:
            rest, sequence = b"", 1
            blocks = member.blocks(CHUNK_SIZE)
            while damage is None:
                try:
                    block = next(blocks, b"")
                except IntegrityError as error:
                    damage, block = error, b""
                if not block:
                    break
                data = rest + block
                if sequence == 1 and self._state[itch_kernels.INPUT_ROWS] == 0 and not looks_right(data[:65536]):
                    raise InvalidInputError(
                        f"ingest {self._source.path}: no ITCH 5.0 messages; it begins with {data[:16].hex()}, and "
                        "should with the two bytes of a message's length, then its type"
                    )
                segments = np.array([[0, len(data), 1 << 62, 0, sequence, TIME_NULL, 0]], np.int64)
                yield from self._messages(np.frombuffer(data, np.uint8), segments, framed=False)
                sequence = int(segments[0, 4])
                rest = data[int(self._state[itch_kernels.CONSUMED]) :]
            if rest.strip(b"\0"):
                yield from self._last_one(rest)
        yield from self._flush()
        if damage:
            raise damage

    def _packets(self, capture: Capture) -> Iterator[Decoded]:
        sequencer, seen = Sequencer(self._tally), False
        while (chunk := capture.chunk()) is not None:
            datagrams = _headers(chunk)
            if datagrams.mine.any():
                seen = True
                self._day_of(chunk.ts[datagrams.mine])
            taken, stop = sequencer.take(chunk, datagrams)
            yield from self._messages(chunk.data, _segments(chunk, datagrams, taken), framed=True)
            if stop is not None:
                capture.keep(stop, chunk)
        if not seen and capture.damage is None:
            raise InvalidInputError(f"ingest {self._source.path}: the capture holds no MoldUDP64 packets of ITCH 5.0")
        if capture.rest and capture.damage is None:
            yield from self._last_one(capture.rest)

    def _day_of(self, ts: Array) -> None:
        """Take the day from the capture's clock, if nothing else says it."""
        if self._date is None and len(ts) and int(ts[0]) > _CLOCK_SET_NS:
            from datetime import UTC, datetime
            from zoneinfo import ZoneInfo

            moment = datetime.fromtimestamp(int(ts[0]) // 1_000_000_000, UTC)
            self._date = str(moment.astimezone(ZoneInfo(self._options.tz or _ZONE)).date())

    def _last_one(self, rest: bytes) -> Iterator[Decoded]:
        yield Quarantined(int(self._state[itch_kernels.INPUT_ROWS]), "the file ends inside it", rest)
        self._state[itch_kernels.INPUT_ROWS] += 1
        yield Counted(1)

    def _offsets(self) -> Array:
        """Return what to add to nanoseconds since midnight, by quarter of an hour."""
        if self._zone is None:
            day = self._date
            if day is None:
                day = self._options.needed("date", self._source, "ITCH's stamps tell the time of day but not the day")
            quarters = np.arange(_QUARTERS, dtype=np.int64) * _QUARTER_NS
            try:
                self._zone = local_to_utc(day, quarters, self._options.tz or _ZONE) - quarters
            except (ValueError, KeyError) as error:
                raise InvalidInputError(
                    f"ingest {self._source.path}: {day!r} is no day, or {self._options.tz!r} no zone ({error})"
                ) from error
        return self._zone

    def _messages(self, data: Array, segments: Array, *, framed: bool) -> Iterator[Decoded]:
        state = self._state
        if not len(segments):
            return
        if len(data) > self._size_max:
            yield from self._flush()
            self._make_room(len(data))
        self._slots = orders_table(self._slots, int(state[itch_kernels.LIVE]), len(data) // 37 + 1)
        before = int(state[itch_kernels.INPUT_ROWS])
        state[itch_kernels.NOTES] = 0
        itch_kernels.decode(
            data,
            segments,
            framed,
            SIZE_OF_TYPE,
            self._offsets(),
            self._slots,
            self._names,
            self._orders.rows,
            self._orders.keys,
            self._orders.counts,
            self._trades.rows,
            self._trades.keys,
            self._trades.counts,
            self._notes,
            self._types,
            state,
        )
        yield Counted(int(state[itch_kernels.INPUT_ROWS]) - before)
        notes = self._notes[: int(state[itch_kernels.NOTES])]
        if len(notes):
            yield from event_pieces(data, notes, self._offsets(), self._venue, self._symbol, self._captured)
            yield from self._quarantined(data, notes)
        if state[itch_kernels.ROWS] >= ROWS_A_BATCH:
            yield from self._flush_orders()
        if state[itch_kernels.TRADES] >= ROWS_A_BATCH // 4:
            yield from self._flush_trades()

    def _make_room(self, size: int) -> None:
        """Make room for a chunk of a size beside a batch of rows; the shortest messages of a row are of 21 bytes."""
        self._size_max = size = max(size, 2 * CHUNK_SIZE)
        self._orders = grouping.Rows(ROWS_A_BATCH + size // 11 + 1, self._words)
        self._trades = grouping.Rows(ROWS_A_BATCH // 4 + size // 21 + 1, self._words)
        self._notes = np.empty((size // 3 + 1, itch_kernels.NOTE_WORDS), np.int64)

    def _quarantined(self, data: Array, notes: Array) -> Iterator[Decoded]:
        for at, size, _, row, _, what, _, _ in notes[notes[:, 5] != itch_kernels.EVENT].tolist():
            raw = bytes(data[at : at + size])
            kind = chr(raw[0]) if raw else ""
            yield Quarantined(row, _REASONS[what].format(kind=kind, size=size, right=SIZES.get(kind)), raw)

    def _symbol(self, locate: int) -> str:
        symbol = self._symbols.get(locate)
        if symbol is None:
            letters = int(self._names[locate]).to_bytes(8, "big", signed=True)
            symbol = self._symbols[locate] = letters.decode("ascii", "replace").strip() or f"locate {locate}"
        return symbol

    def _flush(self) -> Iterator[Decoded]:
        """Give the rows that were gathered."""
        yield from self._flush_orders()
        yield from self._flush_trades()
        self._tally.unknown = int(self._state[itch_kernels.UNKNOWN])
        self._tally.messages = {chr(kind): int(self._types[kind]) for kind in np.flatnonzero(self._types).tolist()}

    def _flush_orders(self) -> Iterator[Decoded]:
        count, self._state[itch_kernels.ROWS] = int(self._state[itch_kernels.ROWS]), 0
        if count:
            found = self._orders.sort(count)
            yield from grouping.pieces(found, _mbo(found), self._venue, self._symbol)

    def _flush_trades(self) -> Iterator[Decoded]:
        count, self._state[itch_kernels.TRADES] = int(self._state[itch_kernels.TRADES]), 0
        if count:
            found = self._trades.sort(count)
            yield from grouping.pieces(found, _traded(found), self._venue, self._symbol)


def _headers(chunk: Payloads) -> Datagrams:
    rows = len(chunk.starts)
    mine, keys = np.zeros(rows, np.bool_), np.zeros((rows, 2), np.uint64)
    first, count = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    _mold_headers(chunk.data, chunk.starts, chunk.ends, mine, keys, first, count)
    return Datagrams(mine, keys, first, count)


def _segments(chunk: Payloads, datagrams: Datagrams, taken: Taken) -> Array:
    index = taken.places
    return np.column_stack(
        [
            chunk.starts[index] + _HEADER_SIZE,
            chunk.ends[index],
            datagrams.counts[index],
            taken.skip,
            datagrams.first[index],
            chunk.ts[index],
            taken.doubtful.astype(np.int64),
        ]
    )


def _shared(found: grouping.Sorted) -> dict[str, Array]:
    words = found.words
    arrays = {
        "ts_event": words[grouping.TS_EVENT],
        "price": words[grouping.PRICE],
        "size": words[grouping.SIZE],
        "flags": found.flags,
        "action": found.action,
        "side": found.side,
        "instrument_id": found.row_keys,
        "sequence": found.unsigned(grouping.SEQUENCE),
    }
    if len(words) > grouping.TS_RECV:
        arrays["ts_recv"] = words[grouping.TS_RECV]
    return arrays


def _mbo(found: grouping.Sorted) -> Columns:
    arrays = _shared(found)
    arrays["order_id"] = found.unsigned(grouping.ID)
    arrays["match_number"] = found.unsigned(grouping.EXTRA)
    arrays["printable"] = found.code
    return Columns(SCHEMAS["mbo"], arrays, {}, MBO_EXTENSIONS)


def _traded(found: grouping.Sorted) -> Columns:
    arrays = _shared(found)
    arrays["trade_id"] = found.unsigned(grouping.ID)
    arrays["order_id"] = found.unsigned(grouping.EXTRA)
    arrays["conditions"] = np.where(found.code, found.code.astype(np.int32) - 1, CODE_NULL).astype(np.int32)
    return Columns(SCHEMAS["trades"], arrays, {"conditions": CONDITIONS}, TRADE_EXTENSIONS)
