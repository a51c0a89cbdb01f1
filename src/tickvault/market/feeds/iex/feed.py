"""IEX DEEP 1.0 and TOPS 1.5 and 1.6: captures (pcap, pcapng) of IEX-TP, as IEX's HIST gives them.

Layouts: IEX DEEP, TOPS and Transport Protocol specifications (iextrading.com).  An IEX-TP segment has a header of 40
bytes, little-endian: version 1, a reserved byte, protocol (2), channel (4), session (4), payload length (2), number of
messages (2), stream offset (8), number of the first message (8), time it was sent (8).

| message | becomes |
|---|---|
| 8, 5 price level | `mbp-delta`: what stands at the price now, 0 none; the event's last one has F_LAST |
| Q quote | `bbo` |
| T trade report | `trades`, of no told aggressor |
| B trade break | `trades` with action C, by its `trade_id` |
| X official price | `statistics`: 1 opening, 11 closing |
| D directory | `definition` |
| H, O, P, E, S | `status`; S of the symbol ``*`` |
| A, I and what is not known | counted |

Sale conditions are letters, one for each of the specification's bits from the highest: F intermarket sweep, T extended
hours, I odd lot, 8 exempt from the trade-through rule, X single-price cross; those of quotes: A halted, paused or not
available, P before or after the market.

Invariants: `sequence` and the update ids are IEX-TP's number of the message; `ts_event` is the message's time and
`ts_recv` the capture's; after a gap in a stream its rows are flagged as of a book that may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds import grouping
from tickvault.market.feeds.iex import kernels as iex_kernels
from tickvault.market.feeds.iex.events import event_pieces
from tickvault.market.feeds.iex.kernels import SIZE_OF_TYPE, SIZES
from tickvault.market.feeds.pcap import CHUNK_SIZE, Capture, Payloads, first_payloads, is_capture
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.feeds.streams import Datagrams, Sequencer, Taken, Tally
from tickvault.market.schema import CODE_NULL, SCHEMAS

#: Rows that are gathered before they are given symbol by symbol.
ROWS_A_BATCH = 2_000_000
_GATHERED = (iex_kernels.LEVELS, iex_kernels.QUOTES, iex_kernels.TRADES)
VENUE = "IEXG"
#: Message protocols of IEX-TP that are read; DEEP+ (0x8005) has orders, and is another format.
PROTOCOLS = {0x8002: "TOPS 1.5", 0x8003: "TOPS 1.6", 0x8004: "DEEP 1.0"}
_HEADER_SIZE = 40
_REASONS = {
    iex_kernels.WRONG_SIZE: "IEX message {kind} has {size} bytes, and should have {right} or more",
    iex_kernels.CUT_OFF: "the segment ends inside a message; it and the segment's others after it are lost",
    iex_kernels.OUT_OF_RANGE: "IEX message {kind} has a price below 0 or above 92233720368547.7580, or there are more "
    "than 65536 symbols",
}


def _words(letters: dict[int, str]) -> list[str]:
    """Return the text of each byte of flags."""
    return ["".join(letter for bit, letter in letters.items() if flags & bit) for flags in range(256)]


_SALE_CONDITIONS = _words({0x80: "F", 0x40: "T", 0x20: "I", 0x10: "8", 0x08: "X"})
_QUOTE_CONDITIONS = _words({0x80: "A", 0x40: "P"})


def _looks_like_iex(payload: bytes) -> bool:
    return (
        len(payload) >= _HEADER_SIZE
        and payload[0] == 1
        and int.from_bytes(payload[2:4], "little") in PROTOCOLS
        and int.from_bytes(payload[12:14], "little") == len(payload) - _HEADER_SIZE
    )


@njit(nogil=True, cache=True)
def _headers(data: Any, starts: Any, ends: Any, cut: Any, mine: Any, keys: Any, first: Any, count: Any) -> None:
    for row in range(len(starts)):
        begin, end = starts[row], ends[row]
        if end - begin < 40 or data[begin] != 1:
            continue
        protocol = np.int64(data[begin + 2]) | np.int64(data[begin + 3]) << 8
        size = np.int64(data[begin + 12]) | np.int64(data[begin + 13]) << 8
        if protocol < 0x8002 or protocol > 0x8004 or (begin + 40 + size > end and not cut[row]):
            continue
        number = np.uint64(0)
        for step in range(8):
            number = (number << np.uint64(8)) | np.uint64(data[begin + 31 - step])
        if number >= np.uint64(1 << 62):
            continue
        channel, session = np.uint64(0), np.uint64(0)
        for step in range(4):
            channel = (channel << np.uint64(8)) | np.uint64(data[begin + 7 - step])
            session = (session << np.uint64(8)) | np.uint64(data[begin + 11 - step])
        keys[row, 0] = (np.uint64(protocol) << np.uint64(32)) | channel
        keys[row, 1] = session
        first[row] = np.int64(number)
        count[row] = np.int64(data[begin + 14]) | np.int64(data[begin + 15]) << 8
        mine[row] = True


class IexFeed:
    """IEX DEEP and TOPS in a capture."""

    name = "iex"

    def __init__(self) -> None:
        self.tally = Tally()

    def recognises(self, source: Source) -> bool:
        """Return whether it is a capture whose first datagrams have an IEX-TP segment of DEEP or TOPS."""
        return is_capture(source.head) and any(map(_looks_like_iex, first_payloads(source.head)))

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a capture; see the module."""
        self.tally = Tally()
        decoder = _Decoder(source, options, self.tally)
        for member in source.members():
            capture = Capture.of(member, next(member.blocks(64), b""))
            yield from decoder.packets(capture)
            if capture.damage:
                raise capture.damage


class _Decoder:
    """The state of decoding one source."""

    def __init__(self, source: Source, options: IngestOptions, tally: Tally) -> None:
        self._source, self._tally = source, tally
        self._venue = options.venue or VENUE
        self._names = np.zeros(grouping.KEY_COUNT, np.int64)
        self._slots = np.full(4 * grouping.KEY_COUNT, -1, np.int64)
        self._symbols: dict[int, str] = {}
        self._types = np.zeros(256, np.int64)
        self._state = np.zeros(iex_kernels.STATE_COUNT, np.int64)
        self._size_max = 0

    def packets(self, capture: Capture) -> Iterator[Decoded]:
        """Decode a capture's packets."""
        sequencer, seen = Sequencer(self._tally), False
        while (chunk := capture.chunk()) is not None:
            datagrams = _datagrams(chunk)
            seen = seen or bool(datagrams.mine.any())
            taken, stop = sequencer.take(chunk, datagrams)
            yield from self._messages(chunk.data, _segments(chunk, datagrams, taken))
            if stop is not None:
                capture.keep(stop, chunk)
        if not seen and capture.damage is None:
            raise InvalidInputError(
                f"ingest {self._source.path}: the capture holds no IEX-TP segments of {', '.join(PROTOCOLS.values())}"
            )
        if capture.rest and capture.damage is None:
            yield Quarantined(int(self._state[iex_kernels.INPUT_ROWS]), "the file ends inside it", capture.rest)
            self._state[iex_kernels.INPUT_ROWS] += 1
            yield Counted(1)
        yield from self._flush()

    def _messages(self, data: Array, segments: Array) -> Iterator[Decoded]:
        state = self._state
        if not len(segments):
            return
        if len(data) > self._size_max:
            yield from self._flush()
            self._make_room(len(data))
        before = int(state[iex_kernels.INPUT_ROWS])
        state[iex_kernels.NOTES] = 0
        iex_kernels.decode(
            data,
            segments,
            SIZE_OF_TYPE,
            self._names,
            self._slots,
            self._levels.rows,
            self._levels.keys,
            self._levels.counts,
            self._quotes.rows,
            self._quotes.keys,
            self._quotes.counts,
            self._trades.rows,
            self._trades.keys,
            self._trades.counts,
            self._notes,
            self._types,
            state,
        )
        yield Counted(int(state[iex_kernels.INPUT_ROWS]) - before)
        notes = self._notes[: int(state[iex_kernels.NOTES])]
        if len(notes):
            yield from event_pieces(data, notes, self._venue, self._symbol)
            for at, size, _, row, _, what, _, _, _ in notes[notes[:, 5] != iex_kernels.EVENT].tolist():
                raw = bytes(data[at : at + size])
                kind = chr(raw[0]) if raw else ""
                yield Quarantined(row, _REASONS[what].format(kind=kind, size=size, right=SIZES.get(kind)), raw)
        if max(int(state[place]) for place in _GATHERED) >= ROWS_A_BATCH:
            yield from self._flush()

    def _make_room(self, size: int) -> None:
        """Make room for a chunk of a size beside a batch of rows; the shortest messages of a row are of 32 bytes."""
        self._size_max = size = max(size, 2 * CHUNK_SIZE)
        self._levels, self._quotes, self._trades = (grouping.Rows(ROWS_A_BATCH + size // 32 + 1) for _ in range(3))
        self._notes = np.empty((size // 3 + 1, iex_kernels.NOTE_WORDS), np.int64)

    def _symbol(self, key: int) -> str:
        symbol = self._symbols.get(key)
        if symbol is None:
            letters = int(self._names[key]).to_bytes(8, "little", signed=True)
            symbol = self._symbols[key] = letters.decode("ascii", "replace").strip(" \0") or "?"
        return symbol

    def _flush(self) -> Iterator[Decoded]:
        """Give the rows that were gathered."""
        state = self._state
        levels, quotes, trades = (int(state[place]) for place in _GATHERED)
        for place in _GATHERED:
            state[place] = 0
        if levels:
            found = self._levels.sort(levels)
            yield from grouping.pieces(found, _level_columns(found), self._venue, self._symbol)
        if quotes:
            found = self._quotes.sort(quotes)
            yield from grouping.pieces(found, _quote_columns(found), self._venue, self._symbol)
        if trades:
            found = self._trades.sort(trades)
            yield from grouping.pieces(found, _trade_columns(found), self._venue, self._symbol)
        self._tally.unknown = int(state[iex_kernels.UNKNOWN])
        self._tally.messages = {chr(kind): int(self._types[kind]) for kind in np.flatnonzero(self._types).tolist()}


def _datagrams(chunk: Payloads) -> Datagrams:
    rows = len(chunk.starts)
    mine, keys = np.zeros(rows, np.bool_), np.zeros((rows, 2), np.uint64)
    first, count = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    _headers(chunk.data, chunk.starts, chunk.ends, chunk.cut, mine, keys, first, count)
    return Datagrams(mine, keys, first, count)


def _segments(chunk: Payloads, datagrams: Datagrams, taken: Taken) -> Array:
    index = taken.places
    begins = chunk.starts[index] + _HEADER_SIZE
    sizes = chunk.data[begins - 28].astype(np.int64) + chunk.data[begins - 27].astype(np.int64) * 256
    return np.column_stack(
        [
            begins,
            np.minimum(begins + sizes, chunk.ends[index]),
            datagrams.counts[index],
            taken.skip,
            datagrams.first[index],
            chunk.ts[index],
            taken.doubtful.astype(np.int64),
        ]
    )


def _conditions(found: grouping.Sorted, words: list[str]) -> tuple[Array, list[str]]:
    """Return codes of the flags' texts, and the texts; no flag is null."""
    texts = sorted(set(words) - {""})
    numbers = {text: number for number, text in enumerate(texts)}
    table = np.array([numbers.get(word, CODE_NULL) for word in words], np.int32)
    return table[found.code], texts


def _level_columns(found: grouping.Sorted) -> Columns:
    words = found.words
    arrays = {
        "ts_event": words[grouping.TS_EVENT],
        "ts_recv": words[grouping.TS_RECV],
        "side": found.side,
        "price": words[grouping.PRICE],
        "size": words[grouping.SIZE],
        "flags": found.flags,
        "first_update_id": found.unsigned(grouping.SEQUENCE),
        "last_update_id": found.unsigned(grouping.ID),
    }
    return Columns(SCHEMAS["mbp-delta"], arrays)


def _quote_columns(found: grouping.Sorted) -> Columns:
    words = found.words
    codes, texts = _conditions(found, _QUOTE_CONDITIONS)
    arrays = {
        "ts_event": words[grouping.TS_EVENT],
        "ts_recv": words[grouping.TS_RECV],
        "flags": found.flags,
        "sequence": found.unsigned(grouping.SEQUENCE),
        "conditions": codes,
        "bid_px_00": words[grouping.ID],
        "bid_sz_00": words[grouping.SIZE],
        "ask_px_00": words[grouping.PRICE],
        "ask_sz_00": words[grouping.EXTRA],
    }
    return Columns(SCHEMAS["bbo"], arrays, {"conditions": texts})


def _trade_columns(found: grouping.Sorted) -> Columns:
    words = found.words
    codes, texts = _conditions(found, _SALE_CONDITIONS)
    arrays = {
        "ts_event": words[grouping.TS_EVENT],
        "ts_recv": words[grouping.TS_RECV],
        "price": words[grouping.PRICE],
        "size": words[grouping.SIZE],
        "action": found.action,
        "side": found.side,
        "flags": found.flags,
        "sequence": found.unsigned(grouping.SEQUENCE),
        "trade_id": found.unsigned(grouping.ID),
        "conditions": codes,
    }
    return Columns(SCHEMAS["trades"], arrays, {"conditions": texts})
