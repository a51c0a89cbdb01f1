"""LEAN: clocks, scales, absent sides, contracts, bad rows; the real files are in `test_lean_real`."""

from __future__ import annotations

import zipfile
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.feeds.lean.feed import LeanFeed
from tickvault.market.feeds.lean.layout import contract, place_of
from tickvault.market.feeds.protocol import IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.schema import CODE_NULL, PRICE_NULL, SIZE_NULL, TRADE

_NS = 1_000_000_000


def _file(folder: Path, path: str, members: dict[str, str]) -> Source:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return Source(file)


def _decoded(source: Source, options: IngestOptions | None = None) -> tuple[list[Piece], list[Quarantined], int]:
    pieces, bad, rows = [], [], 0
    for item in LeanFeed().decode(source, options or IngestOptions()):
        if isinstance(item, Piece):
            pieces.append(item)
        elif isinstance(item, Quarantined):
            bad.append(item)
        else:
            rows += item.rows
    return pieces, bad, rows


def _only(source: Source, options: IngestOptions | None = None) -> Columns:
    pieces, bad, _ = _decoded(source, options)
    assert len(pieces) == 1
    assert not bad
    return pieces[0].columns


def _words(columns: Columns, name: str) -> list[str | None]:
    words = columns.dictionaries.get(name, [])
    return [None if code == CODE_NULL else words[code] for code in columns[name].tolist()]


def _ns(*when: int, zone: str = "UTC") -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()) * _NS  # type: ignore[misc, arg-type]


def test_equity_trade_ticks(tmp_path: Path) -> None:
    text = "14400464,1674100,100,P,20002000,0\n14400464.25,1674101,1,,,1\n"
    source = _file(tmp_path, "equity/usa/tick/spy/20131007_trade.zip", {"20131007_spy_Trade_Tick.csv": text})
    assert LeanFeed().recognises(source)
    pieces, _, rows = _decoded(source)
    columns = pieces[0].columns
    assert (pieces[0].venue, pieces[0].symbol, columns.schema.name, rows) == ("USA", "SPY", "trades", 2)
    assert columns["ts_event"].tolist() == [
        _ns(2013, 10, 7, 8) + 464_000_000,
        _ns(2013, 10, 7, 8) + 464_250_000,
    ]
    assert columns["price"].tolist() == [167_410_000_000, 167_410_100_000]
    assert columns["size"].tolist() == [100, 1]
    assert _words(columns, "exchange") == ["P", None]
    assert _words(columns, "conditions") == ["20002000", None]
    assert columns["suspicious"].tolist() == [0, 1]
    assert columns["action"].tolist() == [TRADE, TRADE]
    assert "".join(map(chr, columns["side"])) == "NN"
    assert pieces[0].ordinals.tolist() == [0, 1]


def test_equity_quote_has_one_side_and_the_other_is_null(tmp_path: Path) -> None:
    text = "1,0,0,494100,300,Q,1,0\n2,494000,200,0,0,P,1,0\n3,0,0,0,0,N,2000,0\n4,0,7,494100,0,N,1,0\n"
    source = _file(tmp_path, "equity/usa/tick/aig/20131007_quote.zip", {"20131007_aig_Quote_Tick.csv": text})
    columns = _only(source)
    assert columns.schema.name == "bbo"
    assert columns["bid_px_00"].tolist() == [PRICE_NULL, 49_400_000_000, PRICE_NULL, PRICE_NULL]
    # A size without a price is strange, and kept.
    assert columns["bid_sz_00"].tolist() == [SIZE_NULL, 200, SIZE_NULL, 7]
    assert columns["ask_px_00"].tolist() == [49_410_000_000, PRICE_NULL, PRICE_NULL, 49_410_000_000]
    assert columns["ask_sz_00"].tolist() == [300, SIZE_NULL, SIZE_NULL, 0]


@pytest.mark.parametrize(
    ("path", "member", "line", "utc"),
    [
        # New York: -04 in summer; its clocks were set back from 02:00 to 01:00 on 2013-11-03, and are at -05 since. Of
        # the 01:00 that came twice, the first is taken.
        ("equity/usa/tick/x/20131101_trade.zip", "20131101_x_Trade_Tick.csv", "0,1,1,P,0,0", (2013, 11, 1, 4)),
        ("equity/usa/tick/x/20131103_trade.zip", "20131103_x_Trade_Tick.csv", "0,1,1,P,0,0", (2013, 11, 3, 4)),
        ("equity/usa/tick/x/20131103_trade.zip", "20131103_x_Trade_Tick.csv", "3600000,1,1,P,0,0", (2013, 11, 3, 5)),
        ("equity/usa/tick/x/20131103_trade.zip", "20131103_x_Trade_Tick.csv", "7200000,1,1,P,0,0", (2013, 11, 3, 7)),
        (
            "equity/usa/tick/x/20131104_trade.zip",
            "20131104_x_Trade_Tick.csv",
            "34200000,1,1,P,0,0",
            (2013, 11, 4, 14, 30),
        ),
        (
            "equity/usa/tick/x/20140310_trade.zip",
            "20140310_x_Trade_Tick.csv",
            "34200000,1,1,P,0,0",
            (2014, 3, 10, 13, 30),
        ),
        # FXCM is at -05 all year; futures are in UTC.
        ("forex/fxcm/tick/eurusd/20140515_quote.zip", "20140515_eurusd_tick_quote.csv", "0,1,2", (2014, 5, 15, 5)),
        (
            "forex/fxcm/tick/eurusd/20131103_quote.zip",
            "20131103_eurusd_tick_quote.csv",
            "86399000,1,2",
            (2013, 11, 4, 4, 59, 59),
        ),
        ("forex/fxcm/tick/eurusd/20140115_quote.zip", "20140115_eurusd_tick_quote.csv", "0,1,2", (2014, 1, 15, 5)),
        (
            "future/comex/tick/gc/20131103_trade.zip",
            "20131103_gc_tick_trade_201312.csv",
            "7200000,1,1,usa,,0",
            (2013, 11, 3, 2),
        ),
    ],
)
def test_the_three_clocks(tmp_path: Path, path: str, member: str, line: str, utc: tuple[int, ...]) -> None:
    assert _only(_file(tmp_path, path, {member: line}))["ts_event"].tolist() == [_ns(*utc)]


def test_another_market_asks_for_its_zone(tmp_path: Path) -> None:
    source = _file(tmp_path, "forex/oanda/tick/eurusd/20140515_quote.zip", {"20140515_eurusd_tick_quote.csv": "0,1,2"})
    with pytest.raises(InvalidInputError, match="tz="):
        _decoded(source)
    columns = _only(source, IngestOptions(tz="UTC"))
    assert columns["ts_event"].tolist() == [_ns(2014, 5, 15)]
    assert columns["bid_sz_00"].tolist() == [SIZE_NULL]
    with pytest.raises(InvalidInputError, match="no zone"):
        _decoded(source, IngestOptions(tz="New York"))


def test_future_contracts_are_members_and_ordinals_go_on(tmp_path: Path) -> None:
    members = {
        "20131007_gc_tick_trade_201312.csv": "276,1313.7,1,usa,,0\n277,-0.05,0,usa,,0\n\n",
        "20131007_gc_tick_trade_201402_20140226.csv": "5,1316.1,0,usa,,1\r\n",
    }
    pieces, bad, rows = _decoded(_file(tmp_path, "future/comex/tick/gc/20131007_trade.zip", members))
    assert [(piece.venue, piece.symbol) for piece in pieces] == [("COMEX", "GCZ13"), ("COMEX", "GCG14")]
    assert [piece.ordinals.tolist() for piece in pieces] == [[0, 1], [2]]
    assert pieces[0].columns["price"].tolist() == [1_313_700_000_000, -50_000_000]
    assert pieces[1].columns["suspicious"].tolist() == [1]
    assert (bad, rows) == ([], 3)
    assert contract("ES", "es_trade_202003.csv") == "ESH20"
    assert contract("ES", "20131007_es_minute_trade_201313.csv") is None


def test_bars_are_known_at_their_end(tmp_path: Path) -> None:
    member = {"20131007_gc_minute_trade_201312.csv": "60000,1313.7,1314,1313.5,1313.9,12\n"}
    pieces, _, _ = _decoded(_file(tmp_path, "future/comex/minute/gc/20131007_trade.zip", member))
    columns = pieces[0].columns
    assert (pieces[0].symbol, columns.schema.name) == ("GCZ13", "ohlcv-1m")
    begin = _ns(2013, 10, 7, 0, 1)
    assert (columns["ts_event"].tolist(), columns["ts_recv"].tolist()) == ([begin], [begin + 60 * _NS])
    assert [columns[name][0] for name in ("open", "high", "low", "close", "volume")] == [
        1_313_700_000_000,
        1_314_000_000_000,
        1_313_500_000_000,
        1_313_900_000_000,
        12,
    ]
    second = {"20131007_spy_second_trade.csv": "0,1674100,1674100,1674100,1674100,5"}
    columns = _only(_file(tmp_path, "equity/usa/second/spy/20131007_trade.zip", second))
    assert (columns.schema.name, columns["ts_recv"][0] - columns["ts_event"][0]) == ("ohlcv-1s", _NS)


def test_days_end_at_the_next_midnight(tmp_path: Path) -> None:
    text = (
        "20131101 00:00,10000,20000,5000,15000,100\n20131103 00:00,1,2,1,2,3\n20131301 00:00,1,2,1,2,3\n2013110400:00,,"
    )
    pieces, bad, rows = _decoded(_file(tmp_path, "equity/usa/daily/spy.zip", {"spy.csv": text}))
    columns = pieces[0].columns
    assert (pieces[0].symbol, columns.schema.name, rows) == ("SPY", "ohlcv-1d", 4)
    assert columns["ts_event"].tolist() == [_ns(2013, 11, 1, 4), _ns(2013, 11, 3, 4)]
    assert columns["ts_recv"].tolist() == [_ns(2013, 11, 2, 4), _ns(2013, 11, 4, 5)]
    assert columns["open"].tolist() == [1_000_000_000, 100_000]
    assert [(item.row, item.raw) for item in bad] == [(2, b"20131301 00:00,1,2,1,2,3"), (3, b"2013110400:00,,")]


def test_minute_quotes_have_null_sides(tmp_path: Path) -> None:
    text = "0,1654,1654,1654,1654,1,,,,,0\n60000,,,,,0,1,2,1,2,0\n"
    member = {"20131007_es_minute_quote_201409.csv": text}
    columns = _only(_file(tmp_path, "future/cme/minute/es/20131007_quote.zip", member))
    assert columns.schema.name == "ohlcq-1m"
    assert columns["ask_close"].tolist() == [PRICE_NULL, 2_000_000_000]
    assert columns["ask_size"].tolist() == [SIZE_NULL, 0]
    assert columns["bid_size"].tolist() == [1, SIZE_NULL]


def test_open_interest_is_a_statistic(tmp_path: Path) -> None:
    member = {"20131007_es_minute_openinterest_201312.csv": "21960000,2691941\n"}
    columns = _only(_file(tmp_path, "future/cme/minute/es/20131007_openinterest.zip", member))
    assert columns.schema.name == "statistics"
    assert (columns["stat_type"].tolist(), columns["quantity"].tolist()) == ([9], [2_691_941])
    assert columns["ts_event"].tolist() == [_ns(2013, 10, 7, 6, 6)]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("option/usa/minute/aapl/20140606_trade.zip", "option are not read"),
        ("equity/usa/hour/spy.zip", "trade by hour"),
        ("forex/fxcm/second/eurusd/20140606_quote.zip", "quote by second"),
        ("equity/usa/tick/spy/20141306_trade.zip", "no date"),
        ("equity/usa/tick/spy/20141206_trade.zip", "should be named 20141206"),
    ],
)
def test_what_is_not_read_is_refused_with_words(tmp_path: Path, path: str, words: str) -> None:
    source = _file(tmp_path, path, {"20140606_x_trade.csv": "1,2,3\n"})
    assert LeanFeed().recognises(source)
    with pytest.raises(InvalidInputError, match=words):
        _decoded(source)


def test_rows_that_cannot_be_decoded_are_quarantined(tmp_path: Path) -> None:
    rows = [
        "1,2,3,P,0,0",
        "",
        "1,2,3,P,0",
        "x,2,3,P,0,0",
        "86400000,2,3,P,0,0",
        "1,,3,P,0,0",
        "1,2,3.5,P,0,0",
        "1,2,3,P,0,2",
        "1,99999999999999999999,3,P,0,0",
        "2,2,3,P,0,0",
        "34200000,49",
    ]
    member = {"20131007_spy_Trade_Tick.csv": "\n".join(rows) + "\n\r\n\n"}
    pieces, bad, count = _decoded(_file(tmp_path, "equity/usa/tick/spy/20131007_trade.zip", member))
    assert count == len(rows)
    assert [(item.row, item.raw.decode()) for item in bad] == [(at, rows[at]) for at in (1, 2, 3, 4, 5, 6, 7, 8, 10)]
    assert "field 4 " not in bad[1].reason
    assert "6 fields" in bad[1].reason
    assert "field 6, suspicious" in bad[6].reason
    assert [piece.columns["price"].tolist() for piece in pieces] == [[200_000, 200_000]]
    assert pieces[0].ordinals.tolist() == [0, 1]


def test_wrong_content_and_damage(tmp_path: Path) -> None:
    path = "equity/usa/tick/spy/20131007_trade.zip"
    wrong = _file(tmp_path, path, {"20131007_spy_Trade_Tick.csv": "time,price\nnoon,2\n"})
    assert not LeanFeed().recognises(wrong)
    with pytest.raises(InvalidInputError, match="begin with a time"):
        _decoded(wrong)
    text = "\n".join(f"{at},{at * 7919 % 10007},100,P,0,0" for at in range(60_000))
    whole = _file(tmp_path, path, {"20131007_spy_Trade_Tick.csv": text})
    damaged = bytearray(Path(whole.path).read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    Path(whole.path).write_bytes(damaged)
    with pytest.raises(IntegrityError):
        _decoded(Source(whole.path))
    Path(whole.path).write_bytes(damaged[: len(damaged) // 2])
    with pytest.raises(IntegrityError):
        _decoded(Source(whole.path))
    assert place_of(("data", "lobster"), "AMZN_2012-06-21_message_1.csv") is None
    assert place_of(("data", "sse"), "SHorders.zip") is None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 86_399_999),
            st.one_of(st.none(), st.decimals(-100, 10**6, places=5)),
            st.one_of(st.none(), st.decimals(0, 10**6, places=9)),
        ),
        min_size=1,
        max_size=50,
    )
)
def test_quotes_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, Decimal | None, Decimal | None]]
) -> None:
    lines = [
        ",".join("" if value is None else format(value, "f") for value in (Decimal(row[0]), *row[1:])) for row in rows
    ]
    folder = tmp_path_factory.mktemp("lean")
    member = {"20140515_eurusd_tick_quote.csv": "\n".join(lines) + "\n"}
    columns = _only(_file(folder, "forex/fxcm/tick/eurusd/20140515_quote.zip", member))
    base = _ns(2014, 5, 15, 5)
    assert columns["ts_event"].tolist() == [base + row[0] * 1_000_000 for row in rows]
    for name, at in (("bid_px_00", 1), ("ask_px_00", 2)):
        wanted = [PRICE_NULL if row[at] is None else int(row[at] * _NS) for row in rows]  # type: ignore[operator]
        assert columns[name].tolist() == wanted
