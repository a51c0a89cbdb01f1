"""IEX DEEP and TOPS: each message's rows, gaps, and captures of either kind, against a plain reading."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import captures_writing as write
import iex_reading as iex
import itch_reading as itch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iex_reading import Row, message, segment

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Columns
from tickvault.market.feeds.iex import feed as feed_module
from tickvault.market.feeds.iex.feed import IexFeed
from tickvault.market.feeds.itch.feed import ItchFeed
from tickvault.market.feeds.protocol import Counted, IngestOptions, Piece, Quarantined
from tickvault.market.feeds.source import Source

T = 1_532_526_300_000_000_001
NONE = 2**63 - 1


class Decoded:
    """What a feed gave, row by row in the order of the ordinals."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.feed = IexFeed()
        self.pieces: list[Piece] = []
        self.bad: list[Quarantined] = []
        self.count = 0
        self.damage: IntegrityError | None = None
        try:
            for one in self.feed.decode(Source(path), IngestOptions(**options)):
                if isinstance(one, Piece):
                    self.pieces.append(one)
                elif isinstance(one, Quarantined):
                    self.bad.append(one)
                else:
                    assert isinstance(one, Counted)
                    self.count += one.rows
        except IntegrityError as error:
            self.damage = error
        found = {int(o): (p.symbol, p.columns, r) for p in self.pieces for r, o in enumerate(p.ordinals)}
        assert sorted(found) == list(range(sum(len(piece.columns) for piece in self.pieces)))
        self.rows = [_row(*found[ordinal]) for ordinal in sorted(found)]

    def series(self, symbol: str, schema: str) -> list[Columns]:
        return [p.columns for p in self.pieces if p.symbol == symbol and p.columns.schema.name == schema]


def _row(symbol: str, columns: Columns, place: int) -> Row:
    schema = columns.schema.name

    def number(name: str) -> int | None:
        value = int(columns[name][place])
        return None if value == NONE else value

    def word(name: str) -> str | None:
        code = int(columns[name][place])
        return columns.dictionaries[name][code] if code >= 0 else None

    ts, received = int(columns["ts_event"][place]), int(columns["ts_recv"][place])
    side = chr(columns["side"][place]) if schema in ("mbp-delta", "trades") else ""
    if schema == "mbp-delta":
        assert columns["first_update_id"][place] == columns["last_update_id"][place]
        values = (side, number("price"), number("size"))
        return Row(
            symbol, schema, ts, received, int(columns["last_update_id"][place]), int(columns["flags"][place]), values
        )
    if schema == "bbo":
        made: tuple[Any, ...] = tuple(number(f"{side}_{what}_00") for side in ("bid", "ask") for what in ("px", "sz"))
        made = (*made, word("conditions"))
    elif schema == "trades":
        made = (
            chr(columns["action"][place]),
            side,
            number("price"),
            number("size"),
            number("trade_id"),
            word("conditions"),
        )
    else:
        kind = {"definition": "D", "statistics": "X"}.get(schema) or chr(columns["message"][place])
        sequence = 0 if kind == "D" else int(columns["sequence"][place])
        return Row(symbol, schema, ts, received, sequence, 128, (kind,))
    return Row(symbol, schema, ts, received, int(columns["sequence"][place]), int(columns["flags"][place]), made)


def plain(rows: list[Row]) -> list[Row]:
    return [row._replace(sequence=0) if row.schema == "definition" else row for row in rows]


def decode(folder: Path, messages: list[bytes], **options: Any) -> Decoded:
    path = folder / "data_feeds_20180725_IEXTP1.pcap"
    path.write_bytes(write.pcap([(T, write.packet(segment(1, messages, **options)))]))
    return Decoded(path)


def agree(found: Decoded, wanted: tuple[list[Row], list[int]], count: int) -> None:
    assert found.rows == plain(wanted[0])
    assert [one.row for one in found.bad] == wanted[1]
    assert found.count == count


def numbered(messages: list[bytes], doubt: int = 0) -> list[tuple[int, int, bytes, int]]:
    return [(place + 1, T, one, doubt) for place, one in enumerate(messages)]


def test_each_message(tmp_path: Path) -> None:
    messages = [
        message("S", "O", T),
        message("D", 0xA0, T, "ZIEXT", 100, 990_500, 1),
        message("H", "T", T, "ZIEXT", b"    "),
        message("8", 0, T + 1, "ZIEXT", 9700, 990_500),
        message("5", 1, T + 1, "ZIEXT", 0, 990_700),
        message("8", 1, T + 2, "AAPL", 1, 1),
        message("T", 0, T + 3, "ZIEXT", 100, 990_500, 429_974),
        message("T", 0xF8, T + 3, "ZIEXT", 7, 990_500, 429_975),
        message("B", 0x20, T + 4, "ZIEXT", 100, 990_500, 429_974),
        message("X", "Q", T + 5, "ZIEXT", 990_500),
        message("X", "M", T + 5, "ZIEXT", 990_600),
        message("I", "A", T, "ZIEXT"),
        message("A", "O", T, "ZIEXT", 1, 2, 3, 4, b"B", 5, 6, 7, 8, 9, 10),
        b"?unknown",
    ]
    found = decode(tmp_path, messages)
    agree(found, iex.read(numbered(messages)), 14)
    levels = [row for row in found.rows if row.schema == "mbp-delta"]
    assert levels[0] == Row("ZIEXT", "mbp-delta", T + 1, T, 4, 0, ("B", 99_050_000_000, 9700))
    assert levels[1] == Row("ZIEXT", "mbp-delta", T + 1, T, 5, 128, ("A", 99_070_000_000, 0))
    trades = [row.values for row in found.rows if row.schema == "trades"]
    assert trades == [
        ("T", "N", 99_050_000_000, 100, 429_974, None),
        ("T", "N", 99_050_000_000, 7, 429_975, "FTI8X"),
        ("C", "N", 99_050_000_000, 100, 429_974, "I"),
    ]
    (official,) = found.series("ZIEXT", "statistics")
    assert official["stat_type"].tolist() == [1, 11] and official["price"].tolist() == [99_050_000_000, 99_060_000_000]
    (directory,) = found.series("ZIEXT", "definition")
    marks = [chr(directory[name][0]) for name in ("is_test", "is_when_issued", "is_etp")]
    assert marks == ["Y", "N", "Y"] and directory["adjusted_close"].tolist() == [99_050_000_000]
    assert (found.feed.tally.unknown, found.feed.tally.messages["T"]) == (1, 2)
    assert {piece.venue for piece in found.pieces} == {"IEXG"}


def test_quotes(tmp_path: Path) -> None:
    messages = [
        message("Q", 0, T, "ZIEXT", 9700, 990_500, 990_700, 1000),
        message("Q", 0x40, T, "ZIEXT", 0, 0, 990_700, 1000),
        message("Q", 0xC0, T, "ZIEXT", 9700, 990_500, 0, 0),
        message("Q", 0x80, T, "ZIEXT", 0, 0, 0, 0),
    ]
    found = decode(tmp_path, messages, protocol=iex.TOPS_16)
    agree(found, iex.read(numbered(messages)), 4)
    assert [row.values for row in found.rows] == [
        (99_050_000_000, 9700, 99_070_000_000, 1000, None),
        (None, None, 99_070_000_000, 1000, "P"),
        (99_050_000_000, 9700, None, None, "AP"),
        (None, None, None, None, "A"),
    ]


def test_tops_15_has_longer_trades(tmp_path: Path) -> None:
    messages = [message("T", 0, T, "A", 1, 2, 3, more=bytes(4)), message("B", 0, T, "A", 1, 2, 3, more=bytes(4))]
    found = decode(tmp_path, messages, protocol=iex.TOPS_15)
    agree(found, iex.read(numbered(messages)), 2)
    assert not found.bad


def test_status(tmp_path: Path) -> None:
    messages = [
        *(message("S", event, T) for event in "OSRMEC"),
        *(message("H", state, T, "A", b"T1  ") for state in "HOPTZ"),
        *(message("O", state, T, "B") for state in "ON"),
        message("P", 0, T, "C", b" "),
        message("P", 1, T, "C", b"A"),
        message("E", "O", T, "D"),
    ]
    found = decode(tmp_path, messages)
    agree(found, iex.read(numbered(messages)), len(messages))
    actions = {name: found.series(name, "status")[0]["status_action"].tolist() for name in "*ABCD"}
    assert actions == {"*": [0, 1, 7, 13, 12, 0], "A": [8, 2, 9, 7, 65535], "B": [8, 0], "C": [14, 14], "D": [0]}
    (short,) = found.series("C", "status")
    assert bytes(short["is_short_sell_restricted"].tolist()) == b"NY"
    assert [short.dictionaries["code"][code] for code in short["code"]] == ["", "A"]
    (halts,) = found.series("A", "status")
    assert halts["reason"].tolist() == [30] * 5 and bytes(halts["is_trading"].tolist()) == b"NNNY~"


def test_what_is_not_right_is_quarantined(tmp_path: Path) -> None:
    messages = [
        message("8", 1, T, "A", 1, 2)[:-1],
        message("8", 1, T, "A", 1, -2),
        message("T", 1, T, "A", 1, 2**62, 1),
        message("Q", 0, T, "A", 1, 5, -1, 1),
        message("5", 1, T, "A", 1, 2, more=b"grown"),
        b"",
        message("T", 1, T, "A", 1, (2**63 - 2) // 100_000, 1),
    ]
    found = decode(tmp_path, messages)
    agree(found, iex.read(numbered([one or b"?" for one in messages])), 7)
    assert len(found.bad) == 4 and len(found.rows) == 2
    assert "has 29 bytes, and should have 30 or more" in found.bad[0].reason


def test_gaps_and_streams(tmp_path: Path) -> None:
    def level(number: int) -> bytes:
        return message("8", 1, T + number, "A", number, 100)

    frames = [
        segment(1, []),
        segment(1, [level(1), level(2)]),
        segment(1, [message("Q", 0, T, "A", 1, 2, 3, 4)], protocol=iex.TOPS_16),
        segment(2, [level(2), level(3)]),
        segment(6, [level(6)]),
        segment(6, [level(6)]),
        segment(2, [message("T", 0, T, "A", 1, 2, 3)], protocol=iex.TOPS_16),
        segment(9, []),
        segment(9, [level(9)]),
        segment(1, [message("8", 0, T, "A", 1, 2)], protocol=0x8005),
        segment(1, [level(1)], session=5),
        b"\2" + segment(1, [level(1)])[1:],
        segment(10, [level(10)])[:-1],
    ]
    path = tmp_path / "x.pcapng"
    path.write_bytes(write.pcapng([(T + place, write.packet(one)) for place, one in enumerate(frames)]))
    found = Decoded(path)
    told = [(row.schema, row.sequence, row.flags, row.ts_recv - T) for row in found.rows]
    assert told == [
        ("mbp-delta", 1, 128, 1),
        ("mbp-delta", 2, 128, 1),
        ("bbo", 1, 128, 2),
        ("mbp-delta", 3, 128, 3),
        ("mbp-delta", 6, 132, 4),
        ("trades", 2, 128, 6),
        ("mbp-delta", 9, 132, 8),
        ("mbp-delta", 1, 128, 10),
    ]
    tally = found.feed.tally
    assert (tally.gaps, tally.missing, tally.repeated, tally.foreign) == (2, 4, 2, 3)


def test_captures_of_every_kind(tmp_path: Path) -> None:
    body = segment(1, [message("8", 1, T, "A", 1, 2)])
    path = tmp_path / "x.pcap.gz"
    for frame in (
        write.ethernet(write.ipv4(write.udp(body)), vlans=[(0x8100, 5)]),
        write.ethernet(write.ipv6(write.udp(body)), kind=0x86DD, padding=3),
        write.ethernet(write.ipv4(write.udp(body), options=bytes(8))),
    ):
        for data in (write.pcap([(T, frame)], endian=">", nano=False), write.pcapng([(T, frame)], endian=">")):
            path.write_bytes(gzip.compress(data))
            assert IexFeed().recognises(Source(path)) and not ItchFeed().recognises(Source(path))
            assert [row.values for row in Decoded(path).rows] == [("B", 200_000, 1)]


def test_cut_off_and_damaged(tmp_path: Path) -> None:
    frame = write.packet(segment(1, [message("8", 1, T, "A", 1, 2)] * 3))
    later = write.packet(segment(4, [message("8", 1, T, "A", 1, 2)]))
    path = tmp_path / "x.pcap"
    path.write_bytes(write.pcap([(T, frame), (T, later)], kept=len(frame) - 40))
    found = Decoded(path)
    assert [row.flags for row in found.rows] == [128, 132]
    assert (found.count, [one.row for one in found.bad]) == (4, [1])
    data = write.pcap([(T, frame), (T, later)])
    path.write_bytes(data[:-1])
    found = Decoded(path)
    assert (found.count, [one.reason for one in found.bad]) == (4, ["the file ends inside it"])
    path.write_bytes(data + b"\xff" * 30)
    found = Decoded(path)
    assert len(found.rows) == 4 and found.damage is not None
    path.write_bytes(gzip.compress(data * 1)[:-9])
    assert Decoded(path).damage is not None


def test_recognised_or_not(tmp_path: Path) -> None:
    good = segment(1, [message("8", 1, T, "A", 1, 2)])
    files = {
        "a": (write.pcap([(T, write.packet(good))]), True),
        "b": (write.pcap([(T, write.packet(b"noise")), (T, write.packet(segment(1, [])))]), True),
        "c": (write.pcap([(T, write.packet(segment(1, [], protocol=0x8005)))]), False),
        "d": (write.pcap([(T, write.packet(good + b"x"))]), False),
        "e": (write.pcap([(T, write.packet(itch.mold(1, [itch.stock(1, "A")])))]), False),
        "f": (b"a,b\n1,2\n", False),
        "g": (b"", False),
        "h": (write.pcap([]), False),
    }
    for name, (data, wanted) in files.items():
        (tmp_path / name).write_bytes(data)
        assert IexFeed().recognises(Source(tmp_path / name)) is wanted, name
        if not wanted and name != "d":
            with pytest.raises(InvalidInputError):
                Decoded(tmp_path / name)


def script(seed: int, count: int) -> list[bytes]:
    """Return random messages, some of them not right."""
    chance = random.Random(seed)
    made = []
    for place in range(count):
        kind = chance.choice("85858585QQTBXDHOPEIS?")
        name, ts, size, price = f"S{chance.randrange(6)}", T + place, chance.randrange(3), chance.randrange(-1, 1 << 40)
        fields: dict[str, tuple[Any, ...]] = {
            "Q": (name, size, price, chance.randrange(1 << 30), chance.randrange(2)),
            "T": (name, size, price, place),
            "B": (name, size, price, place),
            "X": (name, abs(price)),
            "D": (name, 100, 5, 1),
            "H": (name, b"LUDP"),
            "P": (name, b"A"),
            "S": (),
            "8": (name, size, price),
            "5": (name, size, price),
        }
        if kind == "?":
            made.append(b"?" * chance.randrange(1, 50))
            continue
        detail = chance.randrange(256) if kind in "85QTBDP" else chance.choice("OTQ")
        one = message(kind, detail, ts, *fields.get(kind, (name,)))
        made.append(one[:-1] if chance.random() < 0.05 else one + bytes(chance.choice((0, 0, 3))))
    return made


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 200), chunk=st.integers(60, 3000), batch=st.integers(1, 60))
def test_agrees_with_a_plain_reading(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, chunk: int, batch: int
) -> None:
    messages = script(seed, count)
    chance = random.Random(seed)
    frames, wanted, begin, lost = [], [], 0, False
    while begin < len(messages):
        part = messages[begin : begin + chance.randrange(1, 9)]
        missing = chance.random() < 0.05
        lost = lost or missing
        if not missing:
            received = T + begin * 1000
            for _ in range(chance.choice((1, 1, 2))):
                frames.append((received, write.packet(segment(begin + 1, part))))
            wanted += [(begin + 1 + step, received, one, 4 if lost else 0) for step, one in enumerate(part)]
        begin += len(part)
    if not frames:
        return
    path = tmp_path_factory.mktemp("iex") / "x.pcap"
    path.write_bytes(write.pcapng(frames) if seed % 2 else write.pcap(frames))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tickvault.market.feeds.pcap.CHUNK_SIZE", chunk)
        patch.setattr(feed_module, "ROWS_A_BATCH", batch)
        agree(Decoded(path), iex.read(wanted), len(wanted))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), flips=st.lists(st.tuples(st.integers(24, 4000), st.integers(0, 255)), max_size=9))
def test_no_damage_breaks_the_kernel(
    tmp_path_factory: pytest.TempPathFactory, seed: int, flips: list[tuple[int, int]]
) -> None:
    messages = script(seed, 60)
    frames = [(T, write.packet(segment(place + 1, messages[place : place + 3]))) for place in range(0, 60, 3)]
    data = bytearray(write.pcapng(frames) if seed % 2 else write.pcap(frames))
    for place, value in flips:
        data[place % len(data)] = value
    path = tmp_path_factory.mktemp("iex") / "x.pcap"
    path.write_bytes(data)
    try:
        found = Decoded(path)
    except InvalidInputError:
        assert flips
        return
    assert len(found.rows) + len(found.bad) <= found.count
