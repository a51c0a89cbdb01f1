"""The condition keys of what is asked of buckets and objects, alike for every door.

A door says what is asked (`Asked`); `Keys` adds what is stored: tags, and the lock of a version.

Invariants: a value is the one that the store acts on, not one of the ways to write it: the source of a copy without a
leading slash, percent signs or version, a key's id without its ARN, and where a write leaves its encryption to its
bucket, that of the bucket; what adds to an upload has what the upload was begun with, whatever it says itself; a value
is one that its operators can read, or its
key is left out; a stored tag or lock is looked up only for policies that read such a key.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; IAM User Guide, "AWS
global condition context keys".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tickvault.errors import NotFoundError, TickVaultError
from tickvault.objects.encryption.setting import EncryptionRequest, Mode, default_key_id, resolve
from tickvault.objects.encryption.stored import info_of
from tickvault.objects.lock.retention import ObjectLock, exact_time_text
from tickvault.objects.model import ObjectInfo, UploadInfo
from tickvault.security.cipher import SUITES

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket

Values = str | tuple[str, ...]

#: Around a GOVERNANCE retention: its conditions see the lock of what is stored.
BYPASS = "s3:BypassGovernanceRetention"
#: Actions for which Amazon knows no tags of what is stored.
_UNTAGGED = frozenset(
    {
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    }
)
#: Beginnings of keys, in lower case, whose values are looked up.
_STORED_TAG = "s3:existingobjecttag/"
_LOCK = "s3:object-lock-"
#: What an upload was begun with is seen by what adds to it.
_OF_UPLOAD = ("s3:x-amz-server-side-encryption", "s3:x-amz-storage-class", "s3:x-amz-acl", "s3:requestobjecttag", _LOCK)
#: Keys of the vault that nobody chooses by name, and `AES256` stands for.
_OWN_KEYS = frozenset(default_key_id(suite) for suite in SUITES)
_SERVER_SIDE: Mapping[Mode, str] = {"managed": "AES256", "kms": "aws:kms"}
_NS = 1_000_000_000
_DAY_S = 86_400


def moment_keys(now_s: float) -> dict[str, Values]:
    """Return what conditions see of the time."""
    return {"aws:CurrentTime": iso_time(now_s), "aws:EpochTime": str(int(now_s))}


def iso_time(seconds: float) -> str:
    """Return a time as conditions read it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def tag_keys(tags: Mapping[str, str]) -> dict[str, Values]:
    """Return what conditions see of the tags that a request sets."""
    keys: dict[str, Values] = {f"s3:RequestObjectTag/{name}": value for name, value in tags.items()}
    keys["s3:RequestObjectTagKeys"] = tuple(tags)
    return keys


def lock_keys(mode: str | None, until_ns: int | None, hold: str | None, now_s: float) -> dict[str, Values]:
    """Return what conditions see of a lock."""
    keys: dict[str, Values] = {}
    if mode:
        keys["s3:object-lock-mode"] = mode
    if hold:
        keys["s3:object-lock-legal-hold"] = hold
    if until_ns:
        keys["s3:object-lock-retain-until-date"] = exact_time_text(until_ns)
        # Begun days count, so that a limit on days is never exceeded by hours.
        days = -(-(until_ns - int(now_s * _NS)) // (_DAY_S * _NS))
        keys["s3:object-lock-remaining-retention-days"] = str(max(0, days))
    return keys


def stored_lock_keys(info: ObjectInfo, now_s: float) -> dict[str, Values]:
    """Return what conditions see of the lock that a version has."""
    return lock_keys(info.retention_mode, info.retain_until_ns or None, "ON" if info.legal_hold else "OFF", now_s)


def encryption_keys(mode: Mode, key_id: str) -> dict[str, Values]:
    """Return what conditions see of the encryption that a version gets.

    The key's id is seen in every mode, since a bucket's key is used with ``AES256`` and a customer's key as well; the
    vault's own only with ``aws:kms``, which asks for a key.
    """
    keys: dict[str, Values] = {}
    if mode == "customer":
        keys["s3:x-amz-server-side-encryption-customer-algorithm"] = "AES256"
    else:
        keys["s3:x-amz-server-side-encryption"] = _SERVER_SIDE[mode]
    if mode == "kms" or key_id not in _OWN_KEYS:
        keys["s3:x-amz-server-side-encryption-aws-kms-key-id"] = key_id
    return keys


def used_encryption_keys(setting: Mapping[str, Any] | None, asked: EncryptionRequest | None) -> dict[str, Values]:
    """Return the same of a write that asks for this, or for None, in a bucket with this setting."""
    resolved = resolve(setting, asked)
    return {} if resolved is None else encryption_keys(resolved[0], resolved[2])


def copy_source_key(bucket: str, key: str) -> dict[str, Values]:
    """Return what conditions see of the source of a copy."""
    return {"s3:x-amz-copy-source": f"{bucket}/{key}"}


def upload_keys(upload: UploadInfo, now_s: float) -> dict[str, Values]:
    """Return what conditions see of what an upload was begun with, when a part is added or it is completed."""
    keys = tag_keys(upload.tags) if upload.tags else {}
    if upload.encryption is not None:
        found = info_of(upload.encryption)
        keys.update(encryption_keys(found.mode, found.key_id))
    for name in ("x-amz-storage-class", "x-amz-acl"):
        if name in upload.headers:
            keys[f"s3:{name}"] = upload.headers[name]
    if upload.lock is not None:
        lock = ObjectLock.of(upload.lock)
        hold = "ON" if lock.legal_hold else None
        keys.update(lock_keys(lock.retention_mode, lock.retain_until_ns or None, hold, now_s))
    return keys


class Asked(Protocol):
    """What is asked, as far as it does not depend on the object that it is about."""

    upload_id: str | None
    """Of the multipart upload that it is about."""

    def clock(self) -> float:
        """Return seconds since the epoch."""

    def common(self, reads: frozenset[str]) -> Mapping[str, Values]:
        """Return its keys: at least those that are read."""


class Keys(Mapping[str, Values]):
    """The condition keys of one question; made when a condition or a variable first needs them.

    Parameters
    ----------
    asked : Asked
    reads : frozenset of str
        What the policies in force read, in lower case: tags and locks are looked up for those only.
    bucket, key, version_id
        The object that the question is about. The bucket is one that asks nobody.
    action : str
        Of S3, for which its own keys are filled in: tags of what is stored where Amazon does, the lock of what is
        stored for a bypass.
    """

    __slots__ = ("_action", "_asked", "_bucket", "_key", "_made", "_reads", "_version_id")

    def __init__(
        self,
        asked: Asked,
        reads: frozenset[str],
        bucket: Bucket | None,
        key: str,
        version_id: str | None,
        action: str,
    ) -> None:
        self._asked = asked
        self._reads = reads
        self._bucket = bucket
        self._key = key
        self._version_id = version_id
        self._action = action
        self._made: dict[str, Values] | None = None

    def __getitem__(self, name: str) -> Values:
        return self._keys()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def _keys(self) -> dict[str, Values]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> dict[str, Values]:
        asked, reads, bucket, key, version_id = self._asked, self._reads, self._bucket, self._key, self._version_id
        keys = dict(asked.common(reads))
        if version_id:
            keys["s3:VersionId"] = version_id
        if bucket is None or not key:
            return keys
        if asked.upload_id is not None and self._action == "s3:PutObject" and self._reads_any(_OF_UPLOAD):
            # Of these, what the request itself says is not acted on.
            keys = {name: value for name, value in keys.items() if not name.lower().startswith(_OF_UPLOAD)}
            upload = _upload(bucket, key, asked.upload_id)
            if upload is not None:
                keys.update(upload_keys(upload, asked.clock()))
        if self._action not in _UNTAGGED and self._reads_any((_STORED_TAG,)):
            try:
                tags = bucket.get_tags(key, version_id=version_id or None)
            except NotFoundError:
                tags = {}
            keys.update((f"s3:ExistingObjectTag/{name}", value) for name, value in tags.items())
        if self._action == BYPASS and self._reads_any((_LOCK,)):
            info = stored(bucket, key, version_id or None)
            if info is not None:
                keys.update(stored_lock_keys(info, asked.clock()))
        return keys

    def _reads_any(self, beginnings: tuple[str, ...]) -> bool:
        return any(name.startswith(beginnings) for name in self._reads)


def stored(bucket: Bucket, key: str, version_id: str | None) -> ObjectInfo | None:
    """Return what is known of a version, None if it is not there."""
    try:
        return bucket.head(key, version_id=version_id)
    except NotFoundError:
        return None


def _upload(bucket: Bucket, key: str, upload_id: str) -> UploadInfo | None:
    try:
        return bucket.upload_info(key, upload_id)
    except TickVaultError:
        return None  # the verb says what is wrong with it
