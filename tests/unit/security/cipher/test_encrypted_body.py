from __future__ import annotations

import concurrent.futures
import hashlib
import os
from collections.abc import Callable

import pytest

from tickvault.errors import FormatError, IntegrityError, InvalidInputError
from tickvault.security.cipher import (
    AES_256_GCM,
    BODY_SIZE_MAX,
    FRAME_PLAIN_SIZE,
    FRAME_STORED_SIZE,
    SM4_GCM,
    SUITES,
    Opener,
    Sealer,
    Suite,
    body_binding,
    frame_count,
    parts_digest,
    seal_body,
    stored_range,
    stored_size,
    suite_named,
    suite_with_id,
    unwrap_data_key,
    wrap_data_key,
)
from tickvault.security.cipher.aead import Aead, InvalidTag
from tickvault.security.cipher.frames import Frames
from tickvault.security.cipher.sm4_gcm import GcryptSm4Gcm, OpensslSm4Gcm, libgcrypt

P, S = FRAME_PLAIN_SIZE, FRAME_STORED_SIZE

each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)


def reader(stored: bytes) -> Callable[[int, int], memoryview]:
    return lambda start, end: memoryview(stored)[start:end]


def fails(suite: Suite, data_key: bytes, stored: bytes, size: int, *, salt: bytes = b"") -> None:
    """Every way to read must refuse."""
    opener = Opener(suite, data_key, salt)
    with pytest.raises(IntegrityError):
        opener.open(stored, size)
    if len(stored) > stored_size(size):
        return  # who reads a range never sees what lies behind the end
    with pytest.raises(IntegrityError):
        opener.open_range(reader(stored), size, 0, size)
    with pytest.raises(IntegrityError):
        for _ in opener.pieces(reader(stored), size, 0, size):
            pass


@each_suite
@pytest.mark.parametrize("size", [0, 1, 16, P - 1, P, P + 1, 2 * P, 3 * P + 7])
def test_a_body_comes_back(suite: Suite, size: int) -> None:
    plain = os.urandom(size)
    data_key, stored = seal_body(suite, plain)
    assert len(stored) == stored_size(size)
    assert size < 64 or plain[:32] not in bytes(stored)
    assert bytes(Opener(suite, data_key).open(stored, size)) == plain


def test_a_frame_is_one_checksum_frame_of_the_engine() -> None:
    assert (P, S) == (65_520, 65_536)
    assert [stored_size(size) for size in (0, 1, P, P + 1)] == [16, 17, S, S + 17]
    assert [frame_count(size) for size in (0, 1, P, P + 1, 2 * P)] == [1, 1, 1, 2, 2]
    assert stored_range(3 * P, P, P + 1) == (S, 2 * S)
    assert stored_range(2 * P + 5, 2 * P, 2 * P + 5) == (2 * S, 2 * S + 21)
    assert stored_range(0, 0, 0) == (0, 16)
    assert stored_range(10, 5, 5) == (0, 0)
    for size in (-1, BODY_SIZE_MAX + 1):
        with pytest.raises(InvalidInputError, match="cannot be encrypted"):
            stored_size(size)
    for start, end in ((-1, 5), (6, 5), (0, 11)):
        with pytest.raises(InvalidInputError, match="does not lie in"):
            stored_range(10, start, end)


@each_suite
def test_a_range_reads_only_its_frames(suite: Suite) -> None:
    plain = os.urandom(40 * P + 100)
    data_key, stored = seal_body(suite, plain)
    asked: list[tuple[int, int]] = []

    def read(start: int, end: int) -> memoryview:
        asked.append((start, end))
        return memoryview(stored)[start:end]

    opener = Opener(suite, data_key)
    assert bytes(opener.open_range(read, len(plain), 5 * P - 1, 6 * P + 1)) == plain[5 * P - 1 : 6 * P + 1]
    assert asked == [(4 * S, 7 * S)]
    asked.clear()
    assert bytes(opener.open_range(read, len(plain), 40 * P + 99, len(plain))) == plain[-1:]
    assert asked == [(40 * S, len(stored))]
    asked.clear()
    assert bytes(opener.open_range(read, len(plain), 7, 7)) == b""
    assert not asked
    assert b"".join(map(bytes, opener.pieces(read, len(plain), 3, len(plain) - 3))) == plain[3:-3]
    assert max(end - start for start, end in asked) <= 16 * S


@each_suite
def test_every_flipped_bit_of_a_small_body_is_noticed(suite: Suite) -> None:
    plain = os.urandom(40)
    data_key, stored = seal_body(suite, plain)
    for bit in range(len(stored) * 8):
        changed = bytearray(stored)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError, match="frame 0"):
            Opener(suite, data_key).open(bytes(changed), 40)


@each_suite
def test_a_flipped_bit_in_any_frame_is_noticed_and_only_by_who_reads_it(suite: Suite) -> None:
    plain = os.urandom(3 * P + 50)
    data_key, stored = seal_body(suite, plain)
    for at in (0, P, S - 1, S, 2 * S + 77, 3 * S - 1, 3 * S, len(stored) - 1):
        changed = bytearray(stored)
        changed[at] ^= 0x80
        fails(suite, data_key, bytes(changed), len(plain))
        opener, frame = Opener(suite, data_key), at // S
        with pytest.raises(IntegrityError, match=f"frame {frame} "):
            opener.open_range(reader(changed), len(plain), frame * P, frame * P + 1)
        other = (frame + 1) % 4
        assert bytes(opener.open_range(reader(changed), len(plain), other * P, other * P + 1)) == plain[other * P :][:1]


@each_suite
def test_frames_moved_repeated_or_left_out_are_noticed(suite: Suite) -> None:
    plain = bytes(4 * P)  # equal frames of plaintext: only the place tells them apart
    data_key, stored = seal_body(suite, plain)
    frame = [bytes(stored[at : at + S]) for at in range(0, len(stored), S)]
    assert len({*frame}) == 4
    size = len(plain)
    for order in ((1, 0, 2, 3), (0, 1, 3, 2), (0, 0, 2, 3), (3, 1, 2, 3), (0, 1, 2, 2)):
        fails(suite, data_key, b"".join(frame[index] for index in order), size)
    # Cut off, or lengthened, at the border of a frame; also when the size was changed to fit.
    for order in ((0, 1, 2), (0,), (0, 1, 2, 3, 3), (0, 1, 2, 3, 0), (1, 2, 3)):
        changed = b"".join(frame[index] for index in order)
        fails(suite, data_key, changed, size)
        fails(suite, data_key, changed, len(order) * P)
    fails(suite, data_key, b"", size)
    fails(suite, data_key, b"", 0)
    fails(suite, data_key, bytes(stored[:-1]), size)
    fails(suite, data_key, bytes(stored[:-1]), size - 1)
    fails(suite, data_key, bytes(stored) + b"\0", size)
    fails(suite, data_key, bytes(stored) + bytes(17), size + 1)


@each_suite
def test_frames_of_another_body_or_key_or_suite_are_noticed(suite: Suite) -> None:
    plain = os.urandom(2 * P)
    one, two = seal_body(suite, plain), seal_body(suite, plain)
    assert one.data_key != two.data_key
    fails(suite, two.data_key, bytes(one.stored), len(plain))
    fails(suite, one.data_key, bytes(one.stored[:S]) + bytes(two.stored[S:]), len(plain))
    # Parts of one upload share the data key.
    first, second = Sealer.for_part(suite, one.data_key), Sealer.for_part(suite, one.data_key)
    assert first.salt != second.salt
    a, b = bytes(first.finish(plain)), bytes(second.finish(plain))
    assert a != b
    assert bytes(Opener(suite, one.data_key, first.salt).open(a, len(plain))) == plain
    fails(suite, one.data_key, b, len(plain), salt=first.salt)
    fails(suite, one.data_key, a[:S] + b[S:], len(plain), salt=first.salt)
    fails(suite, one.data_key, a, len(plain))


def test_a_body_of_another_suite_is_noticed() -> None:
    # Equal keys and the same cipher: only the associated data tells the suites apart.
    twin = Suite("twin", 9, 32, AES_256_GCM._aead, AES_256_GCM._module)
    data_key, stored = seal_body(AES_256_GCM, b"x" * 100)
    fails(twin, data_key, bytes(stored), 100)
    with pytest.raises(InvalidInputError, match="must have 16 bytes, has 32"):
        Opener(SM4_GCM, data_key)
    assert suite_with_id(2) is suite_named("sm4-gcm") is SM4_GCM
    with pytest.raises(InvalidInputError, match="aes-256-gcm, sm4-gcm"):
        suite_named("rot13")
    with pytest.raises(FormatError, match="suite 7"):
        suite_with_id(7)


@each_suite
def test_a_stream_gives_the_same_bytes_however_it_is_cut(suite: Suite) -> None:
    plain = os.urandom(3 * P + 11)
    for cut in (1000, P - 1, P, P + 1, 2 * P, 2 * P + 1, len(plain)):
        sealer = Sealer.for_object(suite)
        got = b"".join(bytes(sealer.update(plain[at : at + cut])) for at in range(0, len(plain), cut))
        got += bytes(sealer.finish())
        assert len(got) == sealer.stored_size == stored_size(len(plain))
        whole = memoryview(bytearray(len(got)))
        Frames(suite, sealer.data_key).seal(memoryview(plain), whole, 0, final=True)
        assert got == whole


def test_a_body_that_ends_at_the_border_of_a_frame_has_no_frame_more() -> None:
    for size in (P, 2 * P):
        sealer = Sealer.for_object(AES_256_GCM)
        got = bytes(sealer.update(bytes(size))) + bytes(sealer.finish())
        assert len(got) == size // P * S
        assert bytes(Opener(AES_256_GCM, sealer.data_key).open(got, size)) == bytes(size)


def test_a_sealer_that_ended_seals_nothing_more() -> None:
    sealer = Sealer.for_object(AES_256_GCM)
    sealer.finish(b"all")
    for again in (sealer.update, sealer.finish):
        with pytest.raises(InvalidInputError, match="is finished"):
            again(b"more")
    broken = Sealer.for_object(AES_256_GCM)
    with pytest.raises(TypeError):
        broken.update("text")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="failed on the way"):
        broken.update(b"more")
    with pytest.raises(InvalidInputError, match="contiguous"):
        Sealer.for_object(AES_256_GCM).update(memoryview(b"abcdef")[::2])


def test_a_key_seals_no_frame_beyond_its_limit() -> None:
    frames, view = Frames(AES_256_GCM, bytes(32)), memoryview(bytearray(17))
    frames.seal(view[:1], view, (1 << 27) - 1, final=True)
    with pytest.raises(InvalidInputError, match="upload in parts"):
        frames.seal(view[:1], view, 1 << 27, final=True)
    with pytest.raises(InvalidInputError, match="whole frames"):
        frames.seal(view[:1], view, 0, final=False)
    with pytest.raises(InvalidInputError, match="do not fit"):
        frames.seal(view[:2], view, 0, final=True)


def ciphers_of(key: bytes) -> list[Aead]:
    library = libgcrypt()[0]
    if library is None:
        pytest.skip("libgcrypt is not installed")
    return [GcryptSm4Gcm(library, key), OpensslSm4Gcm(key)]


def test_both_modules_of_sm4_give_equal_bytes() -> None:
    one, two = ciphers_of(os.urandom(16))
    for size in (0, 1, 15, 16, 17, 4096, 16_383, 16_384, P):
        nonce, plain, associated = os.urandom(12), os.urandom(size), os.urandom(size % 40)
        stored = one.encrypt(nonce, memoryview(plain), associated)
        assert stored == two.encrypt(nonce, plain, associated)
        assert one.decrypt(nonce, bytearray(stored), associated) == two.decrypt(nonce, stored, associated) == plain


@each_suite
def test_no_plaintext_that_was_not_verified_is_left_in_a_buffer(suite: Suite) -> None:
    plain = b"secret" * (2 * P // 6)
    data_key, stored = seal_body(suite, plain)
    for at in (len(stored) - 1, S - 1):
        changed = bytearray(stored)
        changed[at] ^= 1
        out = bytearray(len(plain))
        with pytest.raises(IntegrityError):
            Frames(suite, data_key).open(memoryview(changed), memoryview(out), 0, final=True)
        assert b"secret" not in out


def test_what_is_shorter_than_a_tag_is_no_body() -> None:
    nonce = bytes(12)
    for cipher in [*ciphers_of(bytes(16)), AES_256_GCM.aead(bytes(32))]:
        for short in (b"", b"x" * 15):
            with pytest.raises(InvalidTag):
                cipher.decrypt(nonce, short, b"")


def test_a_module_writes_into_nothing_that_is_too_small_or_not_its_own() -> None:
    for cipher in ciphers_of(bytes(16)):
        with pytest.raises(InvalidInputError, match="must have 20 bytes, has 19"):
            cipher.encrypt_into(bytes(12), b"four", b"", bytearray(19))
        with pytest.raises(InvalidInputError, match="must have 4 bytes, has 5"):
            cipher.decrypt_into(bytes(12), cipher.encrypt(bytes(12), b"four", b""), b"", bytearray(5))
    with pytest.raises(InvalidInputError, match="writable"):
        ciphers_of(bytes(16))[0].encrypt_into(bytes(12), b"four", b"", bytes(20))


@each_suite
def test_threads_share_a_cipher(suite: Suite) -> None:
    cipher = suite.aead(suite.new_key())
    opener_key, stored = seal_body(suite, b"q" * (P + 9))
    opener = Opener(suite, opener_key)

    def work(seed: int) -> bool:
        plain = hashlib.sha256(seed.to_bytes(4, "big")).digest() * (100 if seed % 2 else 1000)
        nonce = seed.to_bytes(12, "big")
        good = cipher.decrypt(nonce, cipher.encrypt(nonce, plain, b"a"), b"a") == plain
        return good and bytes(opener.open(stored, P + 9)) == b"q" * (P + 9)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


BINDING = {"bucket_id": 3, "key": b"orders/1", "sequence": 77, "size": 100, "parts": b""}


@each_suite
def test_a_wrapped_key_opens_only_in_its_place(suite: Suite) -> None:
    kek, data_key = suite.aead(suite.new_key()), suite.new_key()
    wrapped = wrap_data_key(kek, data_key, body_binding(**BINDING))
    assert len(wrapped) == suite.key_size + 28
    assert wrapped != wrap_data_key(kek, data_key, body_binding(**BINDING))
    assert unwrap_data_key(kek, wrapped, body_binding(**BINDING)) == data_key
    salt = bytes(16)
    others = [
        {"bucket_id": 4},
        {"key": b"orders/2"},
        {"key": b""},
        {"sequence": 78},
        {"size": 101},
        {"parts": parts_digest([(1, 100, salt)])},
    ]
    for other in others:
        with pytest.raises(IntegrityError, match="another object, version"):
            unwrap_data_key(kek, wrapped, body_binding(**{**BINDING, **other}))
    with pytest.raises(IntegrityError):
        unwrap_data_key(suite.aead(suite.new_key()), wrapped, body_binding(**BINDING))
    for bit in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            unwrap_data_key(kek, bytes(changed), body_binding(**BINDING))
    for cut in (b"", wrapped[:5], wrapped[:12], wrapped[:27], wrapped[:-1], wrapped + b"\0"):
        with pytest.raises(IntegrityError):
            unwrap_data_key(kek, cut, body_binding(**BINDING))
    for bad in (b"", bytes(257)):
        with pytest.raises(InvalidInputError):
            wrap_data_key(kek, bad, b"")


def test_a_binding_reads_one_way_only() -> None:
    digest = parts_digest([(1, 2, bytes(16))])
    assert body_binding(**{**BINDING, "key": b"k" + digest}) != body_binding(
        **{**BINDING, "key": b"k", "parts": digest}
    )
    assert parts_digest([(1, 2, b"a" * 16), (2, 2, b"b" * 16)]) != parts_digest([(1, 2, b"b" * 16), (2, 2, b"a" * 16)])
    assert parts_digest([(1, 2, bytes(16))]) != parts_digest([(2, 2, bytes(16))]) != parts_digest([])
    with pytest.raises(InvalidInputError, match="part 3 must have 16 bytes, has 2"):
        parts_digest([(3, 1, b"ab")])


@each_suite
def test_no_representation_shows_a_key(suite: Suite) -> None:
    sealed, sealer = seal_body(suite, b"x"), Sealer.for_object(suite)
    key = sealed.data_key
    shown = [sealed, Opener(suite, key), Frames(suite, key), suite.aead(key), suite, OpensslSm4Gcm(key[:16])]
    for each in shown:
        for text in (repr(each), str(each)):
            assert key.hex() not in text
            assert repr(key)[2:-1] not in text
    assert repr(sealer.data_key) not in repr(sealer)
    with pytest.raises(IntegrityError) as caught:
        Opener(suite, key).open(bytes(17), 1)
    assert key.hex() not in str(caught.value)
    assert caught.value.__cause__ is None
