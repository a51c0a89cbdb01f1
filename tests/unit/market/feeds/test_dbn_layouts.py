"""Every kind of record of DBN, against databento_dbn's own decoder and its own layouts."""

from __future__ import annotations

from typing import Any

import databento_dbn as dbn
import numpy as np
import pytest
from databento_dbn import v1, v2, v3
from dbn_reading import assert_same

from tickvault.market.columns import Array
from tickvault.market.feeds.dbn.records import LAYOUTS, columns_of, layout_of
from tickvault.market.feeds.text import day_start_ns
from tickvault.market.schema import PRICE_NULL

VERSIONS = {1: v1, 2: v2, 3: v3}
RTYPES = {
    "MBOMsg": [0xA0],
    "TradeMsg": [0x00],
    "MBP1Msg": [0x01],
    "MBP10Msg": [0x0A],
    "BBOMsg": [0xC3, 0xC4],
    "CBBOMsg": [0xC0, 0xC1],
    "CMBP1Msg": [0xB1, 0xC2],
    "OHLCVMsg": [0x20, 0x21, 0x23, 0x24],
    "StatusMsg": [0x12],
    "InstrumentDefMsg": [0x13],
    "StatMsg": [0x18],
}
CASES = [
    pytest.param(version, name, rtype, ts_out, id=f"v{version}-{name}-{rtype:02X}{'-ts_out' if ts_out else ''}")
    for version in VERSIONS
    for name, rtypes in RTYPES.items()
    for rtype in rtypes
    for ts_out in (False, True)
]
#: Letters that the package's enums have.
LETTERS = {
    "action": b"ACMRTF",
    "side": b"ABN",
    "instrument_class": b"FCPKS",
    "security_update_action": b"AMD",
    "user_defined_instrument": b"YN",
    "match_algorithm": b"F",
    "leg_instrument_class": b"F",
    "leg_side": b"ABN",
}
DAY_NS = 86_400 * 10**9


def random_records(message: Any, rtype: int, count: int, seed: int, *, ts_out: bool) -> Array:
    """Return records of the package's layout with random numbers, some of them undefined."""
    random = np.random.default_rng(seed)
    fields = [(name, form if form.startswith("S") else f"<{form}") for name, form in message._dtypes]
    records = np.zeros(count, np.dtype([*fields, ("ts_out", "<u8")] if ts_out else fields))
    for name, form in fields:
        dtype = np.dtype(form)
        if dtype.kind == "S" and dtype.itemsize > 1:
            records[name] = [f"{name[:2]}{random.integers(0, 3)}"[: dtype.itemsize - 1].encode() for _ in range(count)]
            records[name][random.random(count) < 0.2] = b""
        elif dtype.kind == "S":
            records[name] = random.choice(np.frombuffer(LETTERS.get(name, b"YN~"), "S1"), count)
        elif name in {"action", "reason", "trading_event"}:
            records[name] = random.integers(0, 5, count)
        elif dtype.itemsize == 8 and name not in {"order_id", "volume", "raw_instrument_id"}:
            records[name] = day_start_ns("2024-05-08") + random.integers(0, DAY_NS, count)
            undefined = random.random(count) < 0.3
            records[name][undefined] = np.iinfo(dtype).max
        else:
            records[name] = random.integers(0, min(int(np.iinfo(dtype).max), 2**62), count)
            records[name][random.random(count) < 0.2] = np.iinfo(dtype).max if dtype.itemsize == 4 else 0
    for level in range(10):
        for side in ("bid", "ask"):
            if f"{side}_px_{level:02d}" in (records.dtype.names or ()):
                absent = records[f"{side}_px_{level:02d}"] == PRICE_NULL
                for part in ("sz", "ct", "pb"):
                    if f"{side}_{part}_{level:02d}" in (records.dtype.names or ()):
                        records[f"{side}_{part}_{level:02d}"][absent] = 0
    if rtype in {0x20, 0x21, 0x23, 0x24}:
        # The time of a bar is never undefined.
        records["ts_event"] = day_start_ns("2024-05-08")
    if ts_out:
        records["ts_out"] = day_start_ns("2024-05-08") + np.arange(count)
    records["length"], records["rtype"] = records.dtype.itemsize // 4, rtype
    return records


def decoded_by_the_package(version: int, records: Array, *, ts_out: bool) -> list[Any]:
    head = dbn.Metadata(
        "GLBX.MDP3", 0, dbn.SType.RAW_SYMBOL, dbn.SType.INSTRUMENT_ID, None, ts_out=ts_out, version=version
    )
    decoder = dbn.DBNDecoder(upgrade_policy=dbn.VersionUpgradePolicy.AS_IS)
    decoder.write(bytes(head) + records.tobytes())
    return decoder.decode()[1:]


@pytest.mark.parametrize(("version", "name", "rtype", "ts_out"), CASES)
def test_every_kind_of_record_agrees_with_the_package(version: int, name: str, rtype: int, ts_out: bool) -> None:
    records = random_records(getattr(VERSIONS[version], name), rtype, 40, rtype + version, ts_out=ts_out)
    layout = layout_of(rtype, records.dtype.itemsize, 65_535, ts_out=ts_out)
    assert not isinstance(layout, str)
    columns = columns_of(np.frombuffer(records.tobytes(), layout.dtype), layout)
    read = decoded_by_the_package(version, records, ts_out=ts_out)
    assert ("ts_out" in columns.arrays) == ts_out
    assert_same(columns, read)


@pytest.mark.parametrize(("version", "name", "rtype", "ts_out"), CASES)
def test_every_field_stands_where_the_package_has_it(version: int, name: str, rtype: int, ts_out: bool) -> None:
    theirs = np.dtype(getattr(VERSIONS[version], name)._dtypes)
    layout = LAYOUTS[rtype, theirs.itemsize]
    assert layout.dtype.fields is not None
    assert theirs.fields is not None
    for field, (dtype, offset, *_) in layout.dtype.fields.items():
        if field[0] == "_":
            continue
        other = theirs.fields["action" if field == "status_action" else field]
        assert (dtype.itemsize, offset) == (other[0].itemsize, other[1]), field
        assert dtype.kind == other[0].kind or {dtype.kind, other[0].kind} == {"u", "S"}, field


def test_columns_that_a_record_has_are_all_taken() -> None:
    """What is left out is only what no schema here has a column for."""
    for (rtype, _), layout in LAYOUTS.items():
        known = {column.name for column in (*layout.schema.columns, *layout.extensions)}
        left = {name for name in layout.dtype.names or () if name[0] != "_"} - known
        assert left <= {"length", "rtype", "publisher_id"}, (hex(rtype), left)


def test_what_cannot_be_decoded_says_why() -> None:
    assert "must have 56" in str(layout_of(0xA0, 60, 0, ts_out=False))
    assert "must have 64" in str(layout_of(0xA0, 56, 0, ts_out=True))
    assert "must have 360 or 400 or 520" in str(layout_of(0x13, 16, 0, ts_out=False))
    assert "hourly" in str(layout_of(0x22, 56, 0, ts_out=False))
    assert "imbalances" in str(layout_of(0x14, 112, 0, ts_out=False))
    assert "no kind of record" in str(layout_of(0x77, 56, 0, ts_out=False))


def test_old_bars_have_the_interval_of_the_metadata() -> None:
    for number, name in ((5, "ohlcv-1s"), (6, "ohlcv-1m"), (8, "ohlcv-1d")):
        layout = layout_of(0x11, 56, number, ts_out=False)
        assert not isinstance(layout, str)
        assert layout.schema.name == name
    assert isinstance(layout_of(0x11, 56, 65_535, ts_out=False), str)
