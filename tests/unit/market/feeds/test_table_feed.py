"""Tables of one's own: mappings, units, zones, scales, extensions, what is asked for; against csv and pyarrow."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.errors import InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.quoting import QUOTED_SIZE_MAX, split_quoted
from tickvault.market.feeds.registry import feed_of
from tickvault.market.feeds.source import Member, Source
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


@settings(deadline=None)  # the first example compiles the kernel
@given(
    st.lists(
        st.lists(st.text(st.sampled_from('ab",\n é'), max_size=6), min_size=3, max_size=3), min_size=1, max_size=30
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(1, 40),
)
def test_quotes_are_those_of_the_csv_module(rows: list[list[str]], end: str, quoting: Any, size: int) -> None:
    """CSV with quotes around its fields went to quarantine, row by row, with a reason that was another's."""
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator=end, quoting=quoting).writerows(rows)
    data = made.getvalue().encode()
    wanted = [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row]
    found, raws, rest = [], [], b""
    # In blocks that are cut at any line's end, as a file is read.
    pieces = data.split(b"\n")
    blocks = [b"\n".join(pieces[at : at + size]) + b"\n" for at in range(0, len(pieces) - 1, size)]
    for place, block in enumerate(blocks):
        fields, rest = split_quoted(rest + block, 3, is_last=place == len(blocks) - 1)
        assert fields.sound.all()
        for row in range(len(fields.starts)):
            texts = [bytes(fields.data[fields.starts[row, at] : fields.ends[row, at]]).decode() for at in range(3)]
            found.append(texts)
            raws.append(fields.raw(row))
    assert rest == b""
    assert found == wanted
    assert b"".join(raw + end.encode() for raw in raws) == data


def test_a_file_with_quotes_is_read_and_its_faults_are_told_as_they_are(tmp_path: Path) -> None:
    """Of a file that a spreadsheet wrote every row was quarantined: its time "could not be kept"."""
    path = tmp_path / "t.csv"
    path.write_text(
        '"Time, UTC", "Px","conditions"\r\n'
        f'"{NOON}","1.000000001","F,I"\r\n'
        f'{NOON},"2","say ""no"", and\r\ngo"\r\n'
        f'"{NOON}"x,3,F\r\n'
        f'{NOON},"4,F\r\n'
        f"{NOON},,\r\n"
        f'"{NOON}",6'
    )
    columns = {"ts_event": "Time, UTC:ns", "price": "Px"}
    count, pieces, bad = decoded(path, columns=columns)
    assert count == 5
    assert [price for piece in pieces for price in piece.columns["price"].tolist()] == [
        *(1_000_000_001, 2_000_000_000, PRICE_NULL)
    ]
    words = [
        piece.columns.dictionaries["conditions"][code]
        for piece in pieces
        for code in piece.columns["conditions"].tolist()
        if code >= 0
    ]
    assert words == ["F,I", 'say "no", and\r\ngo']
    assert [(each.row, each.raw) for each in bad] == [
        (2, f'"{NOON}"x,3,F'.encode()),
        (3, f'{NOON},"4,F'.encode()),
        (5, f'"{NOON}",6'.encode()),
    ]
    assert "a quote in it does not end its field" in bad[0].reason
    assert "cut off" in bad[2].reason


def test_a_quote_that_is_never_closed_spoils_its_line_only(tmp_path: Path) -> None:
    """The rest of a file hung on one stray quote; now the lines after it are rows."""
    path = tmp_path / "t.csv"
    lines = [f'{NOON},1,"F', *[f"{NOON},{at},I" for at in range(120_000)]]
    path.write_text("t,price,conditions\n" + "\n".join(lines) + "\n")
    count, pieces, bad = decoded(path, columns={"ts_event": "t:ns"})
    assert path.stat().st_size > 2 * QUOTED_SIZE_MAX
    assert (count, len(bad), sum(len(piece.ordinals) for piece in pieces)) == (120_001, 1, 120_000)


def test_quotes_and_lines_go_on_over_blocks_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Member.lines, "__defaults__", (64, b"\n"))
    path = tmp_path / "t.csv"
    lines = [f'{NOON},"{at}","a\nb{"x" * (at % 90)},"' for at in range(300)]
    path.write_text("t,price,conditions\n" + "\n".join(lines) + "\n")
    count, pieces, bad = decoded(path, columns={"ts_event": "t:ns"})
    assert (count, bad) == (300, [])
    assert [price for piece in pieces for price in piece.columns["price"].tolist()] == [at * 10**9 for at in range(300)]
    found = [piece.columns.dictionaries["conditions"][code] for piece in pieces for code in piece.columns["conditions"]]
    assert found == [f"a\nb{'x' * (at % 90)}," for at in range(300)]


def test_lines_that_end_as_an_old_macintoshs_are_read(tmp_path: Path) -> None:
    """A file with carriage returns for line ends gave no row, and nobody said so."""
    got = table(tmp_path, f"t,price\r{NOON},1\r{NOON},2\r", columns={"ts_event": "t:ns"})
    assert got["price"].tolist() == [10**9, 2 * 10**9]
    refused(tmp_path, f"t,price\r{NOON},1\n{NOON},2\n", "more than one line", columns={"ts_event": "t:ns"})


def test_blanks_around_names_are_none_and_twins_are_refused(tmp_path: Path) -> None:
    """The header `Time, Px` had a column " Px"; of two columns of one name the first was taken."""
    got = table(tmp_path, f"Time , Px\n{NOON},1\n", columns={"ts_event": "Time:ns", "price": "Px"})
    assert got["price"].tolist() == [10**9]
    refused(tmp_path, f"t,Px,Px\n{NOON},1,2\n", "two of its columns are called 'Px'", columns={"ts_event": "t:ns"})
    twins = pa.Table.from_arrays([pa.array([NOON]), pa.array([1]), pa.array([2])], names=["t", "Px", "Px"])
    with pyarrow.ipc.new_file(tmp_path / "t.arrow", twins.schema) as writer:
        writer.write_table(twins)
    with pytest.raises(InvalidInputError, match="called 'Px'"):
        decoded(tmp_path / "t.arrow", columns={"ts_event": "t:ns"})


def test_wall_times_that_never_came_or_came_twice_are_not_guessed(tmp_path: Path) -> None:
    """02:30 on the day that New York's clocks went forward became 07:30 UTC, though nothing is ever guessed."""
    clocks = [
        "2023-03-12 01:59:59.999999999",
        "2023-03-12 02:00:00",
        "2023-03-12 02:59:59.999",
        "2023-03-12 03:00:00",
        "2023-11-05 00:59:59",
        "2023-11-05 01:00:00",
        "2023-11-05 01:59:59.999",
        "2023-11-05 02:00:00",
        "2023-11-05 01:30:00-04:00",
        "2023-11-05 01:30:00-05:00",
    ]
    path = tmp_path / "t.csv"
    path.write_text("t,price\n" + "".join(f"{clock},1\n" for clock in clocks))
    _, (piece,), bad = decoded(path, columns={"ts_event": "t"}, tz="America/New_York")
    assert [(each.row, each.reason.split(":")[0]) for each in bad] == [
        (1, "its t never came in America/New_York"),
        (2, "its t never came in America/New_York"),
        (5, "its t came twice in America/New_York, and it has no offset that says which it is"),
        (6, "its t came twice in America/New_York, and it has no offset that says which it is"),
    ]
    wanted = [
        datetime(2023, 3, 12, 6, 59, 59, 999_999, UTC),
        datetime(2023, 3, 12, 7, 0, tzinfo=UTC),
        datetime(2023, 11, 5, 4, 59, 59, tzinfo=UTC),
        datetime(2023, 11, 5, 7, 0, tzinfo=UTC),
        datetime(2023, 11, 5, 5, 30, tzinfo=UTC),
        datetime(2023, 11, 5, 6, 30, tzinfo=UTC),
    ]
    micros = [(each - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for each in wanted]
    assert (piece.columns["ts_event"] // 1000).tolist() == micros


def test_an_empty_file_is_told_to_be_empty(tmp_path: Path) -> None:
    """Of a file without a byte it was said that no feed recognises it."""
    (tmp_path / "none.csv").touch()
    with pytest.raises(InvalidInputError, match="the file is empty"):
        feed_of(Source(tmp_path / "none.csv"))


@pytest.mark.parametrize("line", ['"1"x,"2', '","', '1,"2', '"1","2","3","4'])
def test_lines_spoilt_by_quotes_take_no_longer_than_others(line: str) -> None:
    """Each spoilt line was looked at up to a mebibyte ahead: 400,000 of them took nine minutes."""
    block = (line + "\n").encode() * 200_000
    split_quoted(block[:1000], 2, is_last=True)
    fields, rest = split_quoted(block, 2, is_last=True)
    assert rest == b""
    assert len(fields.starts) > 50_000
