"""The bytes of a journal file: frozen, and every flipped bit is found."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from crc32c import crc32c

import tickvault as tv
from tickvault.market.catalog import SeriesKey
from tickvault.market.columns import Columns
from tickvault.market.journal.file import JournalFile, layout_of
from tickvault.market.journal.format import FRAME_SIZE, HEADER_SIZE, FileHeader, FrameKind, column_bytes, frame
from tickvault.market.schema import Column, Kind, schema_of
from tickvault.seam.disk import OsDisk

KEY = SeriesKey("XCME", "ESH4", "trades")
HEADER = FileHeader("0123456789abcdef", 5, KEY, 77, -1, 0)


def rows(count: int, first: int = 0) -> Columns:
    return Columns(
        schema_of("trades"),
        {
            "ts_event": np.arange(first, first + count, dtype=np.int64),
            "price": np.full(count, 42, np.int64),
            "action": np.full(count, ord("T"), np.uint8),
            "spread": np.arange(count, dtype=np.int64),
        },
        extensions=[Column("spread", Kind.PRICE, "of the quote before")],
    )


def written(path: Path, *counts: int) -> bytes:
    layout = layout_of(rows(1))
    body = HEADER.pack() + frame(FrameKind.LAYOUT, 1, 0, 5, 80, layout.pack(), HEADER.seed)
    sequence = 5
    for count in counts:
        payload = b"".join(column_bytes(rows(count, sequence), layout))
        body += frame(FrameKind.ROWS, 1, count, sequence, 80 + sequence, payload, HEADER.seed)
        sequence += count
    path.write_bytes(body + bytes(4096))
    return body


def test_the_layout_is_as_drawn() -> None:
    page = HEADER.pack()
    assert len(page) == HEADER_SIZE == 4096
    assert page[:8] == b"TVJRNL01"
    version, length, crc = struct.unpack_from("<III", page, 8)
    assert (version, crc) == (1, crc32c(page[20 : 20 + length]))
    assert FileHeader.unpack(page, "p") == HEADER
    assert FRAME_SIZE == 40
    piece = frame(FrameKind.ROWS, 3, 2, 9, 1234, b"abc", HEADER.seed)
    assert len(piece) == 40 + 8
    assert struct.unpack_from("<IHBBIIQqII", piece) == (
        crc32c(piece[4:], crc32c(page)), 3, 3, 0, 2, 3, 9, 1234, 0x4D524654, 0,
    )  # fmt: skip
    assert piece[40:] == b"abc" + bytes(5)


@pytest.mark.parametrize("counts", [(1,), (3, 1, 2), (1,) * 200])
def test_rows_come_back(tmp_path: Path, counts: tuple[int, ...]) -> None:
    body = written(tmp_path / "j", *counts)
    file = JournalFile(OsDisk(), str(tmp_path / "j"))
    assert file.advance(len(body))
    (found,) = file.rows()
    total = sum(counts)
    assert found.sequence == 5
    assert found.columns["ts_event"].tolist() == list(range(5, 5 + total))
    assert found.columns.extensions == (Column("spread", Kind.PRICE, "of the quote before", "<i8"),)
    firsts = np.cumsum([5, *counts])[:-1]
    assert found.stamps.tolist() == np.repeat(80 + firsts, counts).tolist()
    assert file.next_sequence == 5 + total
    assert not file.advance(len(body))
    file.close()


@pytest.mark.parametrize("counts", [(1, 2, 1), (1,) * 120])
def test_without_a_word_from_the_writer_the_frames_tell_where_they_end(tmp_path: Path, counts: tuple[int, ...]) -> None:
    body = written(tmp_path / "j", *counts)
    file = JournalFile(OsDisk(), str(tmp_path / "j"))
    file.advance(None)
    assert file.end == len(body)
    file.close()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "j"
    body = written(path, 2, 1)
    whole = path.read_bytes()
    for place in range(HEADER_SIZE, len(body)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        file = JournalFile(OsDisk(), str(path))
        with pytest.raises(tv.IntegrityError, match="does not match its checksum"):
            file.advance(len(body))
        assert all(row < 7 or len(found.stamps) < 3 for found in file.rows() for row in found.columns["ts_event"])
        file.close()


def test_a_frame_of_another_file_is_not_taken(tmp_path: Path) -> None:
    body = written(tmp_path / "j", 1)
    other = HEADER._replace(journal_id="fedcba9876543210").pack()
    (tmp_path / "k").write_bytes(other + body[HEADER_SIZE:] + bytes(4096))
    file = JournalFile(OsDisk(), str(tmp_path / "k"))
    file.advance(None)
    assert file.rows() == []
    file.close()


def test_a_damaged_header_is_told(tmp_path: Path) -> None:
    written(tmp_path / "j", 1)
    data = bytearray((tmp_path / "j").read_bytes())
    data[30] ^= 1
    (tmp_path / "j").write_bytes(data)
    with pytest.raises(tv.IntegrityError, match="its header does not match its checksum"):
        JournalFile(OsDisk(), str(tmp_path / "j"))
