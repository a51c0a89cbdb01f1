"""A footer that lies, under checksums that match: refused, or read without reaching outside the file."""

from __future__ import annotations

import struct
from dataclasses import replace

import crc32c
import numpy as np
import pytest
import zstandard
from codec_made import bars, quotes, trades

from tickvault.errors import FormatError, IntegrityError
from tickvault.market.codec import encode_cold, encode_warm, joined, open_cold, open_warm
from tickvault.market.codec.chunks import CHUNK, Chunk, Mask, Term
from tickvault.market.codec.layout import trailer_and_footer


def _sealed(data: bytes, plain: bytes, *, cold: bool) -> bytes:
    stored = zstandard.ZstdCompressor().compress(plain) if cold else plain
    front = struct.pack("<QIII", len(data), len(stored), len(plain), crc32c.crc32c(stored))
    return data + stored + front + struct.pack("<I8s", crc32c.crc32c(front), b"TVCOLEND")


@pytest.mark.parametrize("cold", [False, True])
def test_any_garbled_footer_is_refused_or_harmless(cold: bool) -> None:
    random = np.random.default_rng(11)
    for make in (trades, quotes, bars):
        whole = joined((encode_cold if cold else encode_warm)(make(500), [(1, 0, 500)], {"v": 1}))
        end = (open_cold if cold else open_warm)(whole).footer.data_end
        plain = whole[end:-32]
        if cold:
            plain = zstandard.ZstdDecompressor().decompress(plain)
        refused = 0
        for _ in range(700):
            garbled = bytearray(plain)
            for place in random.integers(0, len(plain), random.integers(1, 4)):
                garbled[place] = random.choice([0, 1, 2, 6, 0x7F, 0xFF, garbled[place] ^ 1])
            # Not the number of rows: as many as it says are made room for, which is what it is for.
            garbled[16:24] = plain[16:24]
            file = _sealed(whole[:end], bytes(garbled), cold=cold)
            try:
                if cold:
                    opened = open_cold(file)
                    if any(block.row_count > 500 for block in opened.blocks):
                        continue
                    opened.read(threads=1)
                    opened.ordinals()
                else:
                    warm = open_warm(file)
                    for array in warm.columns().arrays.values():
                        array.sum()
                    warm.ordinals()
            except (IntegrityError, FormatError):
                refused += 1
        assert refused > 100


@pytest.mark.parametrize("lie", ["term", "mask", "far"])
def test_columns_made_of_each_other_are_refused(lie: str) -> None:
    file = open_cold(whole := joined(encode_cold(quotes(400), level=3)))
    footer = file.footer
    chunks = list(file.blocks[0].chunks)
    one, other = (
        next(number for number, info in enumerate(footer.columns) if info.column.name == name)
        for name in ("bid_px_00", "ask_px_00")
    )
    for place, link in ((one, other), (other, one)):
        chunk: Chunk = chunks[place]
        if lie == "mask":
            chunks[place] = chunk._replace(mask=Mask.SAME, mask_column=link)
        else:
            chunks[place] = chunk._replace(term=Term.OTHER, first=link if lie == "term" else 99)
    index = footer.index[: -CHUNK.size * len(chunks)] + b"".join(CHUNK.pack(*chunk) for chunk in chunks)
    lying = whole[: footer.data_end] + b"".join(trailer_and_footer(replace(footer, index=index)))
    with pytest.raises(IntegrityError, match=r"made of itself|described wrongly"):
        open_cold(lying).read()
