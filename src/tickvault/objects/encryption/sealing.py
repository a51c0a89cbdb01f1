"""Encrypting what is written: one plan for each write, from its setting to the wrapped key in its record.

Invariants: a body is sealed under a key of its own, before the commit; the key is wrapped inside the commit, where the
sequence number is known that it is bound to; of an object that the store manages the entity tag is its MD5, as on S3,
of any other it tells nothing of the body.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.objects.encryption.customer_key import check_key, open_customer, seal_customer
from tickvault.objects.encryption.setting import ENCRYPTION_DOCUMENT, MODES, EncryptionRequest, Mode, resolve
from tickvault.objects.encryption.stored import (
    UPLOAD_PARTS,
    EncryptionInfo,
    PartSalt,
    digest_of,
    encode_encryption,
    info_of,
    place_binding,
)
from tickvault.objects.encryption.vault_keys import VaultKeys
from tickvault.security.cipher import AES_256_GCM, Suite, suite_with_id

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.model import BucketInfo

#: Bodies larger than this are sealed and opened on no event loop where the cipher is slow, bytes.
AT_ONCE_SIZE_MAX = 64 * 1024
#: What the entry ``en`` takes beside the wrapped key, bytes: field names, the key's id, a check value.
_ENTRY_SIZE = 224
#: What a customer's key adds to a data key, bytes.
_INNER_OVERHEAD = 28


class Plan(NamedTuple):
    """How one write is encrypted."""

    keys: VaultKeys
    vault_id: bytes
    mode: Mode
    suite: Suite
    key_id: str
    customer_key: bytes | None
    room: int
    """What it adds to the meta of a record at most, bytes."""

    def __repr__(self) -> str:
        return f"Plan({self.mode}, {self.suite.name}, {self.key_id})"

    def etag(self, digest: bytes) -> bytes:
        """Return the entity tag of a body with this MD5."""
        return digest if self.mode == "managed" else secrets.token_bytes(16)

    def close(self, data_key: bytes) -> Secret:
        """Return a data key ready to be wrapped."""
        if self.customer_key is None:
            return Secret(self, data_key, b"")
        return Secret(self, *seal_customer(self.customer_key, data_key))


class Secret(NamedTuple):
    """What is wrapped by the vault's key service: a data key, or one that is wrapped by a customer's key already."""

    plan: Plan
    inner: bytes
    customer_check: bytes

    def __repr__(self) -> str:
        return f"Secret({self.plan!r})"

    def wrap(
        self,
        bucket_id: int,
        key: bytes,
        sequence: int,
        size: int,
        parts: Sequence[PartSalt] = (),
        sizes: Sequence[int] = (),
    ) -> dict[str, Any]:
        """Return the entry ``en`` of an object's record; called inside its commit."""
        return self._wrapped(bucket_id, key, sequence, size, digest_of(parts, sizes), parts)

    def wrap_upload(self, bucket_id: int, key: bytes, sequence: int) -> dict[str, Any]:
        """Return the entry ``en`` of an upload's record; called inside its commit."""
        return self._wrapped(bucket_id, key, sequence, 0, UPLOAD_PARTS, ())

    def _wrapped(
        self, bucket_id: int, key: bytes, sequence: int, size: int, digest: bytes, parts: Sequence[PartSalt]
    ) -> dict[str, Any]:
        plan = self.plan
        binding = place_binding(
            plan.vault_id, MODES.index(plan.mode), plan.suite.id, bucket_id, key, sequence, size, digest
        )
        wrapped = plan.keys.wrap(plan.key_id, self.inner, binding)
        return encode_encryption(
            plan.mode, plan.suite.id, plan.key_id, wrapped, customer_check=self.customer_check, parts=parts
        )


def plan_of(bucket: Bucket, encryption: str | Mapping[str, Any] | EncryptionRequest | None = None) -> Plan | None:
    """Return how a write that begins now is encrypted; None: it is not.

    Parameters
    ----------
    encryption : str, mapping, EncryptionRequest or None
        What the write asks for; None: the bucket's setting.

    Raises
    ------
    AccessDeniedError
        The key is missing or may not be used, or the vault's keyring is not there.
    InvalidInputError
        It names a key in a mode in which the caller chooses none.
    """
    setting = bucket.state.current(bucket.store).documents.get(ENCRYPTION_DOCUMENT)
    if setting is None and encryption is None:
        return None
    request = EncryptionRequest.of(encryption)
    if request is not None and request.key_id is not None and request.mode != "kms":
        raise InvalidInputError(
            f"encryption with mode {request.mode!r} takes no key id, since with it the caller does not choose a "
            f"key of the vault; leave out key={request.key_id!r}, or ask for mode 'kms'"
        )
    resolved = resolve(setting, request)
    assert resolved is not None, "there is a setting or a request"
    mode, suite, key_id = resolved
    return _plan(bucket, mode, suite, key_id, None if request is None else request.customer_key)


def ready(keys: VaultKeys, settings: BucketInfo, encryption: EncryptionRequest | None, size: int) -> bool:
    """Return whether an event loop may prepare a write: its key is at hand, and sealing it takes no long time.

    Parameters
    ----------
    size : int
        Of the body, bytes.
    """
    setting = settings.documents.get(ENCRYPTION_DOCUMENT)
    resolved = resolve(setting, encryption)
    if resolved is None:
        return True
    return keys.ready(resolved[2]) and (resolved[1] is AES_256_GCM or size <= AT_ONCE_SIZE_MAX)


def upload_secret(bucket: Bucket, key: bytes, sequence: int, en: Mapping[str, Any]) -> Secret:
    """Return what an upload's parts are encrypted under, to be wrapped anew for the object they become."""
    info = info_of(en)
    plan = _plan(bucket, info.mode, suite_with_id(en["s"]), info.key_id, None)
    return Secret(plan, _unwrap_upload(bucket, key, sequence, en), info.customer_check)


def upload_data_key(
    bucket: Bucket, key: bytes, sequence: int, en: Mapping[str, Any], customer_key: bytes | None
) -> bytes:
    """Return the data key of an upload's parts; raises as `data_key_of` does, and what the key service says."""
    info = info_of(en)
    check_key(customer_key, info.customer_check)
    return data_key_of(_unwrap_upload(bucket, key, sequence, en), info, suite_with_id(en["s"]), customer_key)


def _unwrap_upload(bucket: Bucket, key: bytes, sequence: int, en: Mapping[str, Any]) -> bytes:
    store = bucket.store
    vault_id = store.engine.vault_id
    binding = place_binding(vault_id, en["m"], en["s"], bucket.bucket_id, key, sequence, 0, UPLOAD_PARTS)
    return store.keys.unwrap(en["k"], en["w"], binding)


def data_key_of(inner: bytes, info: EncryptionInfo, suite: Suite, customer_key: bytes | None) -> bytes:
    """Return the data key in what the key service unwrapped.

    Raises
    ------
    CustomerKeyError, AccessDeniedError
        See `check_key`.
    IntegrityError
        It is no key of that suite: the record was changed.
    """
    check_key(customer_key, info.customer_check)
    if customer_key is not None:
        inner = open_customer(customer_key, inner, info.customer_check)
    if len(inner) != suite.key_size:
        raise IntegrityError("an object's data key does not fit its cipher: its record was changed; restore a backup")
    return inner


def _plan(bucket: Bucket, mode: Mode, suite: Suite, key_id: str, customer_key: bytes | None) -> Plan:
    store = bucket.store
    size = suite.key_size + (_INNER_OVERHEAD if mode == "customer" else 0)
    room = store.keys.prepare(key_id, size) + _ENTRY_SIZE
    return Plan(store.keys, store.engine.vault_id, mode, suite, key_id, customer_key, room)
