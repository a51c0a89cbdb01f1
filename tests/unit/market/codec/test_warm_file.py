"""Warm files: what is written is read, without a copy; what is damaged is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from codec_made import any_columns, any_identity, same, times_with_null, trades
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.errors import FormatError, IntegrityError, InvalidInputError
from tickvault.market.codec import Identity, encode_warm, joined, open_warm
from tickvault.market.columns import Columns
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, schema_of


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(data: st.DataObject) -> None:
    columns = data.draw(any_columns())
    identity = data.draw(any_identity(len(columns)))
    about = data.draw(st.dictionaries(st.text(max_size=4), st.integers(-5, 5), max_size=3))
    file = open_warm(joined(encode_warm(columns, identity, about)))
    file.verify()
    assert file.row_count == len(columns)
    assert file.about == about
    same(file.columns(), columns)
    np.testing.assert_array_equal(file.ordinals(), identity.ordinals)
    np.testing.assert_array_equal(file.source_ids(), identity.source_ids)


def test_columns_are_aligned_views_of_the_buffer_and_read_only() -> None:
    whole = joined(encode_warm(trades(1_000)))
    file = open_warm(whole)
    place = np.frombuffer(whole, np.uint8).ctypes.data
    for name, array in file.columns().arrays.items():
        assert not array.flags.writeable, name
        info = next(info for info in file.footer.columns if info.column.name == name)
        if info.constant is None:
            assert array.ctypes.data == place + info.offset, name
            assert info.offset % 64 == 0, name
        else:
            assert array.strides == (0,), name
            assert info.length == 0, name


def test_what_the_footer_says() -> None:
    columns = trades(500)
    footer = open_warm(joined(encode_warm(columns, [(3, 1_000, 500)], {"venue": "XNAS"}))).footer
    infos = {info.column.name: info for info in footer.columns}
    times = columns.ts_index
    assert (footer.ts_first, footer.ts_last) == (times.min(), times.max())
    assert footer.is_sorted == bool((np.diff(times) >= 0).all())
    assert (footer.size_scale, footer.turnover_scale) == (10, 100)
    assert footer.runs == ((3, 1_000, 500),)
    assert "turnover" not in infos, "null throughout"
    assert infos["instrument_id"].constant == 7
    assert infos["flags"].constant == 0
    sizes = columns["size"]
    assert infos["size"].null_count == (sizes == SIZE_NULL).sum()
    assert (infos["size"].lowest, infos["size"].highest) == (100, 1_000)
    assert infos["ts_event"].is_sorted
    assert not infos["price"].is_sorted
    assert infos["exchange"].words == ("P", "Q", "Zürich")


def test_some_columns_and_rows() -> None:
    columns = trades(300)
    file = open_warm(joined(encode_warm(columns, [(1, 5, 300)])))
    some = file.columns(["price", "trade_id"], 10, 20)
    assert list(some.arrays) == ["price"]
    np.testing.assert_array_equal(some["price"], columns["price"][10:20])
    assert (some["trade_id"] == columns.column("trade_id").null).all()
    assert list(file.columns(["trade_id"]).arrays) == ["ts_event"], "rows without any column could not be counted"
    np.testing.assert_array_equal(file.ordinals(10, 20), np.arange(15, 25))
    with pytest.raises(InvalidInputError, match="no column 'prise'"):
        file.columns(["prise"])


def test_a_file_without_rows_or_identity() -> None:
    empty = open_warm(joined(encode_warm(trades(0))))
    empty.verify()
    assert len(empty.columns()) == 0
    assert len(empty.ordinals()) == 0
    nothing = Columns(schema_of("trades"), {"ts_event": np.full(3, np.iinfo(np.int64).min)})
    assert len(open_warm(joined(encode_warm(nothing))).columns()) == 3, "a time column stays, be it null"


def test_interleaved_sources_become_hidden_columns() -> None:
    rows = 400
    identity = Identity(np.arange(rows) % 2, np.arange(rows) * 3)
    file = open_warm(joined(encode_warm(trades(rows), identity)))
    assert file.footer.runs == ()
    assert "_ordinal" not in file.columns().arrays
    np.testing.assert_array_equal(file.ordinals(), identity.ordinals)
    whole = bytearray(joined(encode_warm(trades(rows), identity)))
    whole[next(info.offset for info in file.footer.columns if info.column.name == "_ordinal")] ^= 1
    with pytest.raises(IntegrityError, match="_ordinal"):
        open_warm(whole).ordinals()
    with pytest.raises(InvalidInputError, match="do not make 400"):
        encode_warm(trades(rows), [(1, 0, 399)])


def test_only_the_pages_of_a_slice_are_checked_and_once() -> None:
    columns = trades(50_000)
    whole = bytearray(joined(encode_warm(columns)))
    file = open_warm(whole)
    info = next(info for info in file.footer.columns if info.column.name == "price")
    whole[info.offset + 40_000 * 8] ^= 1
    file.verify_rows(["price"], 0, 1_000)
    with pytest.raises(IntegrityError, match=r"column .*price"):
        file.verify_rows(["price"], 39_000, 41_000)
    with pytest.raises(IntegrityError, match=r"column .*price"):
        file.verify()
    whole[info.offset + 40_000 * 8] ^= 1
    file.verify()
    whole[info.offset] ^= 1
    file.verify()


def test_every_flipped_byte_is_found() -> None:
    columns = trades(40, ts_recv=times_with_null(40))
    whole = joined(encode_warm(columns, [(1, 0, 40)], {"symbol": "SPY"}))
    data_end = open_warm(whole).footer.data_end
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        if 64 <= place < data_end:
            with pytest.raises(IntegrityError):
                open_warm(broken).verify()
        else:
            with pytest.raises((IntegrityError, FormatError)):
                open_warm(broken)


def test_a_file_that_is_cut_off_or_longer_is_refused() -> None:
    whole = joined(encode_warm(trades(40)))
    for size in range(len(whole)):
        with pytest.raises(IntegrityError):
            open_warm(whole[:size])
    with pytest.raises(IntegrityError):
        open_warm(whole + bytes(64))
    with pytest.raises(IntegrityError):
        open_warm(whole[:64] + whole[128:])


def test_the_bytes_of_a_small_file_are_those_of_version_1() -> None:
    """A release that changes one of these bytes cannot read what users have: it needs another version."""
    columns = Columns(
        schema_of("trades"),
        {
            "ts_event": np.array([10, 20, 20], np.int64),
            "price": np.array([5, -5, PRICE_NULL], np.int64),
            "side": np.array([65, 65, 65], np.uint8),
            "exchange": np.array([0, -1, 1], np.int32),
        },
        {"exchange": ["P", "Q"]},
        size_scale=100,
    )
    whole = joined(encode_warm(columns, [(9, 4, 3)], {"v": 1}))
    assert whole[:64] == b"TVCOLMN1" + struct.pack("<II", 1, 1) + bytes(48)
    assert whole[64:128] == struct.pack("<qqq", 10, 20, 20) + bytes(40)
    assert whole[128:192] == struct.pack("<qqq", 5, -5, 2**63 - 1) + bytes(40)
    assert whole[192:256] == struct.pack("<iii", 0, -1, 1) + bytes(52)
    footer, trailer = whole[256:-32], whole[-32:]
    assert footer[:128] == b"TVCFOOT1" + struct.pack(
        "<IIQqqIIQQQIIIIIII28x", 1, 1, 3, 10, 20, 1, 4, 100, 1, 256, 1, 4, 31, 10, 4, 6, 0
    )
    assert footer[128:224] == struct.pack(
        "<IHBB4sIIIQQQqqqqII8x", 6, 8, 1, 1 | 4, b"<i8", 14, 0, 0, 64, 24, 0, 10, 20, 0, -(2**63), 0, 0
    )
    assert footer[224:320] == struct.pack(
        "<IHBB4sIIIQQQqqqqII8x", 14, 5, 2, 4, b"<i8", 19, 0, 0, 128, 24, 1, -5, 5, 0, 2**63 - 1, 0, 0
    )
    assert footer[320:416] == struct.pack(
        "<IHBB4sIIIQQQqqqqII8x", 19, 4, 6, 1 | 2 | 4, b"|u1", 23, 0, 0, 0, 0, 0, 65, 65, 65, 0, 0, 0
    )
    assert footer[416:512] == struct.pack(
        "<IHBB4sIIIQQQqqqqII8x", 23, 8, 5, 4, b"<i4", 31, 0, 2, 192, 12, 1, 0, 1, 0, -1, 0, 10
    )
    assert footer[512:536] == struct.pack("<qqq", 9, 4, 3)
    assert footer[540:571] == b"tradests_eventpricesideexchange"
    assert footer[571:581] == b"\1\0\0\0P\1\0\0\0Q"
    assert footer[581:] == b"\x81\xa1v\x01"
    assert footer[536:540].hex() == PAGE_CRC
    assert trailer[:16] == struct.pack("<QII", 256, 585, 585)
    assert trailer[24:] == b"TVCOLEND"
    assert trailer[16:24].hex() == TRAILER_CRCS


PAGE_CRC = "1ae7dcf6"
TRAILER_CRCS = "837cebf0cd0c08d5"
