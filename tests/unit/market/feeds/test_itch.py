"""Nasdaq TotalView-ITCH 5.0: each message's rows, files and captures, against a plain reading."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import captures_writing as write
import itch_reading as itch
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from itch_decoded import NOON, Decoded, T, add, agree, decode, numbered, script
from itch_reading import DAY, Row, message, midnight_ns, stock

from tickvault.errors import InvalidInputError
from tickvault.market.feeds.itch import feed as feed_module
from tickvault.market.feeds.itch.feed import ItchFeed, date_of
from tickvault.market.feeds.protocol import Quarantined
from tickvault.market.feeds.source import Source


def test_lengths_are_the_specification_s() -> None:
    sizes = {kind: 11 + struct.calcsize(">" + body) for kind, body in itch.BODIES.items()}
    assert sizes == feed_module.SIZES


def test_each_message(tmp_path: Path) -> None:
    messages = [
        message("S", 0, 1, "O"),
        stock(7, "AAPL"),
        add(1),
        add(2, "S", 50, 1_235_000, "F"),
        message("E", 7, NOON + 1, 1, 100, 900),
        message("C", 7, NOON + 2, 1, 50, 901, "Y", 1_234_400),
        message("C", 7, NOON + 3, 1, 50, 902, "N", 1_234_300),
        message("X", 7, NOON + 4, 1, 60),
        message("U", 7, NOON + 5, 1, 3, 500, 1_233_000),
        message("D", 7, NOON + 6, 3),
        message("E", 7, NOON + 7, 2, 50, 903),
        message("P", 7, NOON + 8, 0, "B", 10, b"AAPL    ", 1_234_567, 904),
        message("Q", 7, NOON + 9, 5_000_000_000, b"AAPL    ", 1_234_600, 905, "O"),
        message("Q", 7, NOON + 9, 0, b"AAPL    ", 0, 0, "C"),
        message("B", 7, NOON + 10, 904),
        message("I", 7, NOON, 1, 2, "B", b"AAPL    ", 1, 2, 3, "O", "L"),
        message("N", 7, NOON, b"AAPL    ", "A"),
        message("O", 7, NOON, b"AAPL    ", "Y", 1, 2, 3, 4, 5, 6),
        b"?unknown",
    ]
    found = decode(tmp_path, messages)
    agree(found, itch.read(numbered(messages)))
    mbo = [row for row in found.rows if row.schema == "mbo"]
    assert [row.action for row in mbo] == list("AATFCTFCTFCCCACTFCTTN")
    at = midnight_ns() + NOON
    assert mbo[2] == Row("AAPL", "mbo", at + 1, 5, "T", "A", 123_450_000_000, 100, 0, 900, "Y", 0)
    assert mbo[3] == Row("AAPL", "mbo", at + 1, 5, "F", "B", 123_450_000_000, 100, 1, 900, "Y", 0)
    assert mbo[4] == Row("AAPL", "mbo", at + 1, 5, "C", "B", 123_450_000_000, 100, 1)
    assert mbo[8].printable == "N" and mbo[8].price == 123_430_000_000
    assert mbo[12].size == 40 and mbo[12].flags == 0
    assert mbo[13] == Row("AAPL", "mbo", at + 5, 9, "A", "B", 123_300_000_000, 500, 3)
    assert mbo[14].size == 500
    assert mbo[17].side == "A" and mbo[15].side == "B"
    trades = [row for row in found.rows if row.schema == "trades"]
    assert [(row.action, row.match, row.conditions) for row in trades] == [
        ("T", 900, None),
        ("T", 901, "own price"),
        ("T", 903, None),
        ("T", 904, "hidden"),
        ("T", 905, "cross O"),
        ("C", 904, None),
    ]
    assert trades[4].size == 5_000_000_000
    assert (found.count, found.bad, found.feed.tally.unknown) == (19, [], 1)
    assert found.feed.tally.messages["C"] == 2
    assert {piece.venue for piece in found.pieces} == {"XNAS"}
    (columns,) = found.series("AAPL", "mbo")
    assert set(columns["instrument_id"].tolist()) == {7}


def test_definition_and_status(tmp_path: Path) -> None:
    messages = [
        stock(1, "AAPL"),
        stock(2, "ZVZZT", test=True),
        *(message("S", 0, place, event) for place, event in enumerate("OSQMEC")),
        message("H", 1, NOON, b"AAPL    ", "H", " ", b"T1  "),
        message("H", 1, NOON, b"AAPL    ", "Q", " ", b"T3  "),
        message("H", 1, NOON, b"AAPL    ", "T", " ", b"    "),
        message("H", 1, NOON, b"AAPL    ", "P", " ", b"LUDP"),
        message("H", 1, NOON, b"AAPL    ", "Z", " ", b"WHAT"),
        *(message("Y", 2, NOON, b"ZVZZT   ", act) for act in "0129"),
        message("h", 2, NOON, b"ZVZZT   ", "Q", "H"),
        message("h", 2, NOON, b"ZVZZT   ", "B", "T"),
    ]
    found = decode(tmp_path, messages)
    agree(found, itch.read(numbered(messages)))
    (apple,) = found.series("AAPL", "definition")
    (test,) = found.series("ZVZZT", "definition")
    assert apple.dictionaries["raw_symbol"] == ["AAPL"] and test.dictionaries["raw_symbol"] == ["ZVZZT"]
    assert apple.dictionaries["security_type"][apple["security_type"][0]] == "CZ"
    assert (chr(apple["authenticity"][0]), chr(test["authenticity"][0])) == ("P", "T")
    assert int(apple["min_lot_size"][0]) == 100
    (status,) = found.series("AAPL", "status")
    assert status["status_action"].tolist() == [8, 3, 7, 9, 65535]
    assert status["reason"].tolist() == [30, 32, 0, 50, 65535]
    assert [status.dictionaries["code"][code] for code in status["code"]] == ["T1", "T3", "", "LUDP", "WHAT"]
    assert bytes(status["is_trading"].tolist()) == b"NNYN~" and bytes(status["is_quoting"].tolist()) == b"NYYN~"
    (whole,) = found.series("*", "status")
    assert whole["status_action"].tolist() == [0, 1, 7, 13, 12, 0]
    short = found.series("ZVZZT", "status")
    assert bytes(short[0]["is_short_sell_restricted"].tolist()) == b"NYY~"
    assert short[1]["status_action"].tolist() == [8, 0] and short[1]["reason"].tolist() == [60, 60]


def test_what_is_not_right_is_quarantined(tmp_path: Path) -> None:
    messages = [
        stock(7, "AAPL"),
        add(1),
        add(2)[:-1],
        add(3) + b"x",
        message("D", 7, NOON, 99),
        message("E", 7, NOON, 98, 1, 1),
        message("U", 7, NOON, 1, 5, 10, 1 << 31),
        add(4, "Z"),
        add(5, price=1 << 31),
        message("B", 9, NOON, 1),
        message("X", 7, NOON, 1, 301),
        message("D", 7, NOON, 1),
        message("A", 8, NOON, 6, "S", 10, b"MSFT    ", 5),
        message("E", 8, NOON, 6, 11, 77),
    ]
    found = decode(tmp_path, messages)
    agree(found, itch.read(numbered(messages)))
    assert [one.row for one in found.bad] == [2, 3, 4, 5, 6, 7, 8, 9, 11]
    assert found.bad[0].raw == messages[2] and "35 bytes, and should have 36" in found.bad[0].reason
    assert "not added before" in found.bad[2].reason
    over = [row for row in found.rows if row.flags & 4]
    assert [(row.action, row.size) for row in over] == [("C", 300), ("T", 11), ("F", 11), ("C", 10), ("T", 11)]


def test_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "S013019-v50.txt"
    whole = itch.file_of([stock(7, "AAPL"), add(1)])
    path.write_bytes(whole + b"\0\0")
    assert (Decoded(path).count, Decoded(path).bad) == (2, [])
    for cut in range(1, 38):
        path.write_bytes(whole[:-cut])
        found = Decoded(path)
        wanted = [Quarantined(1, "the file ends inside it", whole[41:-cut])]
        assert (found.count, found.bad) == ((2, wanted) if whole[41:-cut].strip(b"\0") else (1, []))


def test_compressed_and_cut_off(tmp_path: Path) -> None:
    messages = [stock(7, "AAPL"), *(add(order) for order in range(1, 1000))]
    path = tmp_path / "20190130.BX_ITCH_50.gz"
    path.write_bytes(gzip.compress(itch.file_of(messages)))
    found = Decoded(path)
    agree(found, itch.read(numbered(messages)))
    assert {piece.venue for piece in found.pieces} == {"XBOS"}
    path.write_bytes(gzip.compress(itch.file_of(messages))[:-20])
    assert "damaged or cut off" in str(Decoded(path, date=DAY).damage)


def test_day(tmp_path: Path) -> None:
    assert date_of("S020113-v41.txt.gz") == "2013-02-01"
    assert date_of("itch-2019-01-30.bin") == "2019-01-30"
    for name in ("12302019.20190129", "day.bin", "99999999.itch", "1234567890123.bin"):
        assert date_of(name) is None
    path = tmp_path / "day.bin"
    path.write_bytes(itch.file_of([add(1)]))
    with pytest.raises(InvalidInputError, match="say it with date="):
        Decoded(path)
    with pytest.raises(InvalidInputError, match="no day"):
        Decoded(path, date="2019-13-30")
    assert Decoded(path, date="2019-07-30").rows[0].ts_event == midnight_ns("2019-07-30") + NOON
    # The clock goes forward in the night: noon is eleven hours after midnight.
    assert Decoded(path, date="2019-03-10").rows[0].ts_event == midnight_ns("2019-03-10") + NOON - 3600 * 10**9
    assert Decoded(path, date=DAY, venue="TEST").pieces[0].venue == "TEST"


def test_recognised_or_not(tmp_path: Path) -> None:
    frames = [(T, write.packet(itch.mold(1, [add(1)])))]
    files = {
        "a": (itch.file_of([message("S", 0, 1, "O"), add(1)]), True),
        "b": (gzip.compress(itch.file_of([add(1)] * 5000)), True),
        "c": (write.pcap(frames), True),
        "d": (write.pcapng(frames), True),
        "e": (b"", False),
        "f": (b"time,price\n1,2\n", False),
        "g": (itch.file_of([b"?" * 20] * 30), False),
        "h": (itch.file_of([add(1), add(2)[:-1]]), False),
        "i": (write.pcap([(T, write.packet(b"\1\0\4\x80" + bytes(80)))]), False),
        "j": (bytes(500), False),
        "k": (b"DBN\1" + bytes(300), False),
    }
    for name, (data, wanted) in files.items():
        (tmp_path / name).write_bytes(data)
        assert ItchFeed().recognises(Source(tmp_path / name)) is wanted, name
        if not wanted:
            with pytest.raises(InvalidInputError):
                Decoded(tmp_path / name, date=DAY)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(0, 300), chunk=st.integers(64, 4000), batch=st.integers(1, 200))
def test_agrees_with_a_plain_reading(
    tmp_path_factory: pytest.TempPathFactory, seed: int, length: int, chunk: int, batch: int
) -> None:
    messages = script(seed, length)
    folder = tmp_path_factory.mktemp("itch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "CHUNK_SIZE", chunk)
        patch.setattr(feed_module, "ROWS_A_BATCH", batch)
        agree(decode(folder, messages), itch.read(numbered(messages)))


def test_many_stocks(tmp_path: Path) -> None:
    locates = range(1, 9001)
    messages = [stock(locate, f"Q{locate}") for locate in locates]
    messages += [
        message("A", locate, NOON, locate, "B", 5, f"Q{locate}".ljust(8).encode(), 7) for locate in reversed(locates)
    ]
    found = decode(tmp_path, messages)
    agree(found, itch.read(numbered(messages)))
    assert len(found.pieces) == 18_000
    assert np.array_equal(found.series("Q9000", "mbo")[0]["order_id"], [9000])


def test_a_cross_of_more_shares_than_can_be_counted_is_quarantined(tmp_path: Path) -> None:
    """A flipped bit made a cross of 2**63 shares, which became a negative size."""
    cross = (b"AAPL".ljust(8), 1_000_000, 7, b"O")
    messages = [stock(1, "AAPL"), message("Q", 1, NOON, 1 << 63, *cross), message("Q", 1, NOON, 500, *cross)]
    found = decode(tmp_path, messages)
    assert len(found.bad) == 1
    assert [row.size for row in found.rows if row.schema == "trades"] == [500]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), flips=st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), max_size=9))
@example(seed=3776, flips=[(3179, 128)])
def test_no_damage_breaks_the_kernel(
    tmp_path_factory: pytest.TempPathFactory, seed: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(itch.file_of(script(seed, 150)))
    for place, value in flips:
        data[place % len(data)] = value
    path = tmp_path_factory.mktemp("itch") / "20190130.bin"
    path.write_bytes(data)
    try:
        found = Decoded(path)
    except InvalidInputError:
        assert flips
        return
    made = {row.sequence for row in found.rows if row.schema != "definition"}
    assert len(made) + len(found.bad) <= found.count
    assert all(row.size is None or row.size >= 0 for row in found.rows)
