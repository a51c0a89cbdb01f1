"""Shanghai and Shenzhen Level-2: what each line becomes, what is refused; and the real files, every row of them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from china_reading import crossings, decoded, lines_of, nanoseconds, price, rows_of, shanghai_mbo

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.feeds.china import feed as china
from tickvault.market.feeds.china.feed import ChinaFeed
from tickvault.market.feeds.china.rows import ROW
from tickvault.market.feeds.gather import Gathered
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece
from tickvault.market.feeds.source import Member, Source
from tickvault.market.schema import PRICE_NULL, SIZE_NULL

MERGED = "SecurityID,Date,Time,SourceType,Type,Price,Qty,BSFlag,BuyNo,SellNo,ApplSeqNum,ChannelNo"
MBO = ("action", "side", "order_id", "price", "size", "flags", "sequence")
ORDERS = (
    "MDDate,MDTime,SecurityType,SecurityIDSource,ReceiveDateTime,OrderIndex,OrderType,OrderPrice,OrderQty,OrderBSFlag,"
    "ChannelNo,ApplSeqNum,OrderNO,SecurityID"
)
TRADES = (
    "MDDate,MDTime,TradeIndex,TradeBuyNo,TradeSellNo,TradeType,TradeBSFlag,TradePrice,TradeQty,TradeMoney,"
    "ReceiveDateTime,ChannelNo,ApplSeqNum,SecurityID"
)
E4 = 100_000


def merged(path: Path, *lines: str) -> Path:
    """Write lines given as ``SZ time source type price qty side buy sell sequence``."""
    out = [MERGED]
    for line in lines:
        suffix, time, *rest = line.split()
        out.append(",".join([f"000001.{suffix}", "2023.07.11", time, *rest, "2011"]))
    path.write_text("\n".join(out) + "\n")
    return path


def test_shanghai_trades_become_t_f_c_and_the_aggressor_is_in_no_book(tmp_path: Path) -> None:
    path = merged(
        tmp_path / "a.csv",
        "SH 09:30:00.010 0 2 100000 300 2 7 7 11",
        "SH 09:30:00.020 0 2 100100 200 2 8 8 12",
        "SH 09:30:01.000 1 0 100000 300 1 9 7 13",
        "SH 09:30:01.000 1 0 100100 50 1 9 8 14",
        "SH 09:30:01.000 0 2 100100 70 1 9 9 15",
        "SH 09:30:02.000 0 10 100100 150 2 8 8 16",
    )
    count, pieces, bad = decoded(path)
    assert (count, bad) == (6, [])
    assert {(piece.venue, piece.symbol) for piece in pieces} == {("XSHG", "000001")}
    assert rows_of(pieces, "mbo", "000001", *MBO) == [
        ("A", "A", 7, 100000 * E4, 300, 128, 11),
        ("A", "A", 8, 100100 * E4, 200, 128, 12),
        ("T", "B", 9, 100000 * E4, 300, 0, 13),
        ("F", "A", 7, 100000 * E4, 300, 0, 13),
        ("C", "A", 7, 100000 * E4, 300, 0, 13),
        ("T", "B", 9, 100100 * E4, 50, 0, 14),
        ("F", "A", 8, 100100 * E4, 50, 0, 14),
        ("C", "A", 8, 100100 * E4, 50, 0, 14),
        ("A", "B", 9, 100100 * E4, 70, 128, 15),
        ("C", "A", 8, 100100 * E4, 150, 128, 16),
    ]
    trades = rows_of(
        pieces, "trades", "000001", "side", "buy_order_id", "sell_order_id", "size", "sequence", "ts_event"
    )
    first = nanoseconds("2023.07.11", "09:30:01.000")
    assert trades == [("B", 9, 7, 300, 13, first), ("B", 9, 8, 50, 14, first)]
    # A line's rows are numbered one after another, its trade last.
    assert [piece.ordinals.tolist() for piece in pieces] == [[0, 1, 2, 3, 4, 6, 7, 8, 10, 11], [5, 9]]


def test_in_an_auction_both_sides_rest_and_the_event_ends_with_its_last_trade(tmp_path: Path) -> None:
    path = merged(
        tmp_path / "a.csv",
        "SH 09:20:00.000 0 2 110000 100 1 1 1 1",
        "SH 09:20:00.000 0 2 90000 60 2 2 2 2",
        "SH 09:20:00.000 0 2 90000 40 2 3 3 3",
        "SH 09:25:00.180 1 0 100000 60 0 1 2 4",
        "SH 09:25:00.180 1 0 100000 40 0 1 3 5",
    )
    rows = rows_of(decoded(path)[1], "mbo", "000001", "action", "side", "order_id", "price", "size", "flags")[3:]
    assert rows[:5] == [
        ("T", "N", 0, 100000 * E4, 60, 0),
        ("F", "B", 1, 100000 * E4, 60, 0),
        ("C", "B", 1, 110000 * E4, 60, 0),
        ("F", "A", 2, 100000 * E4, 60, 0),
        ("C", "A", 2, 90000 * E4, 60, 0),
    ]
    assert [row[5] for row in rows[5:]] == [0, 0, 0, 0, 128]


def test_shenzhen_posts_the_aggressor_whole_and_both_sides_leave_the_book(tmp_path: Path) -> None:
    path = merged(
        tmp_path / "a.csv",
        "SZ 09:30:00.010 0 2 100000 300 2 0 0 11",
        "SZ 09:30:01.000 0 2 100100 500 1 0 0 12",
        "SZ 09:30:01.000 1 0 100000 300 1 12 11 13",
        "SZ 09:30:02.000 1 1 0 200 1 12 0 14",
    )
    assert rows_of(decoded(path)[1], "mbo", "000001", *MBO) == [
        ("A", "A", 11, 100000 * E4, 300, 128, 11),
        ("A", "B", 12, 100100 * E4, 500, 0, 12),
        ("T", "B", 12, 100000 * E4, 300, 0, 13),
        ("F", "A", 11, 100000 * E4, 300, 0, 13),
        ("C", "A", 11, 100000 * E4, 300, 0, 13),
        ("C", "B", 12, 100100 * E4, 300, 128, 13),
        ("C", "B", 12, 100100 * E4, 200, 128, 14),
    ]
    assert decoded(path)[1][0].venue == "XSHE"


def test_shenzhen_market_orders_rest_where_they_traded_last_or_are_cancelled_apart(tmp_path: Path) -> None:
    path = merged(
        tmp_path / "a.csv",
        "SZ 09:30:00.010 0 2 100000 300 2 0 0 11",
        "SZ 09:30:01.000 0 1 0 500 1 0 0 12",
        "SZ 09:30:01.000 1 0 100000 300 1 12 11 13",
        "SZ 09:30:02.000 0 1 0 900 2 0 0 14",
        "SZ 09:30:02.000 1 0 100000 200 2 12 14 15",
        "SZ 09:30:02.000 1 1 0 700 2 0 14 16",
    )
    assert rows_of(decoded(path)[1], "mbo", "000001", *MBO)[1:] == [
        ("N", "B", 12, PRICE_NULL, 500, 0, 12),
        ("T", "B", 12, 100000 * E4, 300, 0, 13),
        ("F", "A", 11, 100000 * E4, 300, 0, 13),
        ("C", "A", 11, 100000 * E4, 300, 0, 13),
        ("A", "B", 12, 100000 * E4, 200, 128, 13),
        ("N", "A", 14, PRICE_NULL, 900, 0, 14),
        ("T", "A", 14, 100000 * E4, 200, 0, 15),
        ("F", "B", 12, 100000 * E4, 200, 0, 15),
        ("C", "B", 12, 100000 * E4, 200, 0, 15),
        ("N", "A", 14, 100000 * E4, 700, 128, 16),
    ]


def test_shenzhen_own_best_orders_take_the_best_price_of_their_side(tmp_path: Path) -> None:
    path = merged(
        tmp_path / "a.csv",
        "SZ 09:30:00.000 0 U 0 5 2 0 0 10",
        "SZ 09:30:00.010 0 2 100000 300 1 0 0 11",
        "SZ 09:30:00.020 0 2 100200 300 1 0 0 12",
        "SZ 09:30:01.000 0 3 0 500 1 0 0 13",
        "SZ 09:30:02.000 1 1 0 500 1 13 0 14",
    )
    rows = rows_of(decoded(path)[1], "mbo", "000001", "action", "order_id", "price", "size")
    assert rows[0] == ("N", 10, PRICE_NULL, 5)
    assert rows[3:] == [("A", 13, 100200 * E4, 500), ("C", 13, 100200 * E4, 500)]


def test_lines_out_of_order_interleave_by_channel_and_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"SH 09:30:00.{at:03d} 0 2 100000 100 1 {at} {at} {at}" for at in range(1, 400)]
    lines += [f"SH 09:31:00.{at:03d} 1 0 100000 100 2 {at} {1000 + at} {400 + at}" for at in range(1, 400)]
    straight = rows_of(decoded(merged(tmp_path / "a.csv", *lines))[1], "mbo", "000001", *MBO)
    # On disk, in many runs, the other way round.
    monkeypatch.setattr(china, "Gathered", lambda dtype: Gathered(dtype, 100))
    monkeypatch.setattr(china, "_LINES_AT_ONCE", 37)
    turned = decoded(merged(tmp_path / "b.csv", *lines[::-1]))[1]
    assert rows_of(turned, "mbo", "000001", *MBO) == straight


def test_gathered_rows_come_back_by_series_from_memory_and_disk() -> None:
    rng = np.random.default_rng(7)
    series = rng.integers(0, 5, 1000)
    rows = np.zeros(1000, ROW)
    rows["number"] = np.arange(1000)
    with Gathered(ROW, 64) as gathered:
        for begin in range(0, 1000, 50):
            gathered.add(series[begin : begin + 50], rows[begin : begin + 50])
        found = {number: part["number"].tolist() for number, part in gathered.series()}
    assert found == {number: np.flatnonzero(series == number).tolist() for number in range(5)}


def test_orders_and_trades_alone_and_in_one_zip(tmp_path: Path) -> None:
    order = "2023.07.11,09:30:00.280,2,101,2023.07.11T09:30:01.401,1,2,15.929999999999999,300,2,1,11,7,605580.SH"
    trade = "20230711,93001180,170,9,7,0,1,15.929999999999999,300,4778.9999999999995,20230711093002123,1,12,605580.SH"
    (tmp_path / "orders.csv").write_text(f"{ORDERS}\n{order}\n")
    (tmp_path / "trades.csv").write_text(f"{TRADES}\n{trade}\n")
    (piece,) = decoded(tmp_path / "orders.csv")[1]
    assert rows_of([piece], "mbo", "605580", "action", "price", "ts_recv") == [
        ("A", 15_930_000_000, nanoseconds("2023-07-11", "09:30:01.401"))
    ]
    (piece,) = decoded(tmp_path / "trades.csv")[1]
    columns = ("trade_id", "turnover", "ts_event", "ts_recv")
    times = nanoseconds("2023-07-11", "09:30:01.180"), nanoseconds("2023-07-11", "09:30:02.123")
    assert rows_of([piece], "trades", "605580", *columns) == [(170, 47_790_000, *times)]
    assert piece.columns.turnover_scale == 10_000
    with zipfile.ZipFile(tmp_path / "day.zip", "w") as archive:
        archive.write(tmp_path / "trades.csv", "trades.csv")
        archive.write(tmp_path / "orders.csv", "orders.csv")
    rows = rows_of(decoded(tmp_path / "day.zip")[1], "mbo", "605580", "action", "order_id")
    assert rows == [("A", 7), ("T", 9), ("F", 7), ("C", 7)]


def test_a_shenzhen_cancel_in_trades_alone_is_a_cancel_and_no_trade(tmp_path: Path) -> None:
    line = "2023.07.11,09:30:01.180,0,0,7,4,N,0,300,0,2023.07.11T09:30:02.123,2011,12,000001.SZ"
    (tmp_path / "a.csv").write_text(f"{TRADES}\n{line}\n")
    (piece,) = decoded(tmp_path / "a.csv")[1]
    assert rows_of([piece], "mbo", "000001", *MBO) == [("C", "A", 7, PRICE_NULL, 300, 128, 12)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("SH 09:30:00.010 0 2 1x0 300 2 7 7 11", "price"),
        ("SH 09:30:00.010 0 2 15.93 300 2 7 7 11", "price"),
        ("SH 09:61:00.010 0 2 100 300 2 7 7 11", "time"),
        ("SH 09:30:00.010 0 2 100 3.5 2 7 7 11", "size"),
        ("SH 09:30:00.010 0 2 100 300 X 7 7 11", "side"),
        ("SH 09:30:00.010 0 2 100 300 0 7 7 11", "side"),
        ("SH 09:30:00.010 0 11 100 300 1 7 7 11", "type"),
        ("SH 09:30:00.010 -1 2 100 300 1 7 7 11", "SourceType"),
        ("SH 09:30:00.010 0 2 100 300 1 7 7 -3", "ApplSeqNum"),
        ("SZ 09:30:00.010 1 4 100 300 1 7 8 3", "cancel"),
        ("BJ 09:30:00.010 0 2 100 300 1 7 7 3", "exchange"),
        ("SH 09:30:00.010 0 2 100 300 1 7 7", "fields"),
    ],
)
def test_lines_that_cannot_be_read_are_quarantined_and_count(tmp_path: Path, line: str, reason: str) -> None:
    good = "SH 09:30:00.010 0 2 100000 300 2 7 7 11"
    count, pieces, bad = decoded(merged(tmp_path / "a.csv", good, line, good))
    assert count == 3 and [(each.row, reason in each.reason) for each in bad] == [(1, True)]
    assert bad[0].raw.startswith(b"000001.") and sum(len(piece.columns) for piece in pieces) == 2


def test_a_last_line_that_is_cut_off_is_no_row(tmp_path: Path) -> None:
    path = merged(tmp_path / "a.csv", "SH 09:30:00.010 0 2 100000 300 2 7 7 11", "SH 09:30:00.010 0 2 1 3 2 8 8 12")
    path.write_bytes(path.read_bytes()[:-1])
    assert decoded(path)[0::2] == (2, [])
    path.write_bytes(path.read_bytes()[:-20] + b"")
    count, _, bad = decoded(path)
    assert count == 1 and [(each.row, each.reason) for each in bad] == [(1, "the last line is cut off")]
    path.write_bytes(path.read_bytes()[: -len(bad[0].raw)] + b"\n\n")
    assert decoded(path)[0::2] == (1, [])


def test_what_the_file_does_not_say_is_asked_for(tmp_path: Path) -> None:
    head = MERGED.replace("Date,", "")
    (tmp_path / "a.csv").write_text(f"{head}\n000001,09:30:00.010,0,2,1593,300,2,7,7,11,1\n")
    for given, wanted in (({}, "date"), ({"date": "2023-07-11"}, "venue"), ({"date": "soon"}, "date")):
        with pytest.raises(InvalidInputError, match=wanted):
            decoded(tmp_path / "a.csv", **given)
    (piece,) = decoded(tmp_path / "a.csv", date="2023-07-11", venue="XSHG", scale=100)[1]
    assert (piece.venue, piece.symbol, piece.columns["price"].tolist()) == ("XSHG", "000001", [15_930_000_000])
    with pytest.raises(InvalidInputError, match="scale"):
        decoded(tmp_path / "a.csv", date="2023-07-11", venue="XSHG", scale=3)


def test_what_was_read_of_a_damaged_stream_is_given_before_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = merged(tmp_path / "a.csv", *(f"SH 09:30:00.010 0 2 1 100 1 {at} {at} {at}" for at in range(1, 9000)))

    def torn(member: Member) -> Iterator[bytes]:
        data = member_lines(member)
        yield next(data)[: path.read_bytes().find(b"\n", 4096) + 1]
        raise IntegrityError("cut off")

    member_lines = Member.lines
    monkeypatch.setattr(Member, "lines", torn)
    parts: list[Any] = []
    with pytest.raises(IntegrityError):
        for part in ChinaFeed().decode(Source(path), IngestOptions()):
            parts.append(part)
    stored = sum(len(part.columns) for part in parts if isinstance(part, Piece))
    assert stored == sum(part.rows for part in parts if isinstance(part, Counted)) > 50


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    for at, text in enumerate(["", "a,b\n1,2\n", "34200.1,1,5,100,2238200,1\n", "exchange,symbol,date\n", "\0\1\2"]):
        (tmp_path / f"{at}.csv").write_text(text)
        assert not ChinaFeed().recognises(Source(tmp_path / f"{at}.csv"))


def test_real_merged_file_against_csv_and_a_plain_book(market_data: Path) -> None:
    path = market_data / "sse" / "SHorderTrans.zip"
    count, pieces, bad = decoded(path)
    assert count == 219_200 and [each.raw for each in bad] == [b"600961.SH,2023.07.11,11:00:"]
    lines = lines_of(path)[:-1]
    for symbol in sorted({line["SecurityID"] for line in lines}):
        mine = [line for line in lines if line["SecurityID"] == symbol]
        names = ("action", "side", "order_id", "price", "size", "sequence", "ts_event")
        assert rows_of(pieces, "mbo", symbol[:6], *names) == list(shanghai_mbo(mine))
        trades = [line for line in sorted(mine, key=lambda line: int(line["ApplSeqNum"])) if line["SourceType"] == "1"]
        names = ("price", "size", "side", "buy_order_id", "sell_order_id", "sequence", "channel_id")
        assert rows_of(pieces, "trades", symbol[:6], *names) == [
            (
                *(int(t["Price"]) * E4, int(t["Qty"]), "NBA"[int(t["BSFlag"])], int(t["BuyNo"]), int(t["SellNo"])),
                *(int(t["ApplSeqNum"]), int(t["ChannelNo"])),
            )
            for t in trades
        ]
    # The file is cut off at 11:00 within 600961's trades; those of two others are not in it.
    for symbol, close in (("605580", "14:57:00"), ("600536", "14:57:00"), ("600961", "11:00:39.450")):
        until = nanoseconds("2023-07-11", close)
        rows = rows_of(pieces, "mbo", symbol, "action", "side", "order_id", "price", "size", "flags", "ts_event")
        events, crossed = crossings(
            [row for row in rows if row[-1] < until], nanoseconds("2023-07-11", "09:30:00"), until
        )
        assert events > 20_000 and crossed == 0


def test_real_orders_and_trades_against_csv(market_data: Path) -> None:
    count, pieces, bad = decoded(market_data / "sse" / "SHorders.zip")
    assert (count, bad) == (149_359, [])
    lines = lines_of(market_data / "sse" / "SHorders.zip")
    names = ("action", "side", "order_id", "price", "size", "sequence", "ts_event", "ts_recv")
    for symbol in {line["SecurityID"] for line in lines}:
        assert rows_of(pieces, "mbo", symbol[:6], *names) == [
            (
                *("A" if line["OrderType"] == "2" else "C", "?BA"[int(line["OrderBSFlag"])], int(line["OrderNO"])),
                *(price(line["OrderPrice"]), int(line["OrderQty"]), int(line["ApplSeqNum"])),
                *(nanoseconds(line["MDDate"], line["MDTime"]), nanoseconds(*line["ReceiveDateTime"].split("T"))),
            )
            for line in lines
            if line["SecurityID"] == symbol
        ]
    count, pieces, bad = decoded(market_data / "sse" / "SHtrans.zip")
    assert (count, bad) == (109_616, [])
    lines = lines_of(market_data / "sse" / "SHtrans.zip")
    names = ("side", "buy_order_id", "sell_order_id", "price", "size", "turnover", "trade_id", "sequence", "ts_recv")
    for symbol in {line["SecurityID"] for line in lines}:
        assert rows_of(pieces, "trades", symbol[:6], *names) == [
            (
                *("NBA"[int(line["TradeBSFlag"])], int(line["TradeBuyNo"]), int(line["TradeSellNo"])),
                *(price(line["TradePrice"]), int(line["TradeQty"]), price(line["TradeMoney"]) // E4),
                *(int(line["TradeIndex"]), int(line["ApplSeqNum"]), nanoseconds(*line["ReceiveDateTime"].split("T"))),
            )
            for line in lines
            if line["SecurityID"] == symbol
        ]


def test_real_snapshots_against_csv(market_data: Path) -> None:
    count, pieces, bad = decoded(market_data / "sse" / "tick.zip")
    assert (count, bad) == (20_980, [])
    lines = lines_of(market_data / "sse" / "tick.zip")
    for symbol in {line["SecurityID"] for line in lines}:
        mine = [line for line in lines if line["SecurityID"] == symbol]
        (piece,) = [piece for piece in pieces if piece.symbol == symbol[:6]]
        assert piece.venue == "XSHE" and len(piece.columns) == len(mine)
        got = piece.columns
        assert got["ts_event"].tolist() == [nanoseconds(line["MDDate"], line["MDTime"]) for line in mine]
        assert got["volume"].tolist() == [int(line["TotalVolumeTrade"]) for line in mine]
        assert got["turnover"].tolist() == [price(line["TotalValueTrade"]) // E4 for line in mine]
        assert got["last"].tolist() == [price(line["LastPx"]) or PRICE_NULL for line in mine]
        assert got["change"].tolist() == [price(line["DiffPx1"]) for line in mine]
        assert [got.dictionaries["phase"][code] for code in got["phase"]] == [line["TradingPhaseCode"] for line in mine]
        for level in range(10):
            for ours, theirs in (("bid", "Buy"), ("ask", "Sell")):
                prices = [price(line[f"{theirs}Price{level + 1}"]) for line in mine]
                sizes = [int(line[f"{theirs}OrderQty{level + 1}"]) for line in mine]
                counts = [int(line[f"{theirs}NumOrders{level + 1}"]) for line in mine]
                assert got[f"{ours}_px_{level:02d}"].tolist() == [each or PRICE_NULL for each in prices]
                assert got[f"{ours}_sz_{level:02d}"].tolist() == [
                    size if size or at else SIZE_NULL for size, at in zip(sizes, prices, strict=True)
                ]
                assert got[f"{ours}_ct_{level:02d}"].tolist() == [
                    count if count or at else 2**32 - 1 for count, at in zip(counts, prices, strict=True)
                ]
