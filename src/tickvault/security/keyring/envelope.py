"""A remote key service without a round trip for each object.

Data keys are wrapped here, by a key that was made here and wrapped by the remote service; its wrapped form stands in
every blob. So the remote service is asked once for each such key when writing, and once when reading, for as long as it
is remembered. (Amazon S3's "bucket keys" work the same way.)

Invariants: what the remote service unwrapped is remembered for `age_max_s` and for `count_max` keys, no longer, so that
a key that was destroyed or disabled there is refused here after `age_max_s` at the latest; a key made here wraps for
`age_max_s` and for `WRAPS_MAX` data keys, no longer; nothing secret is shown or stored.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.seam.clock import Clock, SystemClock
from tickvault.security.cipher import AES_256_GCM, Suite, suite_with_id, unwrap_data_key, wrap_data_key
from tickvault.security.cipher.aead import Aead
from tickvault.security.cipher.wrapping import WRAP_OVERHEAD, WRAPPED_PLAIN_SIZE_MAX
from tickvault.security.keyring.service import KeyDescription, KeyService, check_key_id

#: How long an unwrapped key is remembered, seconds.
AGE_MAX_S = 300.0
#: How many are remembered.
COUNT_MAX = 10_000
#: Data keys wrapped under one key, at most; see `file_service.WRAPS_PER_SALT_MAX`.
WRAPS_MAX = 1 << 28
#: Largest blob of the remote service, bytes.
REMOTE_SIZE_MAX = 2048

# version of the blob, suite id, size of the remote service's blob, which follows
_HEADER = struct.Struct(">BBH")
_BLOB_VERSION = 2
_REMOTE_BINDING = b"tickvault intermediate key 1 "


class _Known(NamedTuple):
    """A key that was made here or unwrapped by the remote service."""

    prefix: bytes
    """The blob's bytes before the wrapped data key."""
    aead: Aead
    until_ns: int
    uses: Iterator[int]


class EnvelopeKeyService:
    """A key service over another one; see the module. Threads may share it.

    Parameters
    ----------
    remote : KeyService
        Asked seldom.
    suite : Suite
        What data keys are wrapped with; choose the one of the bodies.
    age_max_s : float
        How long an unwrapped key is remembered, seconds; 0: never.
    count_max : int
        How many are remembered, 1 to 1,000,000.
    """

    def __init__(
        self,
        remote: KeyService,
        *,
        suite: Suite = AES_256_GCM,
        age_max_s: float = AGE_MAX_S,
        count_max: int = COUNT_MAX,
        clock: Clock | None = None,
    ) -> None:
        if not 0 <= age_max_s <= 86_400 or not 1 <= count_max <= 1_000_000:
            raise InvalidInputError(
                f"age_max_s={age_max_s!r} must be 0 to 86400, and count_max={count_max!r} 1 to 1000000"
            )
        self.remote = remote
        self._suite = suite
        self._age_ns = int(age_max_s * 1e9)
        self._count_max = count_max
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._wrapping: dict[str, _Known] = {}
        self._unwrapping: dict[tuple[str, bytes], _Known] = {}
        self._forgotten = 0

    def __repr__(self) -> str:
        return f"EnvelopeKeyService({self.remote!r})"

    def wrap(self, key_id: str, plaintext: bytes, binding: bytes) -> bytes:
        """Return a data key wrapped here; see `KeyService.wrap`."""
        known = self._wrapping.get(key_id)
        if known is None or self._clock.monotonic_ns() >= known.until_ns or next(known.uses) >= WRAPS_MAX:
            known = self._make(key_id, known)
        return known.prefix + wrap_data_key(known.aead, plaintext, known.prefix + binding)

    def unwrap(self, key_id: str, blob: bytes, binding: bytes) -> bytes:
        """Return the data key of what `wrap` returned; see `KeyService.unwrap`."""
        blob = bytes(blob)
        size = _HEADER.size + int.from_bytes(blob[2:4], "big")
        prefix = blob[:size]
        known = self._unwrapping.get((key_id, prefix))
        if known is None or self._clock.monotonic_ns() >= known.until_ns:
            known = self._ask(key_id, prefix, len(blob) - size)
        return unwrap_data_key(known.aead, blob[size:], prefix + binding)

    def describe(self, key_id: str) -> KeyDescription:
        """Return what the remote service knows of a key."""
        return self.remote.describe(key_id)

    def create(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Make a key in the remote service."""
        return self.remote.create(key_id, by=by)

    def rotate(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Make a new version current in the remote service, and use it from the next data key on."""
        self.forget(key_id)
        try:
            return self.remote.rotate(key_id, by=by)
        finally:
            self.forget(key_id)

    def destroy(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Destroy a key in the remote service, and forget here what it unwrapped."""
        self.forget(key_id)
        try:
            return self.remote.destroy(key_id, by=by)
        finally:
            self.forget(key_id)  # what other threads learned meanwhile

    def forget(self, key_id: str) -> None:
        """Forget what the remote service unwrapped under a key."""
        with self._lock:
            self._forgotten += 1
            self._wrapping.pop(key_id, None)
            for known in [known for known in self._unwrapping if known[0] == key_id]:
                del self._unwrapping[known]

    def _make(self, key_id: str, stale: _Known | None) -> _Known:
        check_key_id(key_id)
        began = self._forgotten
        key = self._suite.new_key()
        remote = self.remote.wrap(key_id, key, _REMOTE_BINDING + key_id.encode())
        if not 0 < len(remote) <= REMOTE_SIZE_MAX:
            raise InvalidInputError(
                f"the key service wrapped key {key_id} into {len(remote)} bytes; the limit is {REMOTE_SIZE_MAX}"
            )
        prefix = _HEADER.pack(_BLOB_VERSION, self._suite.id, len(remote)) + remote
        known = self._known(prefix, self._suite.aead(key))
        with self._lock:
            there = self._wrapping.get(key_id)
            if there is not None and there is not stale:
                return there  # another thread was faster; two keys would be as right, but cost the readers more
            if began == self._forgotten:
                self._wrapping[key_id] = known
                self._keep(key_id, known)
        return known

    def _ask(self, key_id: str, prefix: bytes, rest_size: int) -> _Known:
        check_key_id(key_id)
        if len(prefix) <= _HEADER.size or not WRAP_OVERHEAD < rest_size <= WRAP_OVERHEAD + WRAPPED_PLAIN_SIZE_MAX:
            raise IntegrityError(
                "a wrapped data key is cut off or damaged; run tickvault audit verify --objects --everything"
            )
        version, suite_id, size = _HEADER.unpack(prefix[: _HEADER.size])
        if version != _BLOB_VERSION or size > REMOTE_SIZE_MAX:
            raise IntegrityError(
                f"a wrapped data key is of version {version}, a remote service's is {_BLOB_VERSION}: it is damaged, or "
                "was wrapped by a keyring file or a newer release"
            )
        suite = suite_with_id(suite_id)
        began = self._forgotten
        key = self.remote.unwrap(key_id, prefix[_HEADER.size :], _REMOTE_BINDING + key_id.encode())
        if len(key) != suite.key_size:
            raise IntegrityError(
                f"key {key_id} unwrapped a key of {len(key)} bytes; {suite.name} needs {suite.key_size}"
            )
        known = self._known(prefix, suite.aead(key))
        with self._lock:
            if began == self._forgotten:
                self._keep(key_id, known)
        return known

    def _known(self, prefix: bytes, aead: Aead) -> _Known:
        return _Known(prefix, aead, self._clock.monotonic_ns() + self._age_ns, itertools.count())

    def _keep(self, key_id: str, known: _Known) -> None:
        """Remember, and let the oldest go: a dict keeps the order in which its entries were made."""
        kept = self._unwrapping
        kept.pop((key_id, known.prefix), None)
        now = self._clock.monotonic_ns()
        while kept and (len(kept) >= self._count_max or next(iter(kept.values())).until_ns <= now):
            del kept[next(iter(kept))]
        if self._age_ns:
            kept[key_id, known.prefix] = known
