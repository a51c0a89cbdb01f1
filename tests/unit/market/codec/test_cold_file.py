"""Cold files: what is written is read, also in part; what is damaged is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from codec_made import DAY, any_columns, any_identity, bars, quotes, same, times_with_null, trades
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.errors import FormatError, IntegrityError, InvalidInputError
from tickvault.market.codec import Identity, encode_cold, joined, open_cold, open_warm
from tickvault.market.codec.chunks import Mask, Term
from tickvault.market.codec.cold import BLOCK_ROWS_MIN
from tickvault.market.columns import Columns
from tickvault.market.schema import schema_of


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(data: st.DataObject) -> None:
    columns = data.draw(any_columns())
    identity = data.draw(any_identity(len(columns)))
    level = data.draw(st.sampled_from([0, 4, 8]))
    file = open_cold(joined(encode_cold(columns, identity, {"v": 1}, level, threads=1)))
    file.verify()
    assert file.row_count == len(columns)
    assert file.about == {"v": 1}
    same(file.read(), columns)
    np.testing.assert_array_equal(file.ordinals(), identity.ordinals)
    np.testing.assert_array_equal(file.source_ids(), identity.source_ids)


@pytest.mark.parametrize("make", [trades, quotes, bars])
@pytest.mark.parametrize("level", [3, 8])
def test_several_blocks_in_threads(make: Any, level: int) -> None:
    columns = make(3 * BLOCK_ROWS_MIN + 17)
    rows = len(columns)
    whole = joined(encode_cold(columns, [(1, 0, rows)], level=level, block_rows=BLOCK_ROWS_MIN))
    file = open_cold(whole)
    assert len(file.blocks) == 4
    same(file.read(), columns)
    same(file.read(threads=1), columns)
    assert len(whole) < sum(array.nbytes for array in columns.arrays.values()) / 4
    again = joined(encode_cold(columns, [(1, 0, rows)], level=level, block_rows=BLOCK_ROWS_MIN, threads=1))
    assert again == whole, "the same columns give the same bytes"


def events(count: int, rng: np.random.Generator) -> Columns:
    """Changes of levels, of which those of one message have one time and one update id."""
    last = rng.random(count) < 0.2
    numbers = np.concatenate(([0], np.cumsum(last)[:-1]))
    arrivals = 1_700_000_000 * 10**9 + np.cumsum(rng.integers(1, 10**9, count))
    return Columns(
        schema_of("mbp-delta"),
        {
            "ts_recv": arrivals[numbers],
            "price": rng.integers(1, 10**12, count),
            "flags": np.where(last, 128, 16).astype(np.uint8),
            "last_update_id": (10**9 + np.cumsum(rng.integers(1, 999, count)))[numbers].astype(np.uint64),
        },
    )


@pytest.mark.parametrize("count", [1, 2, 40_000, 3 * BLOCK_ROWS_MIN + 17])
def test_what_an_event_says_once_is_stored_once(count: int) -> None:
    columns = events(count, np.random.default_rng(count))
    file = open_cold(joined(encode_cold(columns, block_rows=BLOCK_ROWS_MIN)))
    same(file.read(), columns)
    same(file.read(threads=1), columns)
    if count > 2:
        named = zip(file.footer.columns, file.blocks[0].chunks, strict=True)
        assert {info.column.name for info, chunk in named if chunk.term == Term.HELD} == {"ts_recv", "last_update_id"}
        start, end = (int(columns["ts_recv"][place]) for place in (count // 3, count // 2))
        rows = (columns["ts_recv"] >= start) & (columns["ts_recv"] < end)
        same(file.read(start_ns=start, end_ns=end), columns.take(rows))
    # One row that does not hold, and the column is stored as any other.
    if count > 2:
        inside = int(np.flatnonzero(columns["flags"][:-1] == 16)[0]) + 1
        broken = columns.take(slice(None))
        broken.arrays["last_update_id"] = columns["last_update_id"].copy()
        broken.arrays["last_update_id"][inside] += 1
        same(open_cold(joined(encode_cold(broken, block_rows=BLOCK_ROWS_MIN))).read(), broken)


def test_columns_that_follow_from_others_are_stored_as_what_is_left() -> None:
    file = open_cold(joined(encode_cold(bars(40_000))))
    chunks = {info.column.name: chunk for info, chunk in zip(file.footer.columns, file.blocks[0].chunks, strict=True)}
    assert chunks["ts_recv"].term == Term.OTHER
    assert chunks["ts_recv"].length == 0, "always one minute after ts_event"
    assert chunks["open"].term == Term.BEFORE
    assert (chunks["high"].term, chunks["low"].term) == (Term.GREATER, Term.LESSER)
    file = open_cold(joined(encode_cold(quotes(40_000))))
    chunks = {info.column.name: chunk for info, chunk in zip(file.footer.columns, file.blocks[0].chunks, strict=True)}
    assert chunks["bid_px_00"].mask == Mask.OWN
    assert chunks["ask_px_00"].mask == Mask.COMPLEMENT
    assert chunks["bid_sz_00"].mask in (Mask.SAME, Mask.COMPLEMENT)
    one = file.read(["ask_sz_00"])
    np.testing.assert_array_equal(one["ask_sz_00"], quotes(40_000)["ask_sz_00"])


def test_turnover_from_price_and_size_and_a_price_mirrored_at_the_sides() -> None:
    rows = 20_000
    columns = trades(rows)
    size = np.random.default_rng(5).integers(1, 9_999, rows)
    turnover = columns["price"] * size // 10_000_000
    made = Columns(
        columns.schema,
        {"ts_event": columns["ts_event"], "price": columns["price"], "size": size, "turnover": turnover},
        turnover_scale=100,
    )
    file = open_cold(joined(encode_cold(made)))
    assert file.blocks[0].chunks[-1].term == Term.PRODUCT
    same(file.read(), made)
    distance = np.arange(rows) % 1_000 * 10_000_000
    side = np.random.default_rng(6).choice(np.array([65, 66], np.uint8), rows)
    levels = Columns(
        schema_of("mbp-delta"),
        {
            "ts_recv": columns["ts_recv"],
            "side": side,
            "price": 10**13 + np.where(side == 66, -distance, distance),
            "size": np.where(distance % 30_000_000 == 0, 0, distance + 1),
        },
    )
    file = open_cold(joined(encode_cold(levels)))
    assert file.blocks[0].chunks[2].term == Term.MIRROR
    assert file.blocks[0].chunks[3].mask == Mask.OWN
    same(file.read(), levels)


@pytest.mark.parametrize("kind", ["sorted", "unsorted", "with null"])
def test_a_range_of_time_gives_the_rows_in_it(kind: str) -> None:
    rows = 2 * BLOCK_ROWS_MIN + 99
    times = DAY + np.sort(np.random.default_rng(4).integers(0, rows, rows))
    if kind == "unsorted":
        times[1_000], times[70_000] = times[70_000], times[1_000]
    columns = trades(rows, ts_recv=times_with_null(rows) if kind == "with null" else times)
    index = columns.ts_index
    file = open_cold(joined(encode_cold(columns, [(1, 0, rows)], level=3, block_rows=BLOCK_ROWS_MIN)))
    assert file.footer.is_sorted == (kind == "sorted")
    middle = int(index[BLOCK_ROWS_MIN])
    bounds = [None, DAY, middle, middle + 1, middle + 20_000, int(index.max()), int(index.max()) + 1, 0, 2**63 - 1]
    for start in bounds:
        for end in bounds:
            wanted = np.ones(rows, bool)
            if start is not None:
                wanted &= index >= start
            if end is not None:
                wanted &= index < end
            read = file.read(["price", "ts_recv"], start, end)
            np.testing.assert_array_equal(read["price"], columns["price"][wanted])
            np.testing.assert_array_equal(file.ordinals(file.rows(start, end)), np.flatnonzero(wanted))


def test_a_range_decodes_only_the_blocks_it_touches() -> None:
    columns = trades(3 * BLOCK_ROWS_MIN, ts_recv=np.arange(3 * BLOCK_ROWS_MIN))
    whole = bytearray(joined(encode_cold(columns, level=3, block_rows=BLOCK_ROWS_MIN)))
    file = open_cold(whole)
    whole[file.blocks[1].chunks[1].offset] ^= 1
    file.read(start_ns=0, end_ns=BLOCK_ROWS_MIN)
    file.read(["sequence"])
    with pytest.raises(IntegrityError, match="column price"):
        file.read()
    with pytest.raises(IntegrityError, match="column price in block 1"):
        file.verify()


def test_reading_into_given_arrays() -> None:
    columns = quotes(100_000)
    file = open_cold(joined(encode_cold(columns, level=3, block_rows=BLOCK_ROWS_MIN)))
    out = {"bid_px_00": np.empty(100_001, np.int64), "ask_px_00": np.empty(100_000, np.int64)}
    read = file.read(out=out)
    assert read["bid_px_00"].base is out["bid_px_00"] or np.shares_memory(read["bid_px_00"], out["bid_px_00"])
    same(read, columns)
    assert out["ask_px_00"].flags.writeable, "what is the caller's stays so"
    for wrong in (np.empty(99_999, np.int64), np.empty(100_000, np.int32), np.empty(200_000, np.int64)[::2]):
        with pytest.raises(InvalidInputError, match="bid_px_00"):
            file.read(out={"bid_px_00": wrong})


def test_rows_by_position() -> None:
    columns = trades(BLOCK_ROWS_MIN + 50)
    file = open_cold(joined(encode_cold(columns, level=3, block_rows=BLOCK_ROWS_MIN)))
    positions = np.array([BLOCK_ROWS_MIN + 5, 3, 3, BLOCK_ROWS_MIN - 1])
    np.testing.assert_array_equal(file.read(["price"], rows=positions)["price"], columns["price"][positions])
    np.testing.assert_array_equal(file.read(["price"], rows=slice(-20, None))["price"], columns["price"][-20:])
    for wrong in (np.array([-1]), np.array([len(columns)]), np.array([0.5]), slice(0, 10, 2)):
        with pytest.raises(InvalidInputError, match="rows of a cold file"):
            file.read(rows=wrong)


def test_interleaved_sources_come_back() -> None:
    rows = 70_000
    identity = Identity(np.arange(rows) % 3, np.cumsum(np.random.default_rng(8).integers(1, 5, rows)))
    file = open_cold(joined(encode_cold(trades(rows), identity, block_rows=BLOCK_ROWS_MIN)))
    np.testing.assert_array_equal(file.ordinals(), identity.ordinals)
    np.testing.assert_array_equal(file.source_ids(slice(5, 9)), identity.source_ids[5:9])
    assert "_ordinal" not in file.read().arrays


def test_every_flipped_byte_is_found() -> None:
    columns = trades(60)
    whole = joined(encode_cold(columns, [(1, 0, 60)], {"symbol": "SPY"}))
    data_end = open_cold(whole).footer.data_end
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        if 64 <= place < data_end:
            file = open_cold(broken)
            with pytest.raises(IntegrityError, match="column"):
                file.verify()
            with pytest.raises(IntegrityError, match="column"):
                file.read()
        else:
            with pytest.raises((IntegrityError, FormatError)):
                open_cold(broken)


def test_a_file_that_is_cut_off_or_of_the_other_form_is_refused() -> None:
    whole = joined(encode_cold(trades(40)))
    for size in range(len(whole)):
        with pytest.raises(IntegrityError):
            open_cold(whole[:size])
    with pytest.raises(IntegrityError, match="form cold, expected warm"):
        open_warm(whole)


@pytest.mark.parametrize(("level", "block_rows"), [(13, 262_144), (-1, 262_144), (8, 1_000)])
def test_limits(level: int, block_rows: int) -> None:
    with pytest.raises(InvalidInputError, match="level must be 0 to 12"):
        encode_cold(trades(10), level=level, block_rows=block_rows)


def test_a_file_of_version_1_stays_readable() -> None:
    """Bytes that the first release wrote: every later one must read them."""
    file = open_cold(bytes.fromhex(FIRST_RELEASE))
    columns = file.read()
    digest = hashlib.sha256()
    for name in sorted(columns.arrays):
        digest.update(name.encode() + columns[name].tobytes())
    assert digest.hexdigest() == FIRST_RELEASE_DIGEST
    assert file.about == {"v": 1}


FIRST_RELEASE = (
    "5456434f4c4d4e31010000000200000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000070636f210300050a04010a270000100201003d020001394c62656d3288666756a655b048"
    "92a642c4280028b52ffd20052900002c65c751ee28b52ffd2013750000328102842111201f40156ffd2b0028b52ffd20156d"
    "0000524102832122497cab0ae6f70028b52ffd600b03150900c409545643464f4f54310100000002280012059a9b38a41740"
    "aa23a30500a5602f04030003080001053c6938000b000080000b09000204141580e07c147200d1771772ff7f141d13771515"
    "1d032664262f2c0109042801402a8d1781da0101420f00006a2586542678020100018096980e038f1608675d1603a5010002"
    "64032c0162626f74735f6576656e746269645f70785f303061736b737a81a176014ba0d1b0479b824286ddd09424ad0e0454"
    "b6a205d2a1bf41e9d1804618048dd24c76219f1cd6ad1910a03ca301b8dba771a175382840e42c4f6468952d2cc3e9203867"
    "9b33bc7475753379624c1e6be2a61d4364d955c9c41b82d1788830061f1853f00c441a5d01a08e94b3010170f040e910b432"
    "d0e0643004307c10c1c3934100af06a5000000000000002c0100000b04000095e39bc82894c7d05456434f4c454e44"
)
FIRST_RELEASE_DIGEST = "731378c1c69c58320d403d229760726ec63c37b6b4cd0cedddcd30f89f27ead8"
