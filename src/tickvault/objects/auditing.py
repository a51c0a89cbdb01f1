"""What a record of the journal says, in the words of the audit trail: S3's names of actions.

Invariants: every kind of record is described or known to say nothing by itself; no body, no secret and no document of
the vault (identities, keys) is copied into the trail, only their names and what proves them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tickvault.audit.described import Described
from tickvault.engine.record import Record
from tickvault.objects import entries
from tickvault.objects.entries import (
    ATTRIBUTES_CHANGE,
    AUX_VERSIONED,
    CLOCK_DOCUMENT,
    KEYRING_DOCUMENT,
    META,
    META_LOCK,
    REMOVE_BYPASS,
    REMOVE_NULL,
    Kind,
    decode_put_meta,
)
from tickvault.objects.lock.retention import ObjectLock, exact_time_text, time_text
from tickvault.objects.meaning import NO_MEANING
from tickvault.security.documents import CHANGE_FIELD

#: Up to here an object's etag is its whole body's MD5, and its meta is read only where it has more to tell.
_PLAIN = META.size


def describe(record: Record, before: Record | None) -> Described | None:
    """Return what a record says; `before` is the one before it in its batch."""
    try:
        return _described(record, before)
    except NO_MEANING as error:
        # Sound bytes without a meaning were made up by somebody; the trail tells of them, and goes on.
        detail = {"kind": str(record.kind), "what": f"{type(error).__name__}: {error}"}
        key = record.key.decode(errors="replace")
        return Described("MeaninglessRecord", record.bucket_id, key, detail=detail, system=True)


def _described(record: Record, before: Record | None) -> Described | None:
    kind, bucket_id, key = record.kind, record.bucket_id, record.key.decode(errors="replace")
    if kind == Kind.PUT:
        return _put(record, key)
    if kind == Kind.DELETE_MARKER:
        version_id = _version_id(record)
        return Described("DeleteObject", bucket_id, key, version_id, 0, {"delete_marker": "true"})
    if kind == Kind.REMOVE:
        flags = record.meta[0]
        detail = {"removed": "true"}
        if flags & REMOVE_BYPASS:
            detail["bypass_governance"] = "true"
        if flags & REMOVE_NULL:
            return Described("DeleteObject", bucket_id, key, "null", 0, detail)
        return Described("DeleteObjectVersion", bucket_id, key, f"{record.aux:016x}", 0, detail)
    if kind == Kind.LOCK:
        return _lock(record, key)
    if kind == Kind.ATTRIBUTES:
        return _attributes(record, key)
    if kind == Kind.BUCKET:
        return _bucket(record, key)
    if kind == Kind.BUCKET_REMOVE:
        return Described("DeleteBucket", bucket_id, "", "", 0, {"bucket_removed": "true"}, key)
    if kind == Kind.UPLOAD:
        return Described("CreateMultipartUpload", bucket_id, key, detail={"upload": f"{record.sequence:016x}"})
    if kind == Kind.UPLOAD_REMOVE:
        if before is not None and before.kind == Kind.PUT and before.key == record.key:
            return None  # completed: the object tells
        return Described("AbortMultipartUpload", bucket_id, key, detail={"upload": f"{record.aux:016x}"})
    if kind == Kind.PART:
        put = decode_put_meta(record.meta)
        detail = {"upload": f"{record.aux:016x}", "part_number": str(put.extras["nr"])}
        return Described("UploadPart", bucket_id, key, "", put.size, detail)
    if kind == Kind.DOCUMENT:
        return _document(record, key)
    return Described(f"Record{kind}", bucket_id, key)


def _put(record: Record, key: str) -> Described:
    etag, parts, flags, _, size = META.unpack_from(record.meta)
    detail = {"etag": entries.etag_text(etag, parts)}
    if len(record.meta) > META.size:
        extras = decode_put_meta(record.meta).extras
        if flags & META_LOCK:
            detail.update(lock_detail(ObjectLock.of(extras["lk"])))
        detail["described"] = description_digest(
            extras.get("ct"), extras.get("md", {}), extras.get("cs", {}), extras.get("ck"), extras.get("sc", {})
        )
        detail.update(_attribute_digests(extras))
        if "sh" in extras:
            detail["sha256"] = extras["sh"].hex()
    return Described("PutObject", record.bucket_id, key, _version_id(record), size, detail)


def description_digest(
    content_type: str | None,
    metadata: Mapping[str, str],
    checksums: Mapping[str, str],
    checksum_type: str | None,
    sealed_checksums: Mapping[str, bytes],
) -> str:
    """Return a digest of what a version was written with beside its body and can never change: 32 hex digits.

    Of checksums that are stored sealed it takes what is stored: it tells nothing of the plaintext, and needs no key.
    """
    stored = {name: value.hex() for name, value in sealed_checksums.items()} if sealed_checksums else checksums
    told = [content_type or "", sorted(metadata.items()), sorted(stored.items()), checksum_type or ""]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _attribute_digests(data: Mapping[str, Any]) -> dict[str, str]:
    """Return what proves the tags and the response headers of a version, as far as they are in a record."""
    return {
        name: attribute_digest(data[field]) for name, field in (("tagged", "tg"), ("headers", "hd")) if field in data
    }


def attribute_digest(values: Mapping[str, str]) -> str:
    """Return a digest of a version's tags, or of its response headers: 32 hex digits, empty for none."""
    return hashlib.sha256(json.dumps(sorted(values.items())).encode()).hexdigest()[:32] if values else ""


def _version_id(record: Record) -> str:
    return f"{record.sequence:016x}" if record.aux & AUX_VERSIONED else "null"


def _attributes(record: Record, key: str) -> Described:
    data = entries.unpack(record.meta)
    detail = _attribute_digests(data)
    change = data.get(ATTRIBUTES_CHANGE)
    if change == "rw" or data.keys() == {"rw"}:
        # What moves a version's data key under another key, or another version of it; it writes again, as it was, what
        # else was set.
        detail["key_id"] = str(data["rw"]["k"])
        return Described("RewrapObject", record.bucket_id, key, f"{record.aux:016x}", 0, detail)
    if change == "hd" or data.keys() == {"hd"}:
        return Described("PutObjectHeaders", record.bucket_id, key, f"{record.aux:016x}", 0, detail)
    if "tg" in data:
        detail["tags"] = str(len(data["tg"]))
    return Described("PutObjectTagging", record.bucket_id, key, f"{record.aux:016x}", 0, detail)


def _lock(record: Record, key: str) -> Described:
    data = entries.unpack(record.meta)
    detail = lock_detail(ObjectLock.of(data))
    action = "PutObjectLegalHold" if data.get("w") == "hold" else "PutObjectRetention"
    if data.get("b"):
        detail["bypass_governance"] = "true"
    return Described(action, record.bucket_id, key, f"{record.aux:016x}", 0, detail)


def lock_detail(lock: ObjectLock) -> dict[str, str]:
    """Return a lock as the trail keeps it."""
    detail = {"legal_hold": "on" if lock.legal_hold else "off"}
    if lock.retention_mode is not None:
        detail.update(retention_mode=lock.retention_mode, retain_until=exact_time_text(lock.retain_until_ns))
    return detail


def bucket_lock_words(document: Mapping[str, object] | None) -> str:
    """Return a bucket's lock as the trail keeps it; empty for none."""
    if document is None:
        return ""
    return " ".join(f"{key}={value}" for key, value in document.items() if value) or "on"


def _bucket(record: Record, name: str) -> Described:
    data = entries.unpack(record.meta)
    detail = {"versioning": str(data["v"]), "durability": str(data["d"])}
    documents = data["doc"]
    lock = documents.get("object_lock")
    if lock is not None:
        detail["object_lock"] = bucket_lock_words(lock)
    if documents:
        detail["settings"] = " ".join(sorted(documents))
    detail["proof"] = proof_of(record.meta)
    # It was made in the commit that gave it its number.
    made = data["t"] == record.time_ns
    return Described("CreateBucket" if made else "PutBucketSettings", record.bucket_id, "", "", 0, detail, name)


def proof_of(meta: bytes) -> str:
    """Return what proves settings or a document, as they are stored: 32 hex digits of their SHA-256."""
    return hashlib.sha256(meta).hexdigest()[:32]


def _document(record: Record, name: str) -> Described:
    data = entries.unpack(record.meta)
    proof = {} if data is None else {"proof": proof_of(record.meta)}
    if name != CLOCK_DOCUMENT:
        if name == KEYRING_DOCUMENT and data is not None:
            told = {"key_id": data["key"], "state": data.get("state", ""), "version": str(data.get("version", ""))}
            return Described(data["action"], 0, name, detail=proof | {key: text for key, text in told.items() if text})
        verb = "Put" if data is not None else "Delete"
        room, _, rest = name.partition("/")
        # ``iam/user/alice`` is a user, ``iam/service-account/feed`` a service account.
        kind = rest.partition("/")[0] if room == "iam" and "/" in rest else "document"
        noun = kind.title().replace("-", "")
        action, told = f"{verb}{noun}", _identity_change(data) if room == "iam" else {}
        if told:
            action = told["change"]
            if action.startswith("Delete"):
                # Something of it is gone, and it stays: an action of that name tells that a document is gone.
                action = f"Update{noun}"
            else:
                del told["change"]
        return Described(action, 0, name, detail=told | proof)
    detail = proof | {"trusted": time_text(data["t"]), "wall_offset_ns": str(data["o"]), "lag_ns": str(data["l"])}
    if data["j"]:
        detail["jump_ns"] = str(data["j"])
    return Described("ClockSet" if data["j"] else "ClockMark", 0, name, detail=detail, system=True)


def _identity_change(data: Mapping[str, object] | None) -> dict[str, str]:
    """Return what the document of an identity says of its last change, nothing if it does not say it."""
    said = None if data is None else data.get(CHANGE_FIELD)
    if not isinstance(said, list | tuple) or len(said) != 2 or not isinstance(said[1], Mapping):
        return {}
    told = {str(name): str(text) for name, text in said[1].items() if name != "proof"}
    return {"change": str(said[0]), **told}
