"""Tables of one's own: mappings, units, zones, scales, extensions, what is asked for; against csv and pyarrow."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.feeds.stamps import stamps
from tickvault.market.feeds.table import TableFeed
from tickvault.market.feeds.text import split
from tickvault.market.schema import CHAR_NULL, PRICE_NULL, SIZE_NULL, TIME_NULL

NOON = 1_704_196_800_000_000_000
"""2024-01-02 12:00 UTC."""


def decoded(path: Path, **options: Any) -> tuple[int, list[Piece], list[Quarantined]]:
    source = Source(path)
    assert not TableFeed().recognises(source)
    given_options = {"schema": "trades", "venue": "MINE", "symbol": "X"} | options
    parts = list(TableFeed().decode(source, IngestOptions(**given_options)))
    return (
        sum(part.rows for part in parts if isinstance(part, Counted)),
        [part for part in parts if isinstance(part, Piece)],
        [part for part in parts if isinstance(part, Quarantined)],
    )


def table(folder: Path, text: str, **options: Any) -> Columns:
    (folder / "t.csv").write_text(text)
    (piece,) = decoded(folder / "t.csv", **options)[1]
    return piece.columns


def refused(folder: Path, text: str, match: str, **options: Any) -> None:
    with pytest.raises(InvalidInputError, match=match):
        table(folder, text, **options)


def test_mapped_and_unmapped_columns_of_csv_against_the_csv_module(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    lines = ["Time,Px,size,Ticker,side,conditions,sprd,other"]
    for at in range(5000):
        stamp = f"2024-01-02T12:00:{at // 100:02d}.{at % 100:02d}Z"
        px = f"{rng.integers(1, 10**6)}.{rng.integers(10**6):06d}"
        lines.append(f"{stamp},{px},{rng.integers(1000)},S{at % 3},{'AB'[at % 2]},C{at % 5},-0.{at:04d},z")
    path = tmp_path / "t.csv"
    path.write_text("\r\n".join(lines) + "\r\n")
    columns = {"ts_event": "Time", "price": "Px", "symbol": "Ticker", "ext:spread": "sprd:price"}
    count, pieces, bad = decoded(path, symbol=None, columns=columns)
    assert (count, bad) == (5000, [])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [piece.symbol for piece in pieces] == ["S0", "S1", "S2"]
    for piece in pieces:
        got, ordinals = piece.columns, piece.ordinals.tolist()
        mine = [(at, row) for at, row in enumerate(rows) if row["Ticker"] == piece.symbol]
        assert ordinals == [at for at, _ in mine] and set(got.arrays) == {
            *("ts_event", "price", "size", "side", "conditions", "spread")
        }
        for at, (_, row) in enumerate(mine):
            assert int(got["price"][at]) == int(Decimal(row["Px"]) * 10**9)
            assert int(got["spread"][at]) == int(Decimal(row["sprd"]) * 10**9)
            assert int(got["size"][at]) == int(row["size"]) and chr(got["side"][at]) == row["side"]
            assert got.dictionaries["conditions"][got["conditions"][at]] == row["conditions"]
            moment = datetime.fromisoformat(row["Time"])
            assert int(got["ts_event"][at]) == int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def test_times_in_all_ways(tmp_path: Path) -> None:
    def first(value: str, unit: str = "", **options: Any) -> int:
        text = f"t,price\n{value},1\n"
        return int(table(tmp_path, text, columns={"ts_event": f"t{unit}"}, **options)["ts_event"][0])

    assert first("2024-01-02T12:00:00Z") == first("2024-01-02 13:00+01:00") == NOON
    assert first("2024-01-02T07:00:00-0500") == first("20240102T12:00:00.000Z") == NOON
    assert first("2024-01-02 07:00:00", tz="America/New_York") == first("2024-01-02", tz="UTC") + 12 * 3600 * 10**9
    assert first("2024.07.02T08:00", tz="America/New_York") == NOON + 182 * 86400 * 10**9
    assert first(str(NOON // 10**6), ":ms") == first(str(NOON), ":ns") == NOON
    assert first(f"{NOON // 10**9}.123456789", ":s") == NOON + 123_456_789
    assert first(str(NOON // 1000), ":us") == NOON
    refused(tmp_path, "t,price\n2024-01-02T12:00:00,1\n", "tz=", columns={"ts_event": "t"})
    refused(tmp_path, "t,price\n2024-01-02T12:00:00,1\n", "no zone", columns={"ts_event": "t"}, tz="Mars/Olympus")
    refused(tmp_path, f"t,price\n{NOON},1\n", "t:ms", columns={"ts_event": "t"})
    refused(tmp_path, f"ts_event,price\n{NOON // 10**9},1\n", "ts_event:ms")
    refused(tmp_path, f"t,price\n{NOON},1\n", "s, ms, us or ns", columns={"ts_event": "t:min"})


def test_prices_and_sizes(tmp_path: Path) -> None:
    text = f"t,price,Qty,turnover\n{NOON},101250,0.5,1.25\n{NOON},,,\n"
    columns = {"ts_event": "t:ns", "size": "Qty:8", "turnover": "turnover:4"}
    got = table(tmp_path, text, columns=columns, scale=10_000)
    assert got["price"].tolist() == [10_125_000_000, PRICE_NULL]
    assert got["size"].tolist() == [50_000_000, SIZE_NULL] and got.size_scale == 10**8
    assert got["turnover"].tolist() == [12_500, SIZE_NULL] and got.turnover_scale == 10_000
    refused(tmp_path, text, "Qty:8", columns={"ts_event": "t:ns", "size": "Qty"})
    refused(tmp_path, text, "scale=7", columns={"ts_event": "t:ns"}, scale=7)
    assert table(tmp_path, text, columns={"ts_event": "t:ns", "turnover": "turnover:2"})["price"][0] == 101_250 * 10**9


def test_what_a_table_does_not_say_is_asked_for(tmp_path: Path) -> None:
    text = f"t,price\n{NOON},1\n"
    ns = {"ts_event": "t:ns"}
    refused(tmp_path, text, "schema=", columns=ns, schema=None)
    refused(tmp_path, text, "venue=", columns=ns, venue=None)
    refused(tmp_path, text, "symbol=", columns=ns, symbol=None)
    refused(tmp_path, text, "no schema 'ticks'", columns=ns, schema="ticks")
    refused(tmp_path, text, "ts_event or ts_recv")
    refused(tmp_path, text, "it has t, price", columns={"ts_event": "Zeit:ns"})
    refused(tmp_path, text, "no column 'prize'", columns=ns | {"prize": "price"})
    refused(tmp_path, text, "a new name", columns=ns | {"ext:price": "price"})
    refused(tmp_path, text, "a kind of", columns=ns | {"ext:p": "price:float"})
    refused(tmp_path, "\0\1\2\3", "binary")


def test_rows_that_cannot_be_read_are_quarantined(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        f"t,price,side,flags,symbol\n{NOON},1,A,0,X\n{NOON},one,A,0,X\n,1,A,0,X\n{NOON},1,Buy,0,X\n{NOON},1,A,256,X\n"
        f"{NOON},1,A,0,\n{NOON},1,A,0\n{NOON},2,,,Y\n{NOON},"
    )
    count, pieces, bad = decoded(tmp_path / "t.csv", symbol=None, columns={"ts_event": "t:ns"})
    assert count == 8 and [each.row for each in bad] == [1, 2, 3, 4, 5, 6, 8]
    words = ("price", "time", "side", "flags", "symbol", "fields", "cut off")
    assert all(word in each.reason for word, each in zip(words, bad, strict=True))
    assert [(piece.symbol, piece.ordinals.tolist()) for piece in pieces] == [("X", [0]), ("Y", [1])]
    assert pieces[1].columns["side"].tolist() == [CHAR_NULL] and pieces[1].columns["flags"].tolist() == [0]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_arrow_types_against_pyarrow(tmp_path: Path, kind: str) -> None:
    rows = 1000
    times = [NOON + at * 1_000_003 for at in range(rows)]
    made = pa.table(
        {
            "ts_event": pa.array(times, pa.timestamp("ns", tz="America/New_York")),
            "wall": pa.array([NOON // 1000 + at for at in range(rows)], pa.timestamp("us")),
            "text": [f"2024-01-02T12:00:00.{at:03d}Z" for at in range(rows)],
            "price": pa.array([None if at % 7 == 0 else at / 100 for at in range(rows)], pa.float64()),
            "size": pa.array([None if at % 5 == 0 else at for at in range(rows)], pa.int32()),
            "symbol": pa.array([f"S{at % 2}" for at in range(rows)]).dictionary_encode(),
            "action": ["T"] * rows,
            "sequence": pa.array(range(rows), pa.uint64()),
        }
    )
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        pq.write_table(made, path, row_group_size=300)
    else:
        with pyarrow.ipc.new_file(path, made.schema) as writer:
            writer.write_table(made, max_chunksize=300)
    columns = {"ts_recv": "wall", "ext:text": "text:time"}
    count, pieces, bad = decoded(path, symbol=None, tz="UTC", columns=columns)
    assert (count, bad, {piece.symbol for piece in pieces}) == (rows, [], {"S0", "S1"})
    assert sorted(np.concatenate([piece.ordinals for piece in pieces]).tolist()) == list(range(rows))
    for piece in pieces:
        got = piece.columns
        for at, row in enumerate(piece.ordinals.tolist()):
            assert int(got["ts_event"][at]) == times[row] and int(got["ts_recv"][at]) == NOON + row * 1000
            assert int(got["text"][at]) == NOON + row * 10**6
            assert int(got["price"][at]) == (PRICE_NULL if row % 7 == 0 else row * 10**7)
            assert int(got["size"][at]) == (SIZE_NULL if row % 5 == 0 else row)
            assert int(got["sequence"][at]) == row and chr(got["action"][at]) == "T"
    with pytest.raises(InvalidInputError, match="tz="):
        decoded(path, symbol=None, columns=columns)


def test_integers_in_arrow_need_a_unit_and_a_scale(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": [NOON // 10**6, None], "price": [159_300, 1]}), tmp_path / "t.parquet")
    path = tmp_path / "t.parquet"
    with pytest.raises(InvalidInputError, match="t:ms"):
        decoded(path, columns={"ts_event": "t"}, scale=10_000)
    with pytest.raises(InvalidInputError, match="scale="):
        decoded(path, columns={"ts_event": "t:ms"})
    count, (piece,), bad = decoded(path, columns={"ts_event": "t:ms"}, scale=10_000)
    assert count == 2 and [each.reason for each in bad] == ["it has no time"]
    assert (piece.columns["ts_event"].tolist(), piece.columns["price"].tolist()) == ([NOON], [15_930_000_000])


@given(st.lists(st.datetimes(datetime(1700, 1, 1), datetime(2260, 1, 1)), min_size=1), st.integers(-23, 23))
def test_stamps_come_back(moments: list[datetime], hours: int) -> None:
    offset = f"{'+' if hours >= 0 else '-'}{abs(hours):02d}:30"
    shift = (abs(hours) * 3600 + 1800) * (1 if hours >= 0 else -1) * 10**9
    block = "".join(f"{moment.isoformat()},{moment.isoformat(' ')}{offset}\n" for moment in moments).encode()
    fields = split(block, 2)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    wanted = []
    for moment in moments:
        since = moment.replace(tzinfo=UTC) - epoch
        wanted.append((since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000)
    values, told, good = stamps(fields, 0)
    assert values.tolist() == wanted and good.all() and not told.any()
    values, told, good = stamps(fields, 1)
    assert values.tolist() == [each - shift for each in wanted] and good.all() and told.all()


@pytest.mark.parametrize(
    "text",
    ["2024-02-30", "2024-13-01", "2024-01-02T24:00", "2024-01-02T12", "2024-01-02Tx", "12:00", "2024-01-02+", "1"],
)
def test_what_is_no_stamp_is_told(text: str) -> None:
    values, _, good = stamps(split(text.encode() + b"\n", 1), 0)
    assert not good.any() and values.tolist() == [TIME_NULL]
