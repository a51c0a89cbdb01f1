"""Binance raw captures: a line a websocket message, ``local_ns {json}``, of spot and of USD-M futures.

Combined streams' envelopes, bare events, and snapshots of the book in mid-stream. Depth becomes `mbp-delta` (what its
rows and their flags mean, `binance.book` says), trade and aggTrade become `trades`, bookTicker becomes `bbo`.
The messages: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

- `ts_recv` is the local time as captured, even where the local clock was wrong; `ts_event` is T, else E, else null.
- `side` of a trade is the aggressor's: m says that the buyer was the maker, so that the seller was the aggressor.
- `conditions` is X of futures' trades (MARKET, …), and ``aggTrade`` for aggregates, whose first and last trade are in
  extension columns; a capture of both trade and aggTrade has each trade twice, and can be told apart by it.
- `sequence` of `bbo` is the book's update id, u. A side of price 0 is absent.
- A message that is garbled, cut off, or of a kind that no schema has is quarantined; answers to subscriptions are
  counted and left out.

Invariants: the scanner and the JSON reading give the same; decimals are exact, or the message is quarantined.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Array, Columns
from tickvault.market.feeds import text
from tickvault.market.feeds.binance.book import Chain, Emissions, rows_of
from tickvault.market.feeds.binance.messages import Messages, Read, Type, empty_messages, read
from tickvault.market.feeds.binance.scan import scan
from tickvault.market.feeds.lines import without_last_blanks
from tickvault.market.feeds.protocol import Counted, Decoded, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.schema import ASK, BID, F_LAST, PRICE_NULL, SIZE_NULL, TIME_NULL, TRADE, Column, Kind, schema_of

SIZE_SCALE = 100_000_000
AGGREGATED = (
    Column("first_trade_id", Kind.ID, "of an aggregate: its first trade"),
    Column("last_trade_id", Kind.ID, "of an aggregate: its last trade"),
)
_LINE = re.compile(rb'^[0-9]{19} \{\s*"(stream|data|lastUpdateId|e|u)"\s*:', re.MULTILINE)
_SYMBOL = re.compile(rb'"s"\s*:\s*"([!-~]{1,40}?)"')
# What only one of the markets sends.
_DELTA = re.compile(rb'"e"\s*:\s*"depthUpdate"')
_PREVIOUS = re.compile(rb'"pu"\s*:')
_TIMED_QUOTE = re.compile(rb'"e"\s*:\s*"bookTicker"')
_PAIR = re.compile(rb'"ps"\s*:\s*"')
#: The first time that is in microseconds: in milliseconds it would be the year 5138.
_MICROSECONDS = 10**14
_DEPTH = (Type.DELTA, Type.SNAPSHOT, Type.PARTIAL)
_ID_NULL = np.iinfo(np.uint64).max


class BinanceFeed:
    """Raw websocket captures of Binance."""

    name = "binance"

    def recognises(self, source: Source) -> bool:
        """Return whether one of the first lines is a local time and a message of Binance's."""
        head = source.head
        return _LINE.search(head[:16_384]) is not None

    def decode(self, source: Source, options: IngestOptions) -> Iterator[Decoded]:
        """Decode a capture; see `feeds.protocol.Feed`."""
        if source.head and not self.recognises(source):
            raise InvalidInputError(
                f"ingest {source.path}: a capture of Binance's has lines of a local time in nanoseconds, a space and "
                f"JSON; its first bytes are {source.head[:60]!r}"
            )
        decoder = _Decoder(source, options)
        for member in source.members():
            for block in without_last_blanks(member.lines()):
                yield from decoder.block(block)


class Block(NamedTuple):
    """A block's messages, their levels, and what they name."""

    messages: Messages
    prices: Array
    sizes: Array
    symbols: Array
    """int32, shape (n_rows,): codes into `symbol_words`; -1 where the message names none."""
    symbol_words: list[str]
    conditions: Array
    condition_words: list[str]
    refused: dict[int, str]
    """Why, by row."""
    fields: text.Fields


def read_block(block: bytes, *, scanned: bool = True) -> Block:
    """Read a block of lines; without the scanner (`scanned`) the result is the same, more slowly."""
    fields = text.split(block, 1, "\n")
    rows = len(fields.sound)
    messages = empty_messages(rows)
    starts, ends = np.zeros((rows, 2), np.int32), np.zeros((rows, 2), np.int32)
    prices, sizes = np.empty(0, np.int64), np.empty(0, np.int64)
    if scanned:
        prices, sizes = scan(fields.data, fields.line_starts, fields.line_ends, messages, starts, ends)
    named = fields._replace(starts=starts, ends=ends)
    symbols, symbol_words = text.codes(named, 0)
    conditions, condition_words = text.codes(named, 1)
    made = Block(messages, prices, sizes, symbols, symbol_words, conditions, condition_words, {}, fields)
    levels: list[tuple[int, int]] = []
    for row in np.flatnonzero(messages.type == Type.NONE).tolist():
        found = read(fields.raw(row))
        if isinstance(found, str):
            made.refused[row] = found
        elif found is not None:
            _put(made, row, found, len(prices) + len(levels))
            levels += [*found.bids, *found.asks]
    if levels:
        more = np.array(levels, np.int64)
        made = made._replace(prices=np.append(prices, more[:, 0]), sizes=np.append(sizes, more[:, 1]))
    aggregates = messages.type == Type.AGGREGATE
    if aggregates.any():
        conditions[aggregates] = _code(condition_words, "aggTrade")
    return made


def _put(block: Block, row: int, found: Read, level: int) -> None:
    messages = block.messages
    messages.type[row] = found.type
    messages.local_ns[row] = found.local_ns
    messages.happened[row] = found.happened
    messages.first_id[row], messages.last_id[row], messages.previous_id[row] = found.ids
    messages.maker[row] = found.maker
    messages.level[row], messages.bids[row], messages.asks[row] = level, len(found.bids), len(found.asks)
    if found.symbol:
        block.symbols[row] = _code(block.symbol_words, found.symbol)
    if found.condition:
        block.conditions[row] = _code(block.condition_words, found.condition)


def _code(words: list[str], word: str) -> int:
    """Return a word's place; a new one is added."""
    if word not in words:
        words.append(word)
    return words.index(word)


class _Decoder:
    """Decodes a capture block by block."""

    def __init__(self, source: Source, options: IngestOptions) -> None:
        self.source = source
        self.options = options
        self.venue = _venue(source, options)
        self.seen = {name.decode("ascii") for name in _SYMBOL.findall(source.head)}
        self.chains: dict[str, Chain] = {}
        self.rows = 0
        self.stored = 0

    def block(self, block: bytes) -> Iterator[Decoded]:
        found = read_block(block)
        count = len(found.symbols)
        yield Counted(count)
        self._name_snapshots(found)
        for row, reason in sorted(found.refused.items()):
            yield Quarantined(self.rows + row, reason, found.fields.raw(row))
        self.rows += count
        types = found.messages.type
        depths = self._depths(found)
        stored = np.isin(types, (Type.TRADE, Type.AGGREGATE, Type.QUOTE)).astype(np.int64)
        for emissions, _, _ in depths.values():
            np.add.at(stored, emissions.message, emissions.rows)
        ordinals = self.stored + stored.cumsum() - stored
        self.stored += int(stored.sum())
        for code, symbol in enumerate(found.symbol_words):
            of_symbol = found.symbols == code
            if code in depths:
                yield self._depth_piece(found, symbol, ordinals, *depths[code])
            trades = np.flatnonzero(of_symbol & np.isin(types, (Type.TRADE, Type.AGGREGATE)))
            if len(trades):
                yield self._trades_piece(found, symbol, ordinals, trades)
            quotes = np.flatnonzero(of_symbol & (types == Type.QUOTE))
            if len(quotes):
                yield self._quotes_piece(found, symbol, ordinals, quotes)

    def _name_snapshots(self, found: Block) -> None:
        """Find whose the snapshots are that name no symbol, as REST gives them."""
        self.seen.update(found.symbol_words)
        types = found.messages.type
        for row in np.flatnonzero((types != Type.NONE) & (found.symbols < 0)).tolist():
            symbol = self.options.symbol
            if symbol is None:
                told = re.split(r"[^0-9a-z]+", self.source.name.lower())
                among = self.seen if len(self.seen) == 1 else {name for name in self.seen if name.lower() in told}
                if len(among) == 1:
                    symbol = next(iter(among))
                elif self.seen:
                    found.refused[row] = (
                        f"a snapshot that names no symbol, in a capture of {', '.join(sorted(self.seen)[:5])}; say it "
                        "with symbol= (--symbol)"
                    )
                    types[row] = Type.NONE
                    continue
                else:
                    symbol = self.options.needed("symbol", self.source, "its snapshot names no symbol")
            found.symbols[row] = _code(found.symbol_words, symbol)

    def _depths(self, found: Block) -> dict[int, tuple[Emissions, Array, Array]]:
        made = {}
        is_depth = np.isin(found.messages.type, _DEPTH)
        for code, symbol in enumerate(found.symbol_words):
            chosen = np.flatnonzero(is_depth & (found.symbols == code))
            if len(chosen):
                chain = self.chains.setdefault(symbol, Chain())
                made[code] = chain.follow(found.messages, chosen, found.prices, found.sizes)
        return made

    def _depth_piece(
        self, found: Block, symbol: str, ordinals: Array, emissions: Emissions, prices: Array, sizes: Array
    ) -> Piece:
        rows = rows_of(emissions, prices, sizes)
        message = emissions.message[rows.emission]
        arrays = {
            "ts_event": _instants(emissions.happened)[rows.emission],
            "ts_recv": found.messages.local_ns[message],
            "side": rows.side,
            "price": rows.price,
            "size": rows.size,
            "flags": rows.flags,
            "first_update_id": _ids(emissions.first_id)[rows.emission],
            "last_update_id": _ids(emissions.last_id)[rows.emission],
        }
        if (emissions.previous_id >= 0).any():
            arrays["previous_update_id"] = _ids(emissions.previous_id)[rows.emission]
        columns = Columns(schema_of("mbp-delta"), arrays, size_scale=SIZE_SCALE)
        return Piece(self.venue, symbol, columns, ordinals[message] + rows.offset)

    def _trades_piece(self, found: Block, symbol: str, ordinals: Array, chosen: Array) -> Piece:
        messages = found.messages
        level = messages.level[chosen]
        arrays = {
            "ts_event": _instants(messages.happened[chosen]),
            "ts_recv": messages.local_ns[chosen],
            "price": found.prices[level],
            "size": found.sizes[level],
            "action": np.full(len(chosen), TRADE, np.uint8),
            "side": np.where(messages.maker[chosen] == 1, np.uint8(ASK), np.uint8(BID)),
            "flags": np.full(len(chosen), F_LAST, np.uint8),
            "trade_id": _ids(messages.first_id[chosen]),
        }
        words = {}
        conditions = found.conditions[chosen]
        if (conditions >= 0).any():
            arrays["conditions"], words["conditions"] = conditions, found.condition_words
        if (messages.type[chosen] == Type.AGGREGATE).any():
            arrays["first_trade_id"] = _ids(messages.last_id[chosen])
            arrays["last_trade_id"] = _ids(messages.previous_id[chosen])
        columns = Columns(schema_of("trades"), arrays, words, AGGREGATED, size_scale=SIZE_SCALE)
        return Piece(self.venue, symbol, columns, ordinals[chosen])

    def _quotes_piece(self, found: Block, symbol: str, ordinals: Array, chosen: Array) -> Piece:
        messages = found.messages
        bid = messages.level[chosen]
        arrays = {
            "ts_event": _instants(messages.happened[chosen]),
            "ts_recv": messages.local_ns[chosen],
            "flags": np.full(len(chosen), F_LAST, np.uint8),
            "sequence": _ids(messages.last_id[chosen]),
        }
        for side, level in (("bid", bid), ("ask", bid + 1)):
            price, size = found.prices[level], found.sizes[level]
            absent = price == 0
            price[absent] = PRICE_NULL
            size[absent & (size == 0)] = SIZE_NULL
            arrays[f"{side}_px_00"], arrays[f"{side}_sz_00"] = price, size
        columns = Columns(schema_of("bbo"), arrays, size_scale=SIZE_SCALE)
        return Piece(self.venue, symbol, columns, ordinals[chosen])


def _instants(happened: Array) -> Array:
    """Return int64 ns of times in milli- or microseconds; null where there is none."""
    found: Array = happened * np.where(happened < _MICROSECONDS, 1_000_000, 1_000)
    found[happened < 0] = TIME_NULL
    return found


def _ids(values: Array) -> Array:
    """Return uint64 ids; null where negative."""
    found: Array = values.astype(np.uint64)
    found[values < 0] = _ID_NULL
    return found


def _venue(source: Source, options: IngestOptions) -> str:
    """Return the venue, by the file's name or by what only one of the markets sends."""
    if options.venue is not None:
        return options.venue
    head, name = source.head, source.name.lower()
    deltas = [line for line in head.split(b"\n") if _DELTA.search(line) and line.rstrip().endswith(b"}")]
    with_previous = sum(1 for line in deltas if _PREVIOUS.search(line))
    futures = with_previous > 0 or _TIMED_QUOTE.search(head) is not None
    spot = with_previous < len(deltas)
    if _PAIR.search(head):
        options.needed("venue", source, "it is of COIN-M futures, which have no venue of their own here")
    if ("usdm" in name and spot and not futures) or ("spot" in name and futures):
        raise InvalidInputError(
            f"ingest {source.path}: its name says {'USD-M futures' if 'usdm' in name else 'spot'}, its messages are of "
            "the other market; say which with venue= (--venue)"
        )
    if "usdm" in name or (futures and not spot):
        return "BINANCEUSDM"
    if "spot" in name or (spot and not futures):
        return "BINANCE"
    return options.needed("venue", source, "neither its name nor its messages tell spot from USD-M futures")
