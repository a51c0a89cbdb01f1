"""LOBSTER: each type of message, the book beside it, bad rows, and the real day against a plain reading."""

from __future__ import annotations

import csv
import gzip
import zipfile
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.feeds.lobster.feed import LobsterFeed
from tickvault.market.feeds.lobster.messages import decode_messages
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source
from tickvault.market.schema import PRICE_NULL, SIZE_NULL

MESSAGES = "ABC_2012-06-21_34200000_57600000_message_1.csv"
BOOK = "ABC_2012-06-21_34200000_57600000_orderbook_1.csv"
HEADER = "Time,Type,OrderId,Size,Price,Direction\n"
NO_OPTIONS = IngestOptions()


def decode(path: Path, options: IngestOptions = NO_OPTIONS) -> tuple[int, list[Piece], list[Quarantined]]:
    found = list(LobsterFeed().decode(Source(path), options))
    rows = sum(item.rows for item in found if isinstance(item, Counted))
    return rows, [i for i in found if isinstance(i, Piece)], [i for i in found if isinstance(i, Quarantined)]


def written(folder: Path, text: str, name: str = MESSAGES) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def new_york(seconds: str, date: str = "2012-06-21") -> int:
    begin = datetime.fromisoformat(date).replace(tzinfo=ZoneInfo("America/New_York"))
    return int(begin.timestamp()) * 10**9 + int(Decimal(seconds) * 10**9)


def rows_of(piece: Piece) -> list[tuple[str, str, int, int, int, int]]:
    columns = piece.columns
    letters = [[chr(code) for code in columns[name].tolist()] for name in ("action", "side")]
    numbers = [columns[name].tolist() for name in ("order_id", "size", "price", "flags")]
    return list(zip(*letters, *numbers, strict=True))


def test_each_type_becomes_the_rows_that_change_the_book_as_it_does(tmp_path: Path) -> None:
    text = (
        "34200.017459617,1,11,21,2238100,1\n"
        "34200.1,2,11,5,2238100,1\n"
        "34200.2,4,11,6,2238100,1\n"
        "34200.3,3,11,10,2238100,1\n"
        "34200.4,5,0,100,2238450,-1\n"
        "34200.5,6,-1,5000,2239000,-1\n"
        "34200.6,1,12,7,2240000,-1\n"
        "34200.7,4,12,7,2240000,-1\n"
    )
    rows, pieces, bad = decode(written(tmp_path, text))
    assert (rows, bad) == (8, [])
    (piece,) = pieces
    assert (piece.venue, piece.symbol, piece.columns.schema.name, piece.columns.size_scale) == ("XNAS", "ABC", "mbo", 1)
    assert rows_of(piece) == [
        ("A", "B", 11, 21, 223_810_000_000, 128),
        ("C", "B", 11, 5, 223_810_000_000, 128),
        ("T", "A", 0, 6, 223_810_000_000, 0),
        ("F", "B", 11, 6, 223_810_000_000, 0),
        ("C", "B", 11, 6, 223_810_000_000, 128),
        ("C", "B", 11, 10, 223_810_000_000, 128),
        ("T", "B", 0, 100, 223_845_000_000, 128),
        ("T", "N", 0, 5000, 223_900_000_000, 128),
        ("A", "A", 12, 7, 224_000_000_000, 128),
        ("T", "B", 0, 7, 224_000_000_000, 0),
        ("F", "A", 12, 7, 224_000_000_000, 0),
        ("C", "A", 12, 7, 224_000_000_000, 128),
    ]
    assert piece.ordinals.tolist() == list(range(12))
    times = [new_york(at) for at in ("34200.017459617", "34200.1", "34200.2", "34200.2", "34200.2")]
    assert piece.columns["ts_event"][:5].tolist() == times
    assert "ts_recv" not in piece.columns.arrays


def test_halts_become_status_with_ordinals_of_their_own(tmp_path: Path) -> None:
    text = HEADER + "100,1,5,1,100,1\n200,7,0,0,-1,-1\n300,7,0,0,0,-1\n400,7,0,0,1,-1\n500,3,5,1,100,1\n"
    rows, pieces, bad = decode(written(tmp_path, text))
    assert (rows, bad) == (5, [])
    mbo, status = pieces
    assert mbo.ordinals.tolist() == [0, 4]
    assert status.ordinals.tolist() == [1, 2, 3]
    assert status.columns.schema.name == "status"
    assert status.columns["status_action"].tolist() == [8, 3, 7]
    assert bytes(status.columns["is_trading"]) == b"NNY"
    assert bytes(status.columns["is_quoting"]) == b"NYY"
    assert status.columns["ts_event"].tolist() == [new_york(at) for at in ("200", "300", "400")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("34200.1,1,11,21,2238100", "6 fields"),
        ("34200.1,1,11,21,2238100,1,9", "6 fields"),
        ("", "6 fields"),
        ("x,1,11,21,2238100,1", "Time"),
        (",1,11,21,2238100,1", "Time"),
        ("86400,1,11,21,2238100,1", "Time"),
        ("-1,1,11,21,2238100,1", "Time"),
        ("34200.1,8,11,21,2238100,1", "Type"),
        ("34200.1,0,11,21,2238100,1", "Type"),
        ("34200.1,1,-11,21,2238100,1", "OrderId"),
        ("34200.1,1,11,-21,2238100,1", "Size"),
        ("34200.1,1,11,2.5,2238100,1", "Size"),
        ("34200.1,1,11,21,,1", "Price"),
        ("34200.1,1,11,21,92233720368548,1", "Price"),
        ("34200.1,7,0,0,2,1", "Price of a halt"),
        ("34200.1,1,11,21,2238100,-10", "Direction"),
        ("34200.1,4,11,21,2238100,0", "Direction"),
    ],
)
def test_a_row_that_cannot_be_decoded_is_quarantined_and_the_others_go_on(
    tmp_path: Path, line: str, reason: str
) -> None:
    rows, pieces, bad = decode(written(tmp_path, f"1,1,1,1,1,1\r\n{line}\r\n2,3,1,1,1,1\r\n"))
    assert rows == 3
    assert [(item.row, item.raw) for item in bad] == [(1, line.encode())]
    assert reason in bad[0].reason
    assert [row[0] for row in rows_of(pieces[0])] == ["A", "C"]
    assert pieces[0].ordinals.tolist() == [0, 1]


def test_blank_lines_at_the_end_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    rows, pieces, bad = decode(written(tmp_path, "\ufeff" + HEADER + "1,1,1,1,1,1\n2,3,1,1,1,1\n\r\n\n \n"))
    assert (rows, len(pieces[0].columns), bad) == (2, 2, [])
    assert decode(written(tmp_path, ""))[:2] == (0, [])
    assert decode(written(tmp_path, HEADER))[:2] == (0, [])


def test_what_the_name_does_not_say_is_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + "34200.5,1,1,1,1,1\n", "mine.csv")
    assert LobsterFeed().recognises(Source(path))
    with pytest.raises(InvalidInputError, match="symbol="):
        decode(path)
    with pytest.raises(InvalidInputError, match="date="):
        decode(path, IngestOptions(symbol="ABC"))
    with pytest.raises(InvalidInputError, match="no date"):
        decode(path, IngestOptions(symbol="ABC", date="2012-13-01"))
    # In winter the clock of New York is five hours behind.
    _, (piece,), _ = decode(path, IngestOptions(symbol="ABC", date="2012-01-03"))
    assert piece.symbol == "ABC"
    assert piece.columns["ts_event"].tolist() == [new_york("34200.5", "2012-01-03")]


def test_recognises_only_its_own(tmp_path: Path) -> None:
    feed = LobsterFeed()
    assert feed.recognises(Source(written(tmp_path, "1,1,1,1,1,1\n")))
    assert feed.recognises(Source(written(tmp_path, "1,1,1,1\n", BOOK)))
    assert not feed.recognises(Source(written(tmp_path, "1,1,1\n", MESSAGES)))
    assert not feed.recognises(Source(written(tmp_path, "1,1,1,1,1,1\n", "other.csv")))
    assert not feed.recognises(Source(written(tmp_path, "Date,Open\n1,2\n", "daily.csv")))
    assert not feed.recognises(Source(written(tmp_path, HEADER, "messages.txt")))


def book_line(levels: int, start: int = 1_000_000) -> str:
    fields: list[int] = []
    for level in range(levels):
        fields += [start + 100 * level + 100, 10 + level, start - 100 * level, 20 + level]
    return ",".join(map(str, fields))


def test_a_book_of_one_level_takes_its_times_from_the_messages_beside_it(tmp_path: Path) -> None:
    written(tmp_path, HEADER + "1.5,1,1,1,1,1\n2,1,2,1,1,1\n3,7,0,0,-1,-1\n")
    text = "1000100,10,1000000,20\n9999999999,0,1000000,20\n1000100,10,-9999999999,0\n"
    rows, (piece,), bad = decode(written(tmp_path, text, BOOK))
    assert (rows, bad, piece.columns.schema.name) == (3, [], "bbo")
    columns = piece.columns
    assert columns["ts_event"].tolist() == [new_york(at) for at in ("1.5", "2", "3")]
    assert columns["ask_px_00"].tolist() == [100_010_000_000, PRICE_NULL, 100_010_000_000]
    assert columns["ask_sz_00"].tolist() == [10, SIZE_NULL, 10]
    assert columns["bid_px_00"].tolist() == [100_000_000_000, 100_000_000_000, PRICE_NULL]
    assert columns["bid_sz_00"].tolist() == [20, 20, SIZE_NULL]
    assert columns["flags"].tolist() == [128] * 3


@pytest.mark.parametrize("levels", [2, 5, 10])
def test_a_book_of_more_levels_is_mbp_10_with_nulls_beyond(tmp_path: Path, levels: int) -> None:
    written(tmp_path, "1,1,1,1,1,1\n", MESSAGES.replace("_1.csv", f"_{levels}.csv"))
    _, (piece,), _ = decode(written(tmp_path, book_line(levels) + "\n", BOOK.replace("_1.csv", f"_{levels}.csv")))
    assert piece.columns.schema.name == "mbp-10"
    for level in range(10):
        there = level < levels
        assert piece.columns[f"ask_px_{level:02d}"][0] == (
            100_010_000_000 + 10_000_000 * level if there else PRICE_NULL
        )
        assert piece.columns[f"bid_sz_{level:02d}"][0] == (20 + level if there else SIZE_NULL)


def test_bad_books_are_refused_or_quarantined_with_words(tmp_path: Path) -> None:
    path = written(tmp_path, "1,1,1,1\n2,1,1,1\n", BOOK)
    with pytest.raises(InvalidInputError, match=f"there is no {MESSAGES}"):
        decode(path)
    messages = written(tmp_path, "1,1,1,1,1,1\n")
    with pytest.raises(InvalidInputError, match="2 rows and its messages"):
        decode(path)
    messages.write_text("1,1,1,1,1,1\nx,1,1,1,1,1\n1,1,1,1,1,1\n1,1,1,1,1,1\n")
    path.write_text("1,1,1,1\n2,1,1,1\n1,x,1,1\n1,2,3\n")
    rows, (piece,), bad = decode(path)
    assert (rows, piece.ordinals.tolist()) == (4, [0])
    assert [item.row for item in bad] == [1, 2, 3]
    for item, reason in zip(bad, ("message in this line", "ask price and size of level 1", "4 fields"), strict=True):
        assert reason in item.reason
    wide = written(tmp_path, book_line(11) + "\n", BOOK.replace("_1.csv", "_11.csv"))
    with pytest.raises(InvalidInputError, match="at most 10"):
        decode(wide)
    with pytest.raises(InvalidInputError, match="first row has 5"):
        decode(written(tmp_path, "1,2,3,4,5\n", BOOK))


def test_a_zip_holds_both_files(tmp_path: Path) -> None:
    path = tmp_path / "sample.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ReadMe.txt", "LOBSTER")
        archive.writestr("folder/" + MESSAGES, "1,1,1,1,1,1\n2,4,1,1,1,1\n")
        archive.writestr("folder/" + BOOK, "1,1,1,1\n2,1,1,1\n")
    assert LobsterFeed().recognises(Source(path))
    rows, pieces, _ = decode(path)
    assert rows == 4
    assert [(piece.columns.schema.name, piece.ordinals.tolist()) for piece in pieces] == [
        ("mbo", [0, 1, 2, 3]),
        ("bbo", [4, 5]),
    ]


def test_a_compressed_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    packed = gzip.compress("".join(f"{n},1,{n},1,1,1\n" for n in range(1, 20_000)).encode())
    path = tmp_path / (MESSAGES + ".gz")
    path.write_bytes(packed)
    assert decode(path)[0] == 19_999
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(IntegrityError, match="cut off"):
        decode(path)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 86_399 * 10**9),
            st.sampled_from([1, 2, 3, 4, 5]),
            st.integers(0, 2**62),
            st.integers(0, 10**9),
            st.integers(1, 10**12),
            st.sampled_from([1, -1]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_numbers_come_back_exactly(messages: Sequence[tuple[int, ...]]) -> None:
    text = "".join(f"{at // 10**9}.{at % 10**9:09d},{','.join(map(str, rest))}\n" for at, *rest in messages)
    found = decode_messages(text.encode(), "2012-06-21")
    assert not found.wrong
    ends = np.flatnonzero(found.mbo["flags"] == 128)
    assert found.mbo["ts_event"][ends].tolist() == [new_york("0") + row[0] for row in messages]
    assert found.mbo["size"][ends].tolist() == [row[3] for row in messages]
    assert found.mbo["price"][ends].tolist() == [row[4] * 100_000 for row in messages]
    orders = [0 if row[1] == 5 else row[2] for row in messages]
    assert found.mbo["order_id"][ends].tolist() == orders


def test_the_real_messages_agree_with_a_plain_reading(market_data: Path) -> None:
    path = market_data / "lobster" / "AMZN_2012-06-21_34200000_57600000_message_1.csv"
    assert LobsterFeed().recognises(Source(path))
    rows, pieces, bad = decode(path)
    expected: list[tuple[str, str, int, int, int, int, int]] = []
    midnight = new_york("0")
    with path.open(newline="") as file:
        for at, kind, order, size, price, direction in list(csv.reader(file))[1:]:
            own, other = ("B", "A") if direction == "1" else ("A", "B")
            when, paid = midnight + int(Decimal(at) * 10**9), int(price) * 100_000
            actions = {"1": "A", "2": "C", "3": "C", "4": "TFC", "5": "T"}[kind]
            for action in actions:
                trade = action == "T"
                flags = 128 if action == actions[-1] else 0
                expected.append(
                    (action, other if trade else own, 0 if trade else int(order), int(size), paid, flags, when)
                )
    assert (rows, bad) == (57_515, [])
    got = [
        (*row, at)
        for piece in pieces
        for row, at in zip(rows_of(piece), piece.columns["ts_event"].tolist(), strict=True)
    ]
    assert got == expected
    assert np.concatenate([piece.ordinals for piece in pieces]).tolist() == list(range(len(expected)))


def test_the_real_book_agrees_with_a_plain_reading(market_data: Path) -> None:
    folder = market_data / "lobster"
    path = folder / "AMZN_2012-06-21_34200000_57600000_orderbook_1.csv"
    assert LobsterFeed().recognises(Source(path))
    rows, pieces, bad = decode(path)
    with path.open(newline="") as file:
        books = [tuple(map(int, line)) for line in list(csv.reader(file))[1:]]
    with (folder / "AMZN_2012-06-21_34200000_57600000_message_1.csv").open(newline="") as file:
        times = [new_york("0") + int(Decimal(line[0]) * 10**9) for line in list(csv.reader(file))[1:]]
    assert (rows, bad) == (57_515, [])
    got = {
        name: np.concatenate([piece.columns[name] for piece in pieces])
        for name in ("ts_event", "ask_px_00", "ask_sz_00", "bid_px_00", "bid_sz_00")
    }
    assert got["ts_event"].tolist() == times
    for place, name in enumerate(("ask_px_00", "ask_sz_00", "bid_px_00", "bid_sz_00")):
        scale = 100_000 if "_px_" in name else 1
        assert got[name].tolist() == [scale * book[place] for book in books]
