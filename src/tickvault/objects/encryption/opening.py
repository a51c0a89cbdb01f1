"""Encrypted objects opened: which stored bytes hold a range, and what they say.

Invariants: a data key is unwrapped once for each reader, with a binding made of what the index says of the version, so
that a record of another place does not open; nothing is handed out before its tag was checked; a range touches the
frames that hold it and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tickvault.errors import IntegrityError
from tickvault.objects.encryption.checksums import open_checksums
from tickvault.objects.encryption.customer_key import check_key
from tickvault.objects.encryption.sealing import AT_ONCE_SIZE_MAX, data_key_of
from tickvault.objects.encryption.stored import digest_of, info_of, part_salts, place_binding
from tickvault.security.cipher import (
    AES_256_GCM,
    FRAME_PLAIN_SIZE,
    Opener,
    Suite,
    stored_range,
    stored_size,
    suite_with_id,
)
from tickvault.security.cipher.opener import OPEN_SIZE_MAX

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

#: Reads the stored bytes ``[start, end)`` of an object, verified.
ReadStored = Callable[[int, int], memoryview]


class _Span(NamedTuple):
    """One body of an object: all of it, or a part."""

    start: int
    size: int
    stored_start: int
    salt: bytes = b""


class SealedObject:
    """The bodies of one encrypted version, ready to be opened."""

    __slots__ = ("_data_key", "_opener", "_spans", "_suite", "stored_size")

    def __init__(self, suite: Suite, data_key: bytes, spans: Sequence[_Span]) -> None:
        self._suite = suite
        self._data_key = data_key
        self._spans = spans
        # Of many parts a read touches few: each one's cipher is made when it is, and the last one kept.
        self._opener: tuple[_Span, Opener] | None = None
        last = spans[-1]
        self.stored_size = last.stored_start + stored_size(last.size)

    def __repr__(self) -> str:
        return f"SealedObject({len(self._spans)} bodies)"

    def stored_ranges(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Iterate over the stored ranges that hold the plaintext [start, stop)."""
        for span in self._spans:
            low, high = max(start - span.start, 0), min(stop - span.start, span.size)
            if low < high:
                first, end = stored_range(span.size, low, high)
                yield span.stored_start + first, span.stored_start + end

    def at_once(self, start: int, stop: int) -> bool:
        """Return whether opening a range takes so little that an event loop may do it."""
        return self._suite is AES_256_GCM or stop - start <= AT_ONCE_SIZE_MAX

    def checksums(self, sealed: Mapping[str, bytes]) -> dict[str, str]:
        """Return those of the object's sealed checksums that open."""
        return open_checksums(self._suite, self._data_key, sealed)

    def pieces(self, read: ReadStored, start: int, stop: int, piece_size: int) -> Iterator[memoryview]:
        """Iterate over the plaintext [start, stop) in pieces of at most `piece_size` bytes, cut at frames.

        Raises
        ------
        IntegrityError
            A frame is damaged, or is not what was sealed; what was yielded before is sound.
        """
        step = max(piece_size // FRAME_PLAIN_SIZE, 1) * FRAME_PLAIN_SIZE
        for span in self._spans:
            low, high = max(start - span.start, 0), min(stop - span.start, span.size)
            while low < high:
                upto = min(high, (low // step + 1) * step)
                yield self._open(span, read, low, upto)
                low = upto

    def open(self, read: ReadStored, start: int, stop: int) -> memoryview:
        """Return the plaintext [start, stop), read-only."""
        for span in self._spans:
            if span.start <= start and stop <= span.start + span.size and stop - start <= OPEN_SIZE_MAX:
                return self._open(span, read, start - span.start, stop - span.start)
        return memoryview(b"".join(self.pieces(read, start, stop, 16 * FRAME_PLAIN_SIZE)))

    def _open(self, span: _Span, read: ReadStored, start: int, stop: int) -> memoryview:
        def stored(low: int, high: int) -> memoryview:
            return read(span.stored_start + low, span.stored_start + high)

        found = self._opener
        if found is None or found[0] is not span:
            found = self._opener = span, Opener(self._suite, self._data_key, span.salt)
        return memoryview(found[1].open_range(stored, span.size, start, stop)).toreadonly()


def open_sealed(
    store: ObjectStore,
    bucket_id: int,
    key: bytes,
    sequence: int,
    size: int,
    en: Mapping[str, Any],
    part_sizes: Sequence[int] = (),
    customer_key: bytes | None = None,
) -> SealedObject:
    """Return the bodies of an encrypted version.

    Parameters
    ----------
    sequence, size : int
        Of the version, as the index has them.
    en : mapping
        The entry ``en`` of its record, see `stored.effective`.
    part_sizes : sequence of int
        Of an object made of parts.

    Raises
    ------
    AccessDeniedError
        The key is disabled, destroyed or missing, or it is another customer's.
    CustomerKeyError
        The customer's key is missing, or there should be none.
    IntegrityError
        The wrapped key is not one of this version.
    """
    info = info_of(en)
    # Before the key service is asked: what is wrong with the request is told as such.
    check_key(customer_key, info.customer_check)
    suite = suite_with_id(en["s"])
    salts = part_salts(en, part_sizes)
    if salts and sum(part_sizes) != size:
        raise IntegrityError("an encrypted object's parts do not have its size: its record was changed")
    digest = digest_of(salts, part_sizes)
    binding = place_binding(store.engine.vault_id, en["m"], suite.id, bucket_id, key, sequence, size, digest)
    inner = store.keys.unwrap(info.key_id, en["w"], binding)
    data_key = data_key_of(inner, info, suite, customer_key)
    if not salts:
        return SealedObject(suite, data_key, [_Span(0, size, 0)])
    spans = []
    start = stored = 0
    for (_, salt), part_size in zip(salts, part_sizes, strict=True):
        spans.append(_Span(start, part_size, stored, salt))
        start += part_size
        stored += stored_size(part_size)
    return SealedObject(suite, data_key, spans)
