"""DBN streams: versions, symbols by day, streams end to end, damage; and the real files, every row of them."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import databento_dbn as dbn
import numpy as np
import pytest
import zstandard
from dbn_reading import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.feeds.dbn import feed as room
from tickvault.market.feeds.dbn.feed import DbnFeed
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source

DAY = 86_400 * 10**9
MONDAY = 19_716 * DAY  # 2023-12-25
NO_OPTIONS = IngestOptions()


def metadata(
    mappings: Sequence[tuple[str, int, int, str]] = (("ESH4", 20231224, 20231226, "17"),),
    version: int = 3,
    dataset: str = "GLBX.MDP3",
    stype_in: dbn.SType = dbn.SType.RAW_SYMBOL,
    stype_out: dbn.SType = dbn.SType.INSTRUMENT_ID,
    **more: Any,
) -> bytes:
    def day(number: int) -> date:
        return datetime.strptime(str(number), "%Y%m%d").replace(tzinfo=UTC).date()

    given_mappings = [
        SimpleNamespace(
            raw_symbol=raw, intervals=[SimpleNamespace(start_date=day(start), end_date=day(end), symbol=symbol)]
        )
        for raw, start, end, symbol in mappings
    ]
    return bytes(
        dbn.Metadata(dataset, 0, stype_in, stype_out, None, mappings=given_mappings, version=version, **more)  # type: ignore[arg-type]
    )


def order(number: int, instrument: int = 17, at: int = MONDAY, **more: Any) -> bytes:
    return bytes(
        dbn.MBOMsg(1, instrument, at, number, 10**9, 3, dbn.Action.ADD, dbn.Side.BID, more.pop("recv", at + 5), **more)
    )


def trade(price: int, instrument: int = 17, at: int = MONDAY) -> bytes:
    return bytes(dbn.TradeMsg(1, instrument, at, price, 3, dbn.Action.TRADE, dbn.Side.BID, 0, at + 5))


def mapping(instrument: int, asked: str, given_symbol: str, version: int = 3) -> bytes:
    width = 22 if version == 1 else 71
    head = struct.pack("<BBHIQ", 20 if version == 1 else 44, 0x16, 0, instrument, MONDAY)
    first, second = asked.encode().ljust(width, b"\0"), given_symbol.encode().ljust(width, b"\0")
    body = first + second + bytes(4) if version == 1 else b"\1" + first + b"\1" + second
    return head + body + bytes(16)


def system(text: str = "Heartbeat") -> bytes:
    return struct.pack("<BBHIQ", 80, 0x17, 0, 0, MONDAY) + text.encode().ljust(303, b"\0") + b"\0"


def decode(path: Path, options: IngestOptions = NO_OPTIONS) -> tuple[int, list[Piece], list[Quarantined]]:
    found = list(DbnFeed().decode(Source(path), options))
    rows = sum(item.rows for item in found if isinstance(item, Counted))
    return rows, [i for i in found if isinstance(i, Piece)], [i for i in found if isinstance(i, Quarantined)]


def read(folder: Path, *parts: bytes, name: str = "a.dbn") -> tuple[int, list[Piece], list[Quarantined]]:
    path = folder / name
    path.write_bytes(b"".join(parts))
    return decode(path)


def told(pieces: Sequence[Piece]) -> list[tuple[str, str, list[int], list[int]]]:
    """Return (symbol, schema, order ids or prices, ordinals) of each piece."""
    return [
        (
            piece.symbol,
            piece.columns.schema.name,
            piece.columns["order_id" if piece.columns.schema.name == "mbo" else "price"].tolist(),
            piece.ordinals.tolist(),
        )
        for piece in pieces
    ]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("ts_out", [False, True])
def test_each_version_is_read_with_and_without_the_time_of_sending(tmp_path: Path, version: int, ts_out: bool) -> None:
    more = {"ts_out": 99} if ts_out else {}
    head = metadata(version=version, ts_out=ts_out, symbols=["ESH4", "X"], not_found=["Y"])
    rows, (piece,), bad = read(tmp_path, head, order(1, **more), order(2, recv=2**64 - 1, flags=0xA0, **more))
    assert (rows, bad, piece.venue, piece.symbol) == (2, [], "GLBX", "ESH4")
    assert piece.columns["ts_recv"].tolist() == [MONDAY + 5, -(2**63)]
    assert piece.columns["flags"].tolist() == [0, 0xA0]
    assert piece.columns.arrays.get("ts_out", np.array([])).tolist() == ([99, 99] if ts_out else [])


def test_symbols_are_those_of_the_day_of_the_record(tmp_path: Path) -> None:
    head = metadata(
        [("OLD", 20231224, 20231225, "17"), ("NEW", 20231225, 20231226, "17"), ("B", 20231225, 20231226, "5")]
    )
    # The day is that of ts_recv: the first order came just after midnight.
    records = [
        order(1, at=MONDAY - 1),
        order(2, at=MONDAY - 10),
        order(3, instrument=5),
        order(4),
        order(5, at=MONDAY + DAY),
        order(6, instrument=8),
    ]
    _, pieces, _ = read(tmp_path, head, *records)
    assert told(pieces) == [
        ("NEW", "mbo", [1, 4], [0, 3]),
        ("OLD", "mbo", [2], [1]),
        ("B", "mbo", [3], [2]),
        ("17", "mbo", [5], [4]),
        ("8", "mbo", [6], [5]),
    ]


def test_mappings_may_be_from_the_instrument_to_the_symbol_or_of_no_use(tmp_path: Path) -> None:
    number, raw = dbn.SType.INSTRUMENT_ID, dbn.SType.RAW_SYMBOL
    head = metadata([("17", 20231225, 20231226, "ESH4")], stype_in=number, stype_out=raw)
    assert told(read(tmp_path, head, order(1))[1])[0][0] == "ESH4"
    head = metadata([("ES.c.0", 20231225, 20231226, "ESH4")], stype_in=dbn.SType.CONTINUOUS, stype_out=raw)
    assert told(read(tmp_path, head, order(1))[1])[0][0] == "17"
    # The old way to say that a symbol was not found in an interval.
    head = metadata([("ESH4", 20231225, 20231226, "")])
    assert told(read(tmp_path, head, order(1))[1])[0][0] == "17"


@pytest.mark.parametrize("version", [1, 3])
def test_mappings_in_the_stream_override_from_there_on(tmp_path: Path, version: int) -> None:
    rows, pieces, bad = read(
        tmp_path,
        metadata(version=version),
        order(1),
        mapping(17, "ES.FUT", "ESM4", version),
        mapping(9, "NQH4", "9", version),
        order(2),
        order(3, instrument=9),
        mapping(17, "ES.FUT", "ESU4", version),
        order(4),
    )
    assert (rows, bad) == (7, [])
    assert [(symbol, orders, ordinals) for symbol, _, orders, ordinals in told(pieces)] == [
        ("ESH4", [1], [0]),
        ("ESM4", [2], [1]),
        ("NQH4", [3], [2]),
        ("ESU4", [4], [3]),
    ]


def test_kinds_may_be_mixed_and_messages_of_the_gateway_are_only_counted(tmp_path: Path) -> None:
    rows, pieces, bad = read(
        tmp_path, metadata(), system(), order(1), trade(7), order(2, instrument=5), system(), trade(8), order(3)
    )
    assert (rows, bad) == (7, [])
    assert told(pieces) == [
        ("ESH4", "mbo", [1, 3], [0, 4]),
        ("5", "mbo", [2], [2]),
        ("ESH4", "trades", [7, 8], [1, 3]),
    ]


def test_definitions_of_several_symbols_have_dictionaries_of_their_own(tmp_path: Path) -> None:
    def definition(instrument: int, name: str, currency: str) -> bytes:
        record = np.zeros(1, np.dtype(dbn.InstrumentDefMsg._dtypes))
        record["length"], record["rtype"], record["instrument_id"], record["ts_recv"] = 130, 0x13, instrument, MONDAY
        record["raw_symbol"], record["currency"] = name.encode(), currency.encode()
        return record.tobytes()

    parts = [definition(17, "ESH4", "USD"), definition(5, "X", ""), definition(17, "ESM4", "EUR")]
    _, pieces, _ = read(tmp_path, metadata(), *parts)
    assert [piece.columns.dictionaries["raw_symbol"] for piece in pieces] == [["ESH4", "ESM4"], ["X"]]
    assert [piece.columns.dictionaries["currency"] for piece in pieces] == [["USD", "EUR"], []]
    assert [piece.columns["currency"].tolist() for piece in pieces] == [[0, 1], [-1]]


def test_streams_end_to_end_and_frames_end_to_end_are_read_through(tmp_path: Path) -> None:
    first = metadata() + order(1) + mapping(17, "ES", "ESZ4") + order(2)
    second = metadata([("ESU4", 20231225, 20231226, "17")], version=1, ts_out=True) + order(3, ts_out=9)
    third = metadata(version=2, dataset="XNAS.ITCH") + trade(4)
    for name, parts in (
        ("a.dbn", (first, second, third)),
        ("a.dbn.zst", [zstandard.compress(part) for part in (first[:400], first[400:] + second, third)]),
        ("a.dbn.gz", [gzip.compress(first + second + third)]),
    ):
        rows, pieces, bad = read(tmp_path, *parts, name=name)
        assert DbnFeed().recognises(Source(tmp_path / name))
        assert (rows, bad) == (5, [])
        assert [(piece.venue, *rest) for piece, rest in zip(pieces, told(pieces), strict=True)] == [
            ("GLBX", "ESH4", "mbo", [1], [0]),
            ("GLBX", "ESZ4", "mbo", [2], [1]),
            ("GLBX", "ESU4", "mbo", [3], [2]),
            ("XNAS", "ESH4", "trades", [4], [3]),
        ]


def test_what_cannot_be_decoded_is_quarantined_with_its_bytes(tmp_path: Path) -> None:
    strange = bytearray(order(2))
    strange[1] = 0x77
    short = bytes([13]) + order(3)[1:52]
    hourly = bytes(dbn.OHLCVMsg(0x22, 1, 17, MONDAY, 1, 2, 1, 2, 5))
    late = order(4, recv=2**63)
    timeless = order(5, at=2**64 - 1, recv=2**64 - 1)
    rows, (piece,), bad = read(tmp_path, metadata(), order(1), bytes(strange), short, hourly, late, timeless, order(6))
    assert (rows, piece.columns["order_id"].tolist(), piece.ordinals.tolist()) == (7, [1, 6], [0, 1])
    assert [(item.row, item.raw) for item in bad] == list(enumerate((bytes(strange), short, hourly, late, timeless), 1))
    for item, reason in zip(bad, ("0x77", "52 bytes", "hourly", "2262", "neither"), strict=True):
        assert reason in item.reason


def test_damage_is_told_after_what_is_sound(tmp_path: Path) -> None:
    def until_damage(data: bytes, name: str = "a.dbn") -> tuple[int, str, list[bytes]]:
        path = tmp_path / name
        path.write_bytes(data)
        rows, raw = 0, []
        with pytest.raises(IntegrityError) as caught:
            for item in DbnFeed().decode(Source(path), NO_OPTIONS):
                if isinstance(item, Piece):
                    rows += len(item.columns)
                elif isinstance(item, Quarantined):
                    raw.append(item.raw)
        return rows, str(caught.value), raw

    whole = metadata() + order(1) + order(2)
    rows, message, raw = until_damage(whole[:-10])
    assert (rows, raw) == (1, [order(2)[:-10]])
    assert "midst of a record, after 1 whole" in message
    assert "midst of a metadata" in until_damage(whole + metadata()[:50])[1]
    assert "midst of a metadata" in until_damage(metadata()[:4])[1]
    rows, message, _ = until_damage(whole + b"\0" * 200 + order(3))
    assert rows == 2
    assert f"record 2, at byte {len(whole)} of the stream, tells a length of 0 bytes" in message
    assert "length of 4294967295" in until_damage(b"DBN\1\xff\xff\xff\xff" + bytes(100))[1]
    broken = bytearray(metadata())
    broken[112:116] = b"\xff\xff\xff\x00"
    assert "is damaged" in until_damage(bytes(broken) + order(1))[1]


def test_a_compressed_stream_that_is_cut_off_or_damaged_is_told_after_what_is_sound(tmp_path: Path) -> None:
    """A frame cut where a record ends looks like the end of the file to zstandard's own reader."""
    random = np.random.default_rng(1)
    records = [order(number, ts_out=int(random.integers(2**62))) for number in range(10_000)]
    data = b"".join([metadata([], ts_out=True), *records])
    assert len(metadata([], ts_out=True)) % 64 == 0
    packed = zstandard.compress(data)
    path = tmp_path / "a.dbn.zst"
    for stored, least in ((packed[: len(packed) // 2], 1), (packed + b"no frame" * 9, 0)):
        path.write_bytes(stored)
        rows = 0
        with pytest.raises(IntegrityError, match="damaged or cut off"):
            for item in DbnFeed().decode(Source(path), NO_OPTIONS):
                if isinstance(item, Piece):
                    numbers = item.columns["order_id"].tolist()
                    assert numbers == list(range(rows, rows + len(numbers)))
                    rows += len(numbers)
        assert least <= rows <= 10_000


def test_what_is_no_dbn_is_refused(tmp_path: Path) -> None:
    for data, words in (
        (b"Time,Type" * 9, "begins with the letters DBN"),
        (b"DBN\4" + bytes(99), "versions 1, 2 and 3"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            read(tmp_path, data)
    (tmp_path / "x.csv").write_bytes(metadata())
    (tmp_path / "x.dbn").write_bytes(b"nothing")
    assert not DbnFeed().recognises(Source(tmp_path / "x.csv"))
    assert not DbnFeed().recognises(Source(tmp_path / "x.dbn"))
    with pytest.raises(InvalidInputError, match="venue="):
        read(tmp_path, metadata(dataset=""), order(1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcdMSX"), max_size=30), st.integers(1, 700), st.booleans())
def test_the_size_of_blocks_changes_nothing(tmp_path_factory: Any, kinds: list[str], size: int, whole: bool) -> None:
    makers = {
        "a": lambda n: order(n),
        "b": lambda n: order(n, instrument=5),
        "c": lambda n: trade(n),
        "d": lambda n: order(n, at=MONDAY + n * DAY // 4),
        "M": lambda n: mapping(17, "ES", f"ES{n}"),
        "S": lambda n: system(),
        "X": lambda n: metadata(),
    }
    data = metadata() + b"".join(makers[kind](number) for number, kind in enumerate(kinds))
    path = tmp_path_factory.mktemp("blocks") / "a.dbn"
    path.write_bytes(data)

    def rows_in(block_size: int) -> tuple[int, dict[tuple[str, str], list[tuple[int, int]]]]:
        class Member:
            def blocks(self) -> Any:
                return iter([data[at : at + block_size] for at in range(0, len(data), block_size)])

        reader = room._Reader(Source(path), NO_OPTIONS)
        series: dict[tuple[str, str], list[tuple[int, int]]] = {}
        count = 0
        for item in reader.read(Member()):  # type: ignore[arg-type]
            if isinstance(item, Piece):
                (_, _, numbers, ordinals) = told([item])[0]
                series.setdefault((item.symbol, item.columns.schema.name), []).extend(
                    zip(ordinals, numbers, strict=True)
                )
            elif isinstance(item, Counted):
                count += item.rows
        return count, series

    count, series = rows_in(size)
    assert (count, series) == rows_in(len(data))
    assert count == sum(kind != "X" for kind in kinds)
    ordinals = sorted(ordinal for rows in series.values() for ordinal, _ in rows)
    assert ordinals == list(range(sum(kind in "abcd" for kind in kinds)))


REAL = {
    "esh4-glbx-mdp3-20231225.mbo.dbn.zst": 68_792,
    "esh4-glbx-mdp3-20231224.mbo.dbn.zst": 8_725,
    "orderbooks_mbo_2024-05-08.dbn.zst": 13_796,
    "futures_mbp-1_2024-07-01.dbn.zst": 2_288,
    "definition-glbx-es-opt.dbn.zst": 2,
    "definition-opra.dbn.zst": 2,
}


@pytest.mark.parametrize("name", REAL)
def test_every_row_of_the_real_files_agrees_with_the_package(market_data: Path, name: str) -> None:
    path = market_data / "databento" / name
    assert DbnFeed().recognises(Source(path))
    rows, pieces, bad = decode(path)
    with zstandard.open(path, "rb") as file:
        decoder = dbn.DBNDecoder(upgrade_policy=dbn.VersionUpgradePolicy.AS_IS)
        decoder.write(file.read())
    head, *records = decoder.decode()
    assert (rows, len(records), bad) == (REAL[name], REAL[name], [])
    days = {}
    for symbol, intervals in head.mappings.items():
        for interval in intervals:
            days.setdefault(int(interval["symbol"]), []).append((interval["start_date"], interval["end_date"], symbol))
    taken = 0
    for piece in pieces:
        own = [records[ordinal] for ordinal in piece.ordinals.tolist()]
        assert_same(piece.columns, own)
        assert piece.venue == head.dataset.split(".")[0]
        for record in own:
            day = datetime.fromtimestamp(record.ts_recv // 10**9, UTC).date()
            (symbol,) = [name for start, end, name in days[record.instrument_id] if start <= day < end]
            assert symbol == piece.symbol
        taken += len(own)
    assert taken == len(records)
    assert isinstance(pieces[0].columns, Columns)
