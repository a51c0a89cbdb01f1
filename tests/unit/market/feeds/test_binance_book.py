"""Binance's depth: chains, gaps, snapshots; the real captures row by row, and their books against bookTicker."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tickvault.market.columns import Columns
from tickvault.market.feeds.binance.feed import BinanceFeed
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.schema import ASK, BID, F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, NO_SIDE, PRICE_NULL, SIZE_NULL

Book = dict[int, dict[int, int]]
HERE = IngestOptions(venue="BINANCE")
LAST, BAD, SNAP = F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT


def delta(first: int, last: int, *bids: int, previous: int | None = None, symbol: str = "X", **more: Any) -> str:
    """Return a line of a delta that sets the bids given to the message's last id, so that one sees whose a level is."""
    ids = {"U": first, "u": last} | ({} if previous is None else {"pu": previous})
    said = {"e": "depthUpdate", "E": 1, "s": symbol} | ids | {"b": [[str(bid), str(last)] for bid in bids], "a": []}
    return f"1{0:018} {json.dumps({'stream': more.get('stream', 'x@depth'), 'data': said})}"


def snapshot(last: int, *bids: int, stream: str = "") -> str:
    said: dict[str, Any] = {"lastUpdateId": last, "bids": [[str(bid), str(last)] for bid in bids], "asks": []}
    return f"2{0:018} {json.dumps({'stream': stream, 'data': said} if stream else said)}"


def decoded(folder: Path, lines: list[str], options: IngestOptions = HERE) -> list[Piece]:
    path = folder / "capture.txt"
    path.write_text("\n".join(lines) + "\n")
    found = list(BinanceFeed().decode(Source(path), options))
    assert not [item for item in found if isinstance(item, Quarantined)]
    return [item for item in found if isinstance(item, Piece)]


def told(columns: Columns) -> list[tuple[int | None, int | None, int]]:
    """Return (price, size, flags) of rows, as units; None for null."""
    prices = [None if price == PRICE_NULL else price // 10**9 for price in columns["price"].tolist()]
    sizes = [None if size == SIZE_NULL else size // 10**8 for size in columns["size"].tolist()]
    return list(zip(prices, sizes, columns["flags"].tolist(), strict=True))


def one(folder: Path, lines: list[str]) -> list[tuple[int | None, int | None, int]]:
    (piece,) = decoded(folder, lines)
    return told(piece.columns)


def test_a_gap_is_flagged_until_a_snapshot_that_is_continued(tmp_path: Path) -> None:
    lines = [delta(1, 2, 7), delta(3, 3, 8), delta(5, 6, 7, 8), delta(7, 7, 8), snapshot(8, 5), delta(9, 9, 6)]
    assert one(tmp_path, lines) == [
        (7, 2, LAST),
        (8, 3, LAST),
        (7, 6, BAD),
        (8, 6, BAD | LAST),
        (8, 7, BAD | LAST),
        (None, 0, SNAP),
        (5, 8, SNAP | LAST),
        (6, 9, LAST),
    ]


def test_futures_continue_by_pu(tmp_path: Path) -> None:
    lines = [
        delta(1, 4, 7, previous=0),
        delta(9, 12, 7, previous=4),
        delta(13, 14, 7, previous=11),
        delta(15, 15, 7, previous=14),
    ]
    assert [flags for _, _, flags in one(tmp_path, lines)] == [LAST, LAST, LAST | BAD, LAST | BAD]


def test_changes_that_a_late_snapshot_lacks_are_stored_again(tmp_path: Path) -> None:
    lines = [delta(1, 2, 1), delta(3, 5, 3), delta(6, 6, 6), snapshot(4, 3, 4), delta(7, 7, 7)]
    (piece,) = decoded(tmp_path, lines)
    columns = piece.columns
    assert told(columns)[3:] == [
        (None, 0, SNAP),
        (3, 4, SNAP),
        (4, 4, SNAP),
        (3, 5, SNAP),
        (6, 6, SNAP | LAST),
        (7, 7, LAST),
    ]
    assert columns["last_update_id"].tolist() == [2, 5, 6, 4, 4, 4, 5, 6, 7]
    # Of the rows stored again, the time of capture is the snapshot's: the book was right from then on only.
    assert [ns // 10**18 for ns in columns["ts_recv"].tolist()] == [1, 1, 1, 2, 2, 2, 2, 2, 1]
    assert piece.ordinals.tolist() == list(range(9))


def test_a_late_snapshot_mends_a_gap_only_if_what_follows_it_is_known(tmp_path: Path) -> None:
    gap = [delta(1, 2, 1), delta(5, 6, 2), delta(7, 7, 3)]
    assert [flags for _, _, flags in one(tmp_path, [*gap, snapshot(4, 1), delta(8, 8, 1)])][-1] == LAST
    assert [flags for _, _, flags in one(tmp_path, [*gap, snapshot(3, 1), delta(8, 8, 1)])][-1] == LAST | BAD


def test_a_snapshot_ahead_of_the_stream(tmp_path: Path) -> None:
    lines = [delta(1, 2, 1), snapshot(6, 1), delta(3, 4, 1), delta(5, 8, 1), delta(9, 9, 1)]
    assert [flags for _, _, flags in one(tmp_path, lines)][3:] == [LAST | BAD, LAST, LAST]
    # The stream is not continued at 7.
    lines = [delta(1, 2, 1), snapshot(6, 1), delta(8, 8, 1)]
    assert [flags for _, _, flags in one(tmp_path, lines)][3:] == [LAST | BAD]


def test_empty_messages_keep_their_ids(tmp_path: Path) -> None:
    (piece,) = decoded(tmp_path, [delta(1, 2, 1), delta(3, 3), delta(4, 4, 1), snapshot(5), delta(6, 6, 1)])
    columns = piece.columns
    assert told(columns)[1:4] == [(None, None, LAST), (1, 4, LAST), (None, 0, SNAP | LAST)]
    assert columns["side"].tolist() == [BID, NO_SIDE, BID, NO_SIDE, BID]


def test_the_best_levels_are_a_book_of_their_own(tmp_path: Path) -> None:
    lines = [delta(1, 2, 1), snapshot(2, 9, stream="x@depth5@100ms"), delta(3, 3, 1), snapshot(3, 4), delta(4, 4, 1)]
    lines.insert(2, delta(1, 2, 9, stream="x@depth20"))
    flags = [flags for _, _, flags in one(tmp_path, lines)]
    assert flags == [LAST, SNAP, SNAP | LAST, SNAP, SNAP | LAST, LAST | BAD, SNAP, SNAP | LAST, LAST]


def test_whose_a_snapshot_is(tmp_path: Path) -> None:
    lines = [delta(1, 2, 1), snapshot(2, 1, stream="y@depth"), snapshot(2, 1), delta(1, 2, 1, symbol="Y")]
    path = tmp_path / "spot.x1"
    path.write_text("\n".join(lines))
    found = list(BinanceFeed().decode(Source(path), IngestOptions()))
    (bad,) = [item for item in found if isinstance(item, Quarantined)]
    assert (bad.row, bad.raw) == (2, lines[2].encode())
    assert "symbol=" in bad.reason
    pieces = decoded(tmp_path, lines, IngestOptions(symbol="Y", venue="BINANCE"))
    assert {piece.symbol: len(piece.columns) for piece in pieces} == {"X": 1, "Y": 5}


def test_chains_go_on_from_block_to_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [delta(at, at, at % 50, symbol="XY"[at % 2]) for at in range(1, 400)]
    lines = [text.replace(f'"U": {at}', f'"U": {at - 1}') for at, text in enumerate(lines, 1)]
    for at, last in ((390, 340), (250, 249), (120, 3)):
        lines.insert(at, snapshot(last, 1, stream="x@depth"))
    lines.insert(200, lines.pop(202))
    whole = {piece.symbol: piece for piece in decoded(tmp_path, lines)}
    monkeypatch.setattr("tickvault.market.feeds.source.Member.lines", lambda member: _cut(member, 1_000))
    parts = decoded(tmp_path, lines)
    assert len(parts) > 20
    for symbol, piece in whole.items():
        mine = [part for part in parts if part.symbol == symbol]
        assert np.concatenate([part.ordinals for part in mine]).tolist() == piece.ordinals.tolist()
        for name in piece.columns.arrays:
            assert np.concatenate([part.columns[name] for part in mine]).tolist() == piece.columns[name].tolist(), name


def _cut(member: Any, size: int) -> Iterator[bytes]:
    rest = Path(member.path).read_bytes()
    while rest:
        end = rest.find(b"\n", size) + 1 or len(rest)
        yield rest[:end]
        rest = rest[end:]


# The real captures.

CAPTURES = {
    "spot_btcusdt_20240808.gz": ("BINANCE", 41_249),
    "usdm_btcusdt_20240808.gz": ("BINANCEUSDM", 93_954),
}


def units(text: str, scale: int) -> int:
    value = Decimal(text) * scale
    assert value == int(value)
    return int(value)


def levels_of(said: dict[str, Any], bids: str, asks: str) -> list[tuple[int, int, int]]:
    return [
        (side, units(price, 10**9), units(size, 10**8))
        for side, name in ((BID, bids), (ASK, asks))
        for price, size in said[name]
    ]


@pytest.mark.parametrize("name", CAPTURES)
def test_every_row_of_a_real_capture(market_data: Path, name: str) -> None:
    """Compare every stored row, with its ordinal, with a reading by json and Decimal."""
    venue, count = CAPTURES[name]
    path = market_data / "binance" / name
    wanted: dict[str, list[tuple[int, ...]]] = {"mbp-delta": [], "trades": [], "bbo": []}
    sofar: list[tuple[int, ...]] = []
    ordinal = gaps = 0
    for text in gzip.decompress(path.read_bytes()).decode().splitlines():
        local, _, rest = text.partition(" ")
        said = json.loads(rest)
        said = said.get("data", said)
        times = ((said.get("T") or said.get("E") or -(2**63) / 10**6), int(local))
        event, recv = int(times[0] * 10**6), times[1]
        schema = "mbp-delta"
        rows: list[tuple[int, ...]]
        values: tuple[int, ...]
        if "lastUpdateId" in said:
            last = said["lastUpdateId"]
            ids = (2**64 - 1, last, 2**64 - 1)
            rows = [(event, recv, NO_SIDE, PRICE_NULL, 0, SNAP, *ids)]
            rows += [(event, recv, *level, SNAP, *ids) for level in levels_of(said, "bids", "asks")]
            rows += [(row[0], recv, *row[2:5], SNAP, *row[6:]) for row in sofar if row[7] > last]
            rows[-1] = (*rows[-1][:5], SNAP | LAST, *rows[-1][6:])
        elif said.get("e") == "depthUpdate":
            ids = (said["U"], said["u"], said.get("pu", 2**64 - 1))
            gaps += bool(sofar) and (said.get("pu", said["U"] - 1) != sofar[-1][7])
            rows = [(event, recv, *level, 0, *ids) for level in levels_of(said, "b", "a")]
            rows[-1] = (*rows[-1][:5], LAST, *rows[-1][6:])
            sofar += rows
        elif said.get("e") == "trade":
            schema = "trades"
            values = (units(said["p"], 10**9), units(said["q"], 10**8), ord("A" if said["m"] else "B"), said["t"])
            rows = [(event, recv, *values)]
        else:
            schema = "bbo"
            values = tuple(units(said[key], scale) for key, scale in zip("bBaA", (10**9, 10**8) * 2, strict=True))
            rows = [(event, recv, *values, said["u"])]
        for row in rows:
            wanted[schema].append((ordinal, *row))
            ordinal += 1
    assert gaps == 0
    found = list(BinanceFeed().decode(Source(path), IngestOptions()))
    assert sum(item.rows for item in found if isinstance(item, Counted)) == count
    assert not [item for item in found if isinstance(item, Quarantined)]
    columns = {
        "mbp-delta": ["ts_event", "ts_recv", "side", "price", "size", "flags"]
        + [f"{which}_update_id" for which in ("first", "last", "previous")],
        "trades": ["ts_event", "ts_recv", "price", "size", "side", "trade_id"],
        "bbo": ["ts_event", "ts_recv", "bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00", "sequence"],
    }
    for schema, names in columns.items():
        mine = [item for item in found if isinstance(item, Piece) and item.columns.schema.name == schema]
        assert {(piece.venue, piece.symbol) for piece in mine} == {(venue, "BTCUSDT")}
        got = [np.concatenate([piece.ordinals for piece in mine]).tolist()]
        got += [np.concatenate([piece.columns[name] for piece in mine]).tolist() for name in names]
        assert list(zip(*got, strict=True)) == wanted[schema], schema


@pytest.mark.parametrize("name", CAPTURES)
def test_rows_applied_one_after_another_give_the_venues_book(market_data: Path, name: str) -> None:
    """The best bid and ask are bookTicker's, by update id; without the rows stored again they are not."""
    found = list(BinanceFeed().decode(Source(market_data / "binance" / name), IngestOptions()))
    pieces = [item for item in found if isinstance(item, Piece)]
    wrong, compared = _differences(pieces, again=True)
    assert compared > 3_000
    assert wrong == 0
    without, _ = _differences(pieces, again=False)
    assert without > 0, "of spot 2,574 books would be wrong"


def _differences(pieces: list[Piece], *, again: bool) -> tuple[int, int]:
    """Return how many books, of how many at ends of messages after the snapshot, have another top than bookTicker."""
    quotes = [piece.columns for piece in pieces if piece.columns.schema.name == "bbo"]
    ids = np.concatenate([quote["sequence"] for quote in quotes])
    tops = list(zip(*(np.concatenate([q[n] for q in quotes]).tolist() for n in TOP), strict=True))
    deltas = [piece.columns for piece in pieces if piece.columns.schema.name == "mbp-delta"]
    names = ("side", "price", "size", "flags", "last_update_id")
    book: Book = {}
    wrong = compared = 0
    snapshot_id = 0
    for side, price, size, flags, last in zip(
        *(np.concatenate([d[n] for d in deltas]).tolist() for n in names), strict=True
    ):
        if side == NO_SIDE:
            book, snapshot_id = {BID: {}, ASK: {}}, last
        elif book and (again or not flags & SNAP or last == snapshot_id):
            if size:
                book[side][price] = size
            else:
                book[side].pop(price, None)
        if flags & LAST and book:
            at = int(np.searchsorted(ids, last, "right")) - 1
            bid, ask = max(book[BID]), min(book[ASK])
            compared += 1
            wrong += (bid, book[BID][bid], ask, book[ASK][ask]) != tops[at]
    return wrong, compared


TOP = ("bid_px_00", "bid_sz_00", "ask_px_00", "ask_sz_00")
