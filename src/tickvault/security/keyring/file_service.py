"""The key service of one machine: a keyring file.

Data keys are not wrapped by the key-encryption key itself, but by a key derived from it with a random salt that stands
in the blob: one salt for each process and version, changed long before random nonces could repeat. So the
key-encryption key has no limit of uses, which a store that takes tens of thousands of puts a second would reach in a
day.

Invariants: what is derived is kept with the generation of the keyring it was derived from, and forgotten with it, so
that a disabled or destroyed key is refused as soon as the keyring was read again; unwrapped data keys are not kept at
all, because unwrapping one takes a microsecond.
"""

from __future__ import annotations

import itertools
import secrets
import struct
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.security.cipher import SUITES, suite_named, unwrap_data_key, wrap_data_key
from tickvault.security.cipher.aead import Aead
from tickvault.security.cipher.suite import AES_256_GCM
from tickvault.security.cipher.wrapping import WRAP_OVERHEAD, WRAPPED_PLAIN_SIZE_MAX
from tickvault.security.keyring.faults import KeysDeniedError
from tickvault.security.keyring.key import Key, usable
from tickvault.security.keyring.keyring import Keyring, Snapshot
from tickvault.security.keyring.service import KeyDescription

#: Largest binding, bytes: an object's key has at most 65,535.
BINDING_SIZE_MAX = 70_000
#: Derived keys that are kept, at most.
DERIVED_COUNT_MAX = 4096
#: Data keys wrapped under one salt, at most; 16 forked copies of a process stay below 2**32 together.
WRAPS_PER_SALT_MAX = 1 << 28

# version of the blob, suite id, version of the key, salt
_HEADER = struct.Struct(">BBI16s")
HEADER_SIZE = _HEADER.size
_BLOB_VERSION = 1
_BLOB_SIZE_MAX = HEADER_SIZE + WRAP_OVERHEAD + WRAPPED_PLAIN_SIZE_MAX


class _Wrapping(NamedTuple):
    """What this process wraps with under one key."""

    header: bytes
    aead: Aead
    uses: Iterator[int]


class _Derived:
    """What was derived from one generation of the keyring."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.unwrapping: dict[tuple[str, bytes], Aead] = {}
        self.wrapping: dict[str, _Wrapping] = {}


class FileKeyService:
    """Wraps under the keys of a `Keyring`. Threads may share it."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self._derived = _Derived(keyring.snapshot())

    def __repr__(self) -> str:
        return f"FileKeyService({self.keyring!r})"

    def wrap(self, key_id: str, plaintext: bytes, binding: bytes) -> bytes:
        """Return a data key wrapped under the current version of a key; 82 bytes for a key of 32."""
        derived = self._current()
        wrapping = derived.wrapping.get(key_id)
        if wrapping is None or next(wrapping.uses) >= WRAPS_PER_SALT_MAX:
            wrapping = self._new_wrapping(derived, key_id)
        _check_binding(binding)
        return wrapping.header + wrap_data_key(wrapping.aead, plaintext, wrapping.header + binding)

    def unwrap(self, key_id: str, blob: bytes, binding: bytes) -> bytes:
        """Return the data key of what `wrap` returned."""
        header = bytes(blob[:HEADER_SIZE])
        aead = self._current().unwrapping.get((key_id, header))
        if aead is None:
            aead = self._new_unwrapping(key_id, blob)
        _check_binding(binding)
        return unwrap_data_key(aead, blob[HEADER_SIZE:], header + binding)

    def describe(self, key_id: str) -> KeyDescription:
        """Return what is known of a key."""
        return self.keyring.describe(key_id)

    def keys(self) -> list[KeyDescription]:
        """Return all keys by id, destroyed ones too."""
        return self.keyring.keys()

    def create(self, key_id: str, *, by: str = "", suite: str = AES_256_GCM.name) -> KeyDescription:
        """Make a key that wraps with a suite; choose the one of the bodies."""
        return self.keyring.create_key(key_id, by=by, suite=suite)

    def rotate(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Make a new version current; older ones still unwrap."""
        return self.keyring.rotate(key_id, by=by)

    def destroy(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Destroy all versions of a key: what was encrypted under it can never be read again."""
        return self.keyring.destroy(key_id, by=by)

    def _current(self, *, now: bool = False) -> _Derived:
        snapshot = self.keyring.snapshot(now=now)
        derived = self._derived
        if derived.snapshot is not snapshot:
            # Another thread may still fill the old one; nobody looks into it any more.
            derived = self._derived = _Derived(snapshot)
        return derived

    def _new_wrapping(self, derived: _Derived, key_id: str) -> _Wrapping:
        if key_id not in derived.snapshot.content.keys:
            derived = self._current(now=True)  # another process may just have made it
        key = usable(derived.snapshot.content.keys, key_id, "wrap", self.keyring.path)
        suite = suite_named(key.suite)
        salt = secrets.token_bytes(16)
        version = key.versions[-1]
        header = _HEADER.pack(_BLOB_VERSION, suite.id, version.version, salt)
        wrapping = _Wrapping(header, _derive(key, version.material, salt), itertools.count())
        derived.wrapping[key_id] = wrapping
        return wrapping

    def _new_unwrapping(self, key_id: str, blob: bytes) -> Aead:
        if not HEADER_SIZE + WRAP_OVERHEAD < len(blob) <= _BLOB_SIZE_MAX:
            raise IntegrityError(
                f"a wrapped data key of {len(blob)} bytes is cut off or lengthened; run tickvault audit verify "
                "--objects --everything"
            )
        blob_version, suite_id, number, salt = _HEADER.unpack(blob[:HEADER_SIZE])
        if blob_version != _BLOB_VERSION:
            raise IntegrityError(
                f"a wrapped data key is of version {blob_version}, this release knows {_BLOB_VERSION}: it is damaged, "
                "or a newer release wrote it"
            )
        derived = self._current()
        key = derived.snapshot.content.keys.get(key_id)
        if key is None or all(each.version != number for each in key.versions):
            derived = self._current(now=True)  # another process may just have rotated it
        key = usable(derived.snapshot.content.keys, key_id, "unwrap", self.keyring.path)
        if SUITES[key.suite].id != suite_id:
            raise IntegrityError(
                f"a wrapped data key names cipher suite {suite_id}, and key {key_id} is of {key.suite}: it is damaged, "
                "or belongs to another key; run tickvault audit verify --objects --everything"
            )
        for version in key.versions:
            if version.version == number:
                break
        else:
            raise KeysDeniedError(
                f"unwrap with key {key_id}: its version {number} is not in {self.keyring.path}, which has versions "
                f"{key.versions[0].version} to {key.versions[-1].version}; put the newest keyring back, or the wrapped "
                "data key was changed (run tickvault audit verify --objects --everything)"
            )
        aead = _derive(key, version.material, salt)
        kept = derived.unwrapping
        if len(kept) >= DERIVED_COUNT_MAX:
            kept.clear()
        kept[key_id, bytes(blob[:HEADER_SIZE])] = aead
        return aead


def _derive(key: Key, material: bytes, salt: bytes) -> Aead:
    suite = suite_named(key.suite)
    info = f"tickvault wrap 1 {suite.name} {key.key_id}".encode()
    return suite.aead(HKDF(SHA256(), suite.key_size, salt, info).derive(material))


def _check_binding(binding: bytes) -> None:
    if len(binding) > BINDING_SIZE_MAX:
        raise InvalidInputError(f"a binding of {len(binding)} bytes; the limit is {BINDING_SIZE_MAX}")
