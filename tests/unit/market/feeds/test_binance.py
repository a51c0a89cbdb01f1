"""Binance captures: each kind of message, what is refused, and the scanner against the JSON reading."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.feeds.binance.feed import BinanceFeed, read_block
from tickvault.market.feeds.binance.messages import Type
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.schema import CODE_NULL, F_LAST, PRICE_NULL, SIZE_NULL, TIME_NULL

LOCAL = 1_723_161_253_937_085_768
SPOT_DELTA = {"e": "depthUpdate", "E": 5, "s": "BTCUSDT", "U": 1, "u": 2, "b": [["1.5", "2"]], "a": [["1.6", "0.00"]]}
QUOTE = {"u": 9, "s": "BTCUSDT", "b": "61837.63000000", "B": "3.78826000", "a": "61837.64000000", "A": "1.54698000"}
TRADE = {"e": "trade", "E": 6, "T": 5, "s": "BTCUSDT", "t": 7, "p": "61800.30", "q": "0.006", "X": "MARKET", "m": False}
AGGREGATE = {"e": "aggTrade", "E": 6, "s": "BTCUSDT", "a": 3, "p": "1", "q": "2", "f": 10, "l": 12, "T": 4, "m": True}


def line(said: Mapping[str, Any], stream: str = "", local: int = LOCAL) -> str:
    whole = {"stream": stream, "data": said} if stream else said
    return f"{local} {json.dumps(whole, separators=(',', ':'))}"


def source_of(folder: Path, lines: list[str], name: str = "spot_btcusdt_20240808.gz") -> Source:
    path = folder / name
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return Source(path)


def decoded(source: Source, options: IngestOptions | None = None) -> tuple[list[Piece], list[Quarantined], int]:
    found = list(BinanceFeed().decode(source, options or IngestOptions()))
    rows = sum(item.rows for item in found if isinstance(item, Counted))
    return [i for i in found if isinstance(i, Piece)], [i for i in found if isinstance(i, Quarantined)], rows


def series(pieces: list[Piece], schema: str) -> Columns:
    (piece,) = [piece for piece in pieces if piece.columns.schema.name == schema]
    return piece.columns


def words(columns: Columns, name: str) -> list[str | None]:
    told = columns.dictionaries.get(name, [])
    return [None if code == CODE_NULL else told[code] for code in columns[name].tolist()]


def test_depth_of_spot(tmp_path: Path) -> None:
    source = source_of(tmp_path, [line(SPOT_DELTA, "btcusdt@depth@100ms"), line(SPOT_DELTA | {"U": 3, "u": 3})])
    assert BinanceFeed().recognises(source)
    pieces, bad, rows = decoded(source)
    assert (bad, rows, pieces[0].venue, pieces[0].symbol) == ([], 2, "BINANCE", "BTCUSDT")
    columns = series(pieces, "mbp-delta")
    assert "".join(map(chr, columns["side"])) == "BABA"
    assert columns["price"].tolist() == [1_500_000_000, 1_600_000_000] * 2
    assert (columns["size"].tolist(), columns.size_scale) == ([200_000_000, 0] * 2, 100_000_000)
    assert columns["flags"].tolist() == [0, F_LAST, 0, F_LAST]
    assert columns["first_update_id"].tolist() == [1, 1, 3, 3]
    assert columns["last_update_id"].tolist() == [2, 2, 3, 3]
    assert columns["previous_update_id"].tolist() == [2**64 - 1] * 4
    assert columns["ts_event"].tolist() == [5_000_000] * 4
    assert columns["ts_recv"].tolist() == [LOCAL] * 4
    assert pieces[0].ordinals.tolist() == [0, 1, 2, 3]


def test_trades_and_aggregates(tmp_path: Path) -> None:
    lines = [line(TRADE), line(AGGREGATE, "btcusdt@aggTrade"), line(TRADE | {"m": True, "X": "NA", "t": 8})]
    pieces, bad, _ = decoded(source_of(tmp_path, lines, "usdm_btcusdt_20240808.gz"))
    columns = series(pieces, "trades")
    assert (bad, pieces[0].venue) == ([], "BINANCEUSDM")
    # The buyer was the maker, so the seller was the aggressor.
    assert "".join(map(chr, columns["side"])) == "BAA"
    assert "".join(map(chr, columns["action"])) == "TTT"
    assert columns["price"].tolist() == [61_800_300_000_000, 1_000_000_000, 61_800_300_000_000]
    assert columns["size"].tolist() == [600_000, 200_000_000, 600_000]
    assert columns["ts_event"].tolist() == [5_000_000, 4_000_000, 5_000_000], "T before E"
    assert columns["trade_id"].tolist() == [7, 3, 8]
    assert words(columns, "conditions") == ["MARKET", "aggTrade", "NA"]
    assert columns["first_trade_id"].tolist() == [2**64 - 1, 10, 2**64 - 1]
    assert columns["last_trade_id"].tolist() == [2**64 - 1, 12, 2**64 - 1]


def test_quotes_of_spot_have_no_time_and_an_absent_side_is_null(tmp_path: Path) -> None:
    lines = [
        line(QUOTE, "btcusdt@bookTicker"),
        line(QUOTE | {"e": "bookTicker", "T": 8, "E": 9, "a": "0.00", "A": "0"}),
        line(TRADE | {"E": 1_723_161_255_208_123, "T": 1_723_161_255_208_123}),
    ]
    pieces, _, _ = decoded(source_of(tmp_path, lines, "capture.log"), IngestOptions(venue="X"))
    columns = series(pieces, "bbo")
    assert columns["ts_event"].tolist() == [TIME_NULL, 8_000_000]
    assert columns["bid_px_00"].tolist() == [61_837_630_000_000] * 2
    assert columns["bid_sz_00"].tolist() == [378_826_000] * 2
    assert columns["ask_px_00"].tolist() == [61_837_640_000_000, PRICE_NULL]
    assert columns["ask_sz_00"].tolist() == [154_698_000, SIZE_NULL]
    assert columns["sequence"].tolist() == [9, 9]
    # Microseconds, as spot sends where it is asked to.
    assert series(pieces, "trades")["ts_event"].tolist() == [1_723_161_255_208_123_000]
    assert pieces[0].venue == "X"


def test_ordinals_count_through_all_series_in_the_order_of_the_lines(tmp_path: Path) -> None:
    other = {"s": "ETHUSDT"}
    lines = [line(said) for said in (SPOT_DELTA, TRADE, SPOT_DELTA | other, QUOTE, TRADE | other, AGGREGATE)]
    pieces, _, _ = decoded(source_of(tmp_path, lines))
    found = {(piece.symbol, piece.columns.schema.name): piece.ordinals.tolist() for piece in pieces}
    assert found == {
        ("BTCUSDT", "mbp-delta"): [0, 1],
        ("BTCUSDT", "trades"): [2, 7],
        ("ETHUSDT", "mbp-delta"): [3, 4],
        ("BTCUSDT", "bbo"): [5],
        ("ETHUSDT", "trades"): [6],
    }


@pytest.mark.parametrize(
    ("name", "lines", "venue"),
    [
        ("a.gz", [line(SPOT_DELTA)], "BINANCE"),
        ("a.txt", [line(SPOT_DELTA | {"pu": 0})], "BINANCEUSDM"),
        ("a", [line(QUOTE | {"e": "bookTicker"})], "BINANCEUSDM"),
        ("usdm_x.gz", [line(TRADE)], "BINANCEUSDM"),
        ("spot_x.gz", [line(QUOTE)], "BINANCE"),
    ],
)
def test_the_venue_is_told_by_the_name_or_the_messages(tmp_path: Path, name: str, lines: list[str], venue: str) -> None:
    assert {piece.venue for piece in decoded(source_of(tmp_path, lines, name))[0]} == {venue}


def test_what_is_not_said_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="venue="):
        decoded(source_of(tmp_path, [line(QUOTE)], "capture.gz"))
    with pytest.raises(InvalidInputError, match="COIN-M"):
        decoded(source_of(tmp_path, [line(SPOT_DELTA | {"pu": 0, "ps": "BTCUSD"})], "capture.gz"))
    with pytest.raises(InvalidInputError, match="the other market"):
        decoded(source_of(tmp_path, [line(SPOT_DELTA | {"pu": 0})], "spot_btcusdt.gz"))
    with pytest.raises(InvalidInputError, match="symbol="):
        decoded(source_of(tmp_path, [line({"lastUpdateId": 1, "bids": [], "asks": []})]))
    with pytest.raises(InvalidInputError, match="local time in nanoseconds"):
        decoded(source_of(tmp_path, ["1,2,3"]))


BAD = [
    '{"e":"trade"}',
    line(TRADE, local=172_316_125_393_708_576),
    line(TRADE)[:-5],
    line(SPOT_DELTA)[:60],
    f"{LOCAL} [1]",
    f"{LOCAL} " + '{"stream":"x","data":5}',
    line({"e": "kline", "s": "BTCUSDT"}, "btcusdt@kline_1m"),
    line(TRADE | {"p": "1e3x"}),
    line(TRADE | {"p": "-1"}),
    line(TRADE | {"p": "0.0000000001"}),
    line(TRADE | {"q": "0.000000001"}),
    line(TRADE | {"q": "92233720368.54775807"}),
    line(TRADE | {"m": 1}),
    line(TRADE | {"t": -1}),
    line(TRADE | {"T": 10**17}),
    line({key: value for key, value in TRADE.items() if key != "s"}),
    line({key: value for key, value in SPOT_DELTA.items() if key != "U"}),
    line(SPOT_DELTA | {"b": [["1"]]}),
    line(SPOT_DELTA | {"a": "1"}),
    "",
    f"{LOCAL} \xff",
]


def test_garbled_lines_are_quarantined_with_their_bytes(tmp_path: Path) -> None:
    lines = [line(TRADE), *BAD, line({"result": None, "id": 1}), line(TRADE | {"t": 8})]
    pieces, bad, rows = decoded(source_of(tmp_path, [*lines, "", ""]))
    assert rows == len(lines), "blank lines at the end are no rows"
    assert [(item.row, item.raw) for item in bad] == [(at + 1, text.encode()) for at, text in enumerate(BAD)]
    assert all(item.reason for item in bad)
    assert series(pieces, "trades")["trade_id"].tolist() == [7, 8]
    assert series(pieces, "trades")["ts_recv"].tolist() == [LOCAL, LOCAL]
    assert pieces[0].ordinals.tolist() == [0, 1]


def test_a_capture_cut_off_gives_what_can_be_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = [line(TRADE | {"t": int(at)}) for at in rng.integers(0, 10**15, 200_000)]
    path = Path(source_of(tmp_path, lines).path)
    path.write_bytes(path.read_bytes()[:-1000])
    rows = 0
    with pytest.raises(IntegrityError):
        for item in BinanceFeed().decode(Source(path), IngestOptions()):
            rows += item.rows if isinstance(item, Counted) else 0
    assert rows > 0


NUMBERS = st.one_of(
    st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,10})?", fullmatch=True),
    st.sampled_from(
        ["0", "00.10", "1.", ".5", "1e5", "1E-7", "-1", "+1", " 1", "1_0", "", "NaN", "9223372036.854775807"]
    ),
    st.sampled_from(
        ["9223372036.854775806", "92233720368.54775806", "1.500000000000000", "1.5e0", "0e99999999999", "٣"]
    ),
)
ANY = st.one_of(st.integers(-1, 10**19), st.booleans(), st.none(), NUMBERS, st.just([]), st.just({}), st.just(1.5))
LEVELS = st.lists(st.tuples(NUMBERS, NUMBERS).map(list), max_size=3)
SHAPES = st.sampled_from([SPOT_DELTA, SPOT_DELTA | {"pu": 4}, QUOTE, QUOTE | {"e": "bookTicker"}, TRADE, AGGREGATE])


@st.composite
def messages(draw: st.DrawFn) -> str:
    """Return a line near a known shape: fields changed, left out, added, in another order; or damaged after all."""
    said: dict[str, Any] = dict(draw(SHAPES))
    for key in draw(st.lists(st.sampled_from(sorted(said)), max_size=2)):
        said[key] = draw(LEVELS) if isinstance(said[key], list) else draw(NUMBERS if key in "pqbBaA" else ANY)
    for key in draw(st.lists(st.sampled_from([*sorted(said), "ps", "st", "Z", "X", "pu", "lastUpdateId"]), max_size=2)):
        if key in said and draw(st.booleans()):
            del said[key]
        else:
            said[key] = draw(ANY)
    if draw(st.booleans()):
        said = {key: said[key] for key in draw(st.permutations(sorted(said)))}
    stream = draw(st.sampled_from(["", "btcusdt@depth@100ms", "btcusdt@depth20@100ms", "b@trade", 'a"\\é']))
    text = line(said, stream, draw(st.sampled_from([LOCAL, 10**18, 9 * 10**18, 2**63 - 1, 5])))
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.sampled_from(["", " ", "0", '"', ",", "}", "]", "{", "\\", "\t", "\x00", ":"]))
            + text[at + 1 :]
        )
    if draw(st.integers(0, 9)) == 0:
        text = text.replace("}", ',"s":"TWICE"}', 1)
    return text


@settings(max_examples=300, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=8))
def test_the_scanner_gives_what_json_gives(lines: list[str]) -> None:
    block = "\n".join(lines).encode()
    quick, slow = read_block(block), read_block(block, scanned=False)
    assert quick.refused == slow.refused
    assert quick.messages.type.tolist() == slow.messages.type.tolist()
    for row in np.flatnonzero(quick.messages.type != Type.NONE).tolist():
        assert _told(quick, row) == _told(slow, row)


def _told(block: Any, row: int) -> list[object]:
    told = block.messages
    level, count = int(told.level[row]), int(told.bids[row] + told.asks[row])
    symbol, condition = int(block.symbols[row]), int(block.conditions[row])
    return [
        *(int(array[row]) for name, array in told._asdict().items() if name != "level"),
        block.symbol_words[symbol] if symbol >= 0 else None,
        block.condition_words[condition] if condition >= 0 else None,
        block.prices[level : level + count].tolist(),
        block.sizes[level : level + count].tolist(),
    ]


def test_known_shapes_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The equality above would hold too if the scanner read nothing at all."""
    monkeypatch.setattr("tickvault.market.feeds.binance.feed.read", lambda raw: f"not scanned: {raw!r}")
    shapes = [SPOT_DELTA, SPOT_DELTA | {"pu": 4}, SPOT_DELTA | {"b": [], "a": []}, QUOTE, TRADE, AGGREGATE]
    lines = [line(said, stream) for said in shapes for stream in ("", "btcusdt@depth@100ms")]
    assert read_block("\n".join(lines).encode()).refused == {}
