"""The records of Databento Binary Encoding: how each is laid out, and how it becomes columns.

Every record begins with the same sixteen bytes::

    0  u1  length, in units of four bytes (of the whole record, `ts_out` too)
    1  u1  rtype
    2  u2  publisher_id
    4  u4  instrument_id
    8  u8  ts_event

Fields are named as the schema's columns; what has no column here is padding.  The layout follows from the rtype and the
length, so that a stream may mix the versions.  https://databento.com/docs/standards-and-conventions

Invariants: layouts are packed and little-endian, their sizes are those of the format; undefined values (the largest of
their type) become the column's null; a side of a quote that is absent has neither price, size nor count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tickvault.market.columns import Array, Columns
from tickvault.market.feeds.text import Fields, codes
from tickvault.market.schema import PRICE_NULL, SIZE_NULL, TIME_NULL, Column, Kind, Schema, schema_of

#: Records that are no market data: errors, mappings of symbols, and what the gateway says of itself.
ERROR, SYMBOL_MAPPING, SYSTEM = 0x15, 0x16, 0x17
SKIPPED = frozenset({ERROR, SYMBOL_MAPPING, SYSTEM})
#: Bars of before rtypes told their interval; the metadata's schema does.
OLD_BAR = 0x11
TS_OUT_SIZE = 8

_HEADER = ("length u1", "rtype u1", "publisher_id u2", "instrument_id u4", "ts_event u8")
_TRADE = (*_HEADER, "price i8", "size u4", "action u1", "side u1", "flags u1", "depth u1", "ts_recv u8")
_BOOK = (*_TRADE, "ts_in_delta i4", "sequence u4")
_SNAPPED = (*_HEADER, "price i8", "size u4", "_ V1", "side u1", "flags u1", "_ V1", "ts_recv u8")
_JOINED = (*_HEADER, "price i8", "size u4", "action u1", "side u1", "flags u1", "_ V1", "ts_recv u8")
_TOP = ("bid_px_00 i8", "ask_px_00 i8", "bid_sz_00 u4", "ask_sz_00 u4", "bid_ct_00 u4", "ask_ct_00 u4")
_JOINED_TOP = (*_TOP[:4], "bid_pb_00 u2", "_ V2", "ask_pb_00 u2", "_ V2")
_STAT_END = ("sequence u4", "ts_in_delta i4", "stat_type u2", "channel_id u2", "update_action u1", "stat_flags u1")

#: Of consolidated quotes: which publisher has the best price, instead of how many orders stand there.
_PUBLISHERS = (
    Column("bid_pb_00", Kind.ID, "publisher with the best bid", "<u2"),
    Column("ask_pb_00", Kind.ID, "publisher with the best ask", "<u2"),
)
_TS_OUT = Column("ts_out", Kind.TIME, "when the gateway sent it")
_KNOWN_EXTENSIONS = {column.name: column for column in (*_PUBLISHERS, _TS_OUT)}


def _packed(*fields: str) -> np.dtype[Any]:
    """Return a packed type of ``"name type"``; fields of the name ``_`` are padding."""
    names, formats = [], []
    for number, field in enumerate(fields):
        name, form = field.split()
        names.append(f"_{number}" if name == "_" else name)
        formats.append(form if form[0] == "V" else f"<{form}")
    return np.dtype(list(zip(names, formats, strict=True)))


def _sparse(size: int, fields: str) -> np.dtype[Any]:
    """Return a type of ``name@offset:type``, for records of which few fields are wanted."""
    parts = [field.replace("@", ":").split(":") for field in (*_COMMON_OF_DEFINITIONS, *fields.split())]
    return np.dtype(
        {
            "names": [name for name, _, _ in parts],
            "formats": [f"<{form}" for _, _, form in parts],
            "offsets": [int(offset) for _, offset, _ in parts],
            "itemsize": size,
        }
    )


_COMMON_OF_DEFINITIONS = (
    *("publisher_id@2:u2", "instrument_id@4:u4", "ts_event@8:u8", "ts_recv@16:u8", "min_price_increment@24:i8"),
    *("display_factor@32:i8", "expiration@40:u8", "activation@48:u8", "high_limit_price@56:i8"),
    "low_limit_price@64:i8",
)
_DEFINITION_1 = """
    unit_of_measure_qty@88:i8 underlying_id@116:u4 min_lot_size@140:i4 contract_multiplier@160:i4 maturity_year@180:u2
    channel_id@184:u2 currency@186:S4 raw_symbol@200:S22 group@222:S21 exchange@243:S5 asset@248:S7 cfi@255:S7
    security_type@262:S7 unit_of_measure@269:S31 underlying@300:S21 instrument_class@325:u1 strike_price@328:i8
    security_update_action@349:u1 maturity_month@350:u1
"""
_DEFINITION_2 = """
    unit_of_measure_qty@88:i8 strike_price@112:i8 underlying_id@124:u4 min_lot_size@148:i4 contract_multiplier@164:i4
    maturity_year@180:u2 channel_id@184:u2 currency@186:S4 raw_symbol@200:S71 group@271:S21 exchange@292:S5 asset@297:S7
    cfi@304:S7 security_type@311:S7 unit_of_measure@318:S31 underlying@349:S21 instrument_class@374:u1
    security_update_action@382:u1 maturity_month@383:u1
"""
_DEFINITION_3 = """
    unit_of_measure_qty@80:i8 strike_price@104:i8 underlying_id@140:u4 min_lot_size@160:i4 contract_multiplier@176:i4
    maturity_year@214:u2 channel_id@218:u2 currency@224:S4 raw_symbol@238:S71 group@309:S21 exchange@330:S5
    asset@335:S11 cfi@346:S7 security_type@353:S7 unit_of_measure@360:S31 underlying@391:S21 instrument_class@487:u1
    security_update_action@493:u1 maturity_month@494:u1
"""


class Layout(NamedTuple):
    """How records of an rtype and a length are laid out, and the schema that they become."""

    schema: Schema
    dtype: np.dtype[Any]
    extensions: tuple[Column, ...] = ()

    def with_ts_out(self) -> Layout:
        """Return the layout of the same records with the time of sending appended."""
        fields = dict(self.dtype.fields or {})
        dtype = np.dtype(
            {
                "names": [*fields, "ts_out"],
                "formats": [*(field[0] for field in fields.values()), "<u8"],
                "offsets": [*(field[1] for field in fields.values()), self.dtype.itemsize],
                "itemsize": self.dtype.itemsize + TS_OUT_SIZE,
            }
        )
        return Layout(self.schema, dtype, (*self.extensions, _TS_OUT))


def _layouts() -> dict[tuple[int, int], Layout]:
    bar = _packed(*_HEADER, "open i8", "high i8", "low i8", "close i8", "volume u8")
    top = Layout(schema_of("mbp-1"), _packed(*_BOOK, *_TOP))
    snapped = Layout(schema_of("bbo"), _packed(*_SNAPPED, "_ V4", "sequence u4", *_TOP))
    joined = Layout(schema_of("mbp-1"), _packed(*_JOINED, "ts_in_delta i4", "_ V4", *_JOINED_TOP), _PUBLISHERS)
    joined_snapped = Layout(schema_of("bbo"), _packed(*_SNAPPED, "_ V8", *_JOINED_TOP), _PUBLISHERS)
    ten = [field.replace("_00", f"_{level:02d}") for level in range(10) for field in _TOP]
    stat = (*_HEADER, "ts_recv u8", "ts_ref u8", "price i8")
    statistics, definition = schema_of("statistics"), schema_of("definition")
    order = ("order_id u8", "price i8", "size u4", "flags u1", "channel_id u1", "action u1", "side u1", "ts_recv u8")
    status = ("ts_recv u8", "status_action u2", "reason u2", "trading_event u2", "is_trading u1", "is_quoting u1")
    found = {
        0xA0: (Layout(schema_of("mbo"), _packed(*_HEADER, *order, "ts_in_delta i4", "sequence u4")),),
        0x00: (Layout(schema_of("trades"), _packed(*_BOOK)),),
        0x01: (top,),
        0x0A: (Layout(schema_of("mbp-10"), _packed(*_BOOK, *ten)),),
        0xC3: (snapped,),
        0xC4: (snapped,),
        0xB1: (joined,),
        0xC2: (joined,),
        0xC0: (joined_snapped,),
        0xC1: (joined_snapped,),
        0x20: (Layout(schema_of("ohlcv-1s"), bar),),
        0x21: (Layout(schema_of("ohlcv-1m"), bar),),
        0x23: (Layout(schema_of("ohlcv-1d"), bar),),
        0x24: (Layout(schema_of("ohlcv-1d"), bar),),
        0x12: (Layout(schema_of("status"), _packed(*_HEADER, *status, "is_short_sell_restricted u1", "_ V7")),),
        0x13: (
            Layout(definition, _sparse(360, _DEFINITION_1)),
            Layout(definition, _sparse(400, _DEFINITION_2)),
            Layout(definition, _sparse(520, _DEFINITION_3)),
        ),
        0x18: (
            Layout(statistics, _packed(*stat, "quantity i4", *_STAT_END, "_ V6")),
            Layout(statistics, _packed(*stat, "quantity i8", *_STAT_END, "_ V18")),
        ),
    }
    return {(rtype, layout.dtype.itemsize): layout for rtype, several in found.items() for layout in several}


def _with_ts_out(layouts: dict[tuple[int, int], Layout]) -> dict[tuple[int, int], Layout]:
    # Kinds of records that share a layout go on sharing it: so their rows stay in one order.
    made = {id(layout): layout.with_ts_out() for layout in layouts.values()}
    return {(rtype, size + TS_OUT_SIZE): made[id(layout)] for (rtype, size), layout in layouts.items()}


#: Layouts by rtype and size in bytes, without `ts_out`.
LAYOUTS = _layouts()
#: The same, with it.
LAYOUTS_TS_OUT = _with_ts_out(LAYOUTS)
_BARS_OF_METADATA = {5: 0x20, 6: 0x21, 8: 0x23, 13: 0x24}
_WITHOUT_SCHEMA = {
    0x14: "imbalances have no schema here",
    0x22: "hourly bars have no schema here; those of a minute have",
}


def receive_offsets() -> Array:
    """Return where in a record `ts_recv` stands, in words of four bytes, int64 by rtype; 0 where there is none."""
    offsets = np.zeros(256, np.int64)
    for (rtype, _), layout in LAYOUTS.items():
        assert layout.dtype.fields is not None, "layouts have fields"
        if "ts_recv" in layout.dtype.fields:
            offsets[rtype] = layout.dtype.fields["ts_recv"][1] // 4
    return offsets


def layout_of(rtype: int, size: int, schema_number: int, *, ts_out: bool) -> Layout | str:
    """Return the layout of records, or why they cannot be decoded.

    Parameters
    ----------
    size : int
        In bytes, with `ts_out`.
    schema_number : int
        The metadata's schema, which tells old bars' interval.
    """
    known = LAYOUTS_TS_OUT if ts_out else LAYOUTS
    told = rtype
    if rtype == OLD_BAR:
        told = _BARS_OF_METADATA.get(schema_number, OLD_BAR)
    found = known.get((told, size))
    if found is not None:
        return found
    if told in _WITHOUT_SCHEMA:
        return f"rtype 0x{rtype:02X}: {_WITHOUT_SCHEMA[told]}"
    right = [str(other) for (kind, other) in known if kind == told]
    if right:
        return f"a record of rtype 0x{rtype:02X} has {size} bytes, and must have {' or '.join(right)}"
    return f"rtype 0x{rtype:02X} is no kind of record that is known here"


def _time(values: Array) -> Array:
    times = np.ascontiguousarray(values).view("<i8")
    times[times < 0] = TIME_NULL  # undefined is the largest uint64
    return times


def _size(values: Array) -> Array:
    undefined = np.iinfo(values.dtype).max
    sizes = values.astype("<i8")
    if undefined != SIZE_NULL:
        sizes[values == undefined] = SIZE_NULL
    return sizes


def _words(records: Array, name: str) -> tuple[Array, list[str]]:
    """Return a field of fixed length, padded with zeros, as codes and words."""
    assert records.dtype.fields is not None, "layouts have fields"
    dtype, offset = records.dtype.fields[name][:2]
    starts = (np.arange(len(records), dtype=np.int64) * records.dtype.itemsize + offset).astype(np.int32)
    raw = np.ascontiguousarray(records[name]).view(np.uint8).reshape(len(records), dtype.itemsize)
    ended = raw == 0
    lengths = np.where(ended.any(axis=1), ended.argmax(axis=1), dtype.itemsize).astype(np.int32)
    ends = starts + lengths
    none = np.empty(0, np.int64)
    data = records.view(np.uint8)
    return codes(Fields(data, starts[:, None], ends[:, None], none, none, np.ones(len(records), np.bool_)), 0)


def columns_of(records: Array, layout: Layout) -> Columns:
    """Return records, all of one layout, as columns.

    Parameters
    ----------
    records : ndarray
        Contiguous, of the layout's dtype.
    """
    arrays: dict[str, Array] = {}
    dictionaries: dict[str, list[str]] = {}
    extensions = {column.name: column for column in layout.extensions}
    for name in layout.dtype.names or ():
        column = layout.schema.column(name) or extensions.get(name)
        if column is None:
            continue
        values = records[name]
        if column.kind is Kind.TIME:
            arrays[name] = _time(values.copy())
        elif column.kind is Kind.SIZE:
            arrays[name] = _size(values)
        elif column.kind is Kind.CODE:
            arrays[name], dictionaries[name] = _words(records, name)
        else:
            arrays[name] = values.astype(column.dtype)
    if layout.schema.interval_ns:
        arrays["ts_recv"] = np.where(
            arrays["ts_event"] == TIME_NULL, TIME_NULL, arrays["ts_event"] + layout.schema.interval_ns
        )
    for name in [name for name in arrays if name[3:6] == "_px"]:
        _absent(arrays, name)
    return Columns(layout.schema, arrays, dictionaries, layout.extensions)


def _absent(arrays: dict[str, Array], price: str) -> None:
    """Make what belongs to a price that is absent null too, where it says nothing (0)."""
    absent = arrays[price] == PRICE_NULL
    if not absent.any():
        return
    for part in ("_sz_", "_ct_", "_pb_"):
        values = arrays.get(price.replace("_px_", part))
        if values is not None:
            values[absent & (values == 0)] = np.iinfo(values.dtype).max
