from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.security.cipher import FRAME_PLAIN_SIZE, SM4_GCM, SUITES, Opener, Sealer, Suite, seal_body, stored_range

P = FRAME_PLAIN_SIZE

suites = st.sampled_from(list(SUITES.values()))
# Around the borders of frames, where it could go wrong, and anywhere.
sizes = st.one_of(
    st.builds(lambda frames, off: max(0, frames * P + off), st.integers(0, 4), st.integers(-2, 2)),
    st.integers(0, 5 * P),
)


def content(size: int) -> bytes:
    return hashlib.shake_128(size.to_bytes(8, "big")).digest(size)


def reference(suite: Suite, key: bytes, plain: bytes) -> bytes:
    """The format written again from its drawing, with another interface of the library."""
    algorithm = algorithms.SM4 if suite is SM4_GCM else algorithms.AES
    pieces = [plain[at : at + P] for at in range(0, len(plain), P)] or [b""]
    out = b""
    for index, piece in enumerate(pieces):
        place = index.to_bytes(4, "big") + bytes([index == len(pieces) - 1])
        encryptor = Cipher(algorithm(key), modes.GCM(bytes(7) + place)).encryptor()
        encryptor.authenticate_additional_data(b"tickvault body" + bytes([1, suite.id]) + place)
        out += encryptor.update(piece) + encryptor.finalize() + encryptor.tag
    return out


@settings(max_examples=60, deadline=None)
@given(suite=suites, size=sizes)
def test_a_body_is_what_the_drawing_says(suite: Suite, size: int) -> None:
    plain = content(size)
    data_key, stored = seal_body(suite, plain)
    assert bytes(stored) == reference(suite, data_key, plain)


@settings(max_examples=100, deadline=None)
@given(suite=suites, size=sizes, data=st.data())
def test_any_range_of_any_body(suite: Suite, size: int, data: st.DataObject) -> None:
    plain = content(size)
    near = st.one_of(st.integers(0, size), sizes.filter(lambda at: at <= size))
    start, end = sorted((data.draw(near), data.draw(near)))
    data_key, stored = seal_body(suite, plain)
    low, high = stored_range(size, start, end)

    def read(first: int, last: int) -> memoryview:
        assert low <= first <= last <= high
        return memoryview(stored)[first:last]

    opener = Opener(suite, data_key)
    assert bytes(opener.open_range(read, size, start, end)) == plain[start:end]
    assert b"".join(map(bytes, opener.pieces(read, size, start, end))) == plain[start:end]


@settings(max_examples=60, deadline=None)
@given(suite=suites, pieces=st.lists(sizes, max_size=6), as_part=st.booleans())
def test_any_cut_of_a_stream(suite: Suite, pieces: list[int], as_part: bool) -> None:
    sealer = Sealer.for_part(suite, suite.new_key()) if as_part else Sealer.for_object(suite)
    plain = b"".join(map(content, pieces))
    stored = b"".join(bytes(sealer.update(content(size))) for size in pieces) + bytes(sealer.finish())
    assert (sealer.plain_size, sealer.stored_size) == (len(plain), len(stored))
    assert bytes(Opener(suite, sealer.data_key, sealer.salt).open(stored, len(plain))) == plain
