"""The choice of how a chunk is stored, and the storing.

Alternatives are tried on a sample of the block; what takes the fewest bytes there is done with the whole.

Invariants: what is chosen changes the bytes, never the values; the same columns give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from tickvault.market.codec.chunks import (
    NO_COLUMN,
    Chunk,
    Codec,
    Mask,
    Term,
    begins_of,
    libraries,
    term_of,
    unsigned,
    widened,
)
from tickvault.market.columns import Array
from tickvault.market.schema import BID, Column, Kind

#: Rows of a sample: two stretches, at a quarter and at three quarters of the block.
_SAMPLE_ROWS = 8_192
#: What an alternative must save of the sample to be worth its work in decoding.
_WORTH = 0.98
#: The share of zeros from which a size's zeros are told by a mask.
_ZEROS_MIN = 0.3
_MASK64 = (1 << 64) - 1
#: From this level on alternatives are tried; below, the plain way is taken.
SEARCH_LEVEL = 6


class Way(NamedTuple):
    """A term to try: what it is made of, by name."""

    term: int
    first: str = ""
    second: str = ""
    extra: int = 0


def ways_of(column: Column, present: Mapping[str, Array], scales: tuple[int, int]) -> Iterator[Way]:
    """Yield the terms that may save bytes of a column.

    Each names columns that come before it in one fixed order (times: ts_event first; prices: close, open, high, low;
    bid before ask; price and size before turnover), so that no two depend on each other.
    """
    name = column.name
    if column.kind is Kind.TIME and name != "ts_event" and "ts_event" in present:
        yield Way(Term.OTHER, "ts_event")
    if "ask_" in name and (bid := name.replace("ask_", "bid_")) in present:
        yield Way(Term.OTHER, bid)
    prefix, _, part = name.rpartition("_")
    prefix += "_" if prefix else ""
    close, opening = prefix + "close", prefix + "open"
    if part == "open" and close in present:
        yield Way(Term.BEFORE, close)
    if part in {"high", "low"} and {close, opening} <= present.keys():
        yield Way(Term.GREATER if part == "high" else Term.LESSER, opening, close)
    if name == "last_update_id" and "first_update_id" in present:
        yield Way(Term.OTHER, "first_update_id")
    if column.kind is Kind.TURNOVER and {"price", "size"} <= present.keys():
        size_scale, turnover_scale = scales
        divisor, rest = divmod(10**9 * size_scale, turnover_scale)
        if divisor and not rest and divisor < 2**63:
            yield Way(Term.PRODUCT, "price", "size", divisor)
    if name == "price" and "side" in present and len(present["side"]):
        yield Way(Term.MIRROR, "side", extra=int(np.median(present["price"])))


class Encoded(NamedTuple):
    """A chunk before it has its place."""

    chunk: Chunk
    mask: bytes
    numbers: bytes


class Masks:
    """The masks of a block, by column, so that one that is another's is not stored again.

    Attributes
    ----------
    nulls : mapping of str to ndarray of bool
        Where a column has its `fill`, of those that are masked.
    fills : mapping of str to int
        The value there: null, or a size of 0.
    """

    def __init__(self, nulls: Mapping[str, Array], fills: Mapping[str, int]) -> None:
        self.nulls = nulls
        self.fills = fills

    def agree(self, name: str, others: tuple[str, ...]) -> bool:
        """Whether columns are null where another is; a difference to a null is no small number."""
        mine = self.nulls.get(name)
        for other in others:
            mask = self.nulls.get(other) if self.fills.get(other) != 0 else None
            if mask is not None and (mine is None or not np.array_equal(mask & ~mine, np.zeros_like(mask))):
                return False
        return True

    def same(self, name: str) -> tuple[int, str]:
        """Return how a column's mask follows from that of a column before it."""
        mine = self.nulls[name]
        for other, mask in self.nulls.items():
            if other == name:
                break
            if np.array_equal(mask, mine):
                return Mask.SAME, other
            if np.array_equal(mask, ~mine):
                return Mask.COMPLEMENT, other
        return Mask.OWN, ""


def encode_chunk(
    column: Column,
    block: Mapping[str, Array],
    masks: Masks,
    places: Mapping[str, int],
    scales: tuple[int, int],
    level: int,
) -> Encoded:
    """Encode one column of a block.

    Parameters
    ----------
    column : Column
    block : mapping of str to ndarray
        All columns of the block, as they are.
    masks : Masks
        Where columns of eight bytes are null.
    places : mapping of str to int
        Each column's place in the footer.
    scales : (int, int)
        Of sizes and of turnover.
    level : int
        Of pcodec, 0 to 12.
    """
    values = widened(block[column.name])
    signed = block[column.name].dtype.kind == "i"
    if bool((values == values[0]).all()):
        return Encoded(Chunk(0, 0, 0, Codec.NOTHING, 1, base=int(values[0])), b"", b"")
    mask = masks.nulls.get(column.name)
    front = Chunk(0, 0, 0, Codec.NOTHING, 1)
    mask_bytes = b""
    if mask is not None:
        how, other = masks.same(column.name)
        front = front._replace(
            mask=how, fill=masks.fills[column.name] & _MASK64, mask_column=places.get(other, NO_COLUMN)
        )
        if how == Mask.OWN:
            codec, mask_bytes = _encode_mask(mask, level)
            front = front._replace(mask_codec=codec, mask_length=len(mask_bytes))
    rows = slice(None) if mask is None else ~mask
    way = Way(Term.NONE)
    numbers = values[rows]
    if level >= SEARCH_LEVEL and values.dtype == np.uint64 and block[column.name].dtype.itemsize == 8:
        way, numbers = _best_way(column, block, masks, values, rows, scales, level)
        signed = signed or way.term != Term.NONE
        held = _held(block, values) if mask is None else None
        if held is not None and _whole_size(held, signed, level) < _whole_size(numbers, signed, level) * _WORTH:
            way, numbers, signed = Way(Term.HELD, "flags"), held, block[column.name].dtype.kind == "i"
    chunk = front._replace(
        term=way.term,
        first=places.get(way.first, NO_COLUMN),
        second=places.get(way.second, NO_COLUMN),
        extra=way.extra & _MASK64,
    )
    return _stored(chunk, mask_bytes, numbers, signed, column, level)


def _held(block: Mapping[str, Array], values: Array) -> Array | None:
    """Return the values of rows that begin an event, if all others have that of the row before; see `Term.HELD`."""
    flags = block.get("flags")
    if flags is None or flags.dtype != np.uint8:
        return None
    begins = begins_of(flags)
    inside = ~begins[1:]
    if not inside.any() or (values[1:][inside] != values[:-1][inside]).any():
        return None
    numbers = values[begins]
    return None if bool((numbers == numbers[0]).all()) else numbers


def _whole_size(numbers: Array, signed: bool, level: int) -> float:
    """Return about how many bytes all numbers take."""
    return _tried(numbers, signed, level) * len(numbers) / max(len(_sampled(numbers)), 1)


def _best_way(
    column: Column,
    block: Mapping[str, Array],
    masks: Masks,
    values: Array,
    rows: slice | Array,
    scales: tuple[int, int],
    level: int,
) -> tuple[Way, Array]:
    best, numbers = Way(Term.NONE), values[rows]
    signed = block[column.name].dtype.kind == "i"
    size = -1.0
    for way in ways_of(column, block, scales):
        if not masks.agree(column.name, tuple(name for name in (way.first, way.second) if name)):
            continue
        if size < 0:
            size = _tried(numbers, signed, level)
        second = block[way.second] if way.second else None
        if way.term == Term.MIRROR:
            distance = values - np.uint64(way.extra & _MASK64)
            other = np.where(block[way.first] == BID, np.uint64(0) - distance, distance)[rows]
        else:
            other = (values - term_of(way.term, block[way.first], second, way.extra))[rows]
        found = _tried(other, True, level)
        if found < size * _WORTH:
            best, numbers, size = way, other, found
    return best, numbers


def _sampled(numbers: Array) -> Array:
    if len(numbers) <= _SAMPLE_ROWS * 3 // 2:
        return numbers
    half, quarter = _SAMPLE_ROWS // 2, len(numbers) // 4
    return np.concatenate((numbers[quarter : quarter + half], numbers[3 * quarter : 3 * quarter + half]))


def _tried(numbers: Array, signed: bool, level: int) -> float:
    sample = _sampled(numbers)
    if not len(sample):
        return 0.0
    _, _, narrow = narrowed(sample, signed)
    return float(len(_pcodec(narrow, level)) if narrow is not None else 0)


def narrowed(numbers: Array, signed: bool) -> tuple[int, int, Array | None]:
    """Return (base, factor, numbers less base by factor, as narrow as they fit); None for them if all are equal."""
    lowest, highest = _limits(numbers, signed)
    if lowest == highest:
        return lowest & _MASK64, 1, None
    base = np.uint64(lowest & _MASK64)
    factor = int(libraries().kernels.greatest_divisor(numbers, base))
    distances = numbers - base
    if factor > 1:
        distances //= np.uint64(factor)
    span = (highest - lowest) // factor
    width = 1 if span < 1 << 8 else 2 if span < 1 << 16 else 4 if span < 1 << 32 else 8
    return int(base), factor, distances.astype(f"<u{width}", copy=False)


def _limits(numbers: Array, signed: bool) -> tuple[int, int]:
    seen = numbers.view(np.int64) if signed else numbers
    return int(seen.min()), int(seen.max())


def _stored(chunk: Chunk, mask: bytes, numbers: Array, signed: bool, column: Column, level: int) -> Encoded:
    if not len(numbers):
        return Encoded(chunk, mask, b"")
    base, factor, narrow = narrowed(numbers, signed)
    if narrow is None:
        return Encoded(chunk._replace(base=base), mask, b"")
    chunk = chunk._replace(codec=Codec.PCODEC, width=narrow.itemsize, base=base, factor=factor)
    if level < SEARCH_LEVEL:
        return Encoded(chunk, mask, _pcodec(narrow, level))
    sample = _sampled(narrow)
    tried = {"": _pcodec(sample, level)}
    if column.kind is Kind.ID and narrow.itemsize >= 4:
        tried["lookback"] = _pcodec(sample, level, "lookback")
    if narrow.itemsize <= 2 or column.kind in (Kind.SIZE, Kind.TURNOVER):
        tried["zstd"] = _zstd(sample)
    if factor > 1 and column.kind in (Kind.SIZE, Kind.PRICE, Kind.TURNOVER):
        # Factors that only most numbers have are seen by pcodec in the numbers as they were.
        tried["wide"] = _pcodec(_sampled(numbers), level)
    best = min(tried, key=lambda name: len(tried[name]) / (1 if not name else _WORTH))
    if best == "zstd":
        chunk = chunk._replace(codec=Codec.ZSTD)
    elif best == "wide":
        chunk, narrow = chunk._replace(width=8, base=0, factor=1), numbers
    if len(sample) == len(narrow):
        made = tried[best]
    else:
        made = _zstd(narrow) if best == "zstd" else _pcodec(narrow, level, best)
    return Encoded(chunk, mask, made)


def _pcodec(numbers: Array, level: int, delta: str = "") -> bytes:
    pcodec = libraries().pcodec
    spec = pcodec.DeltaSpec.try_lookback() if delta == "lookback" else pcodec.DeltaSpec.auto()
    config = pcodec.ChunkConfig(compression_level=level, delta_spec=spec, enable_8_bit=True)
    made: bytes = pcodec.standalone.simple_compress(np.ascontiguousarray(numbers), config)
    return made


def _zstd(numbers: Array) -> bytes:
    compressor = libraries().zstandard.ZstdCompressor(level=15 if numbers.itemsize == 1 else 19)
    made: bytes = compressor.compress(np.ascontiguousarray(numbers).data.cast("B"))
    return made


def _encode_mask(mask: Array, level: int) -> tuple[int, bytes]:
    bits = _zstd(np.packbits(mask))
    if level < SEARCH_LEVEL:
        return Codec.BITS, bits
    counted = _pcodec(unsigned(mask), level)
    return (Codec.PCODEC, counted) if len(counted) < len(bits) else (Codec.BITS, bits)


def masks_of(columns: Mapping[Column, Array], level: int) -> Masks:
    """Return where columns of eight bytes are null, of those that are here and there.

    Sizes that are never null and often 0, as those that remove a level are, are masked where they are 0.
    """
    nulls, fills = {}, {}
    for column, array in columns.items():
        if array.dtype.itemsize != 8 or column.kind is Kind.CODE:
            continue
        fill = column.null
        mask = array == fill
        if column.kind is Kind.SIZE and level >= SEARCH_LEVEL and not bool(mask.any()):
            fill, mask = 0, array == 0
            if np.count_nonzero(mask) < _ZEROS_MIN * len(array):
                continue
        if bool(mask.any()) and not bool(mask.all()):
            nulls[column.name], fills[column.name] = mask, fill
    return Masks(nulls, fills)
