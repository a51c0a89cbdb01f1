"""The state of a bucket as the index has it, decoded once per change.

Invariants: what is cached is only used where the index still holds the very same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tickvault.engine.commit import Transaction
from tickvault.engine.index import Reader
from tickvault.errors import BucketNotFoundError
from tickvault.objects import entries
from tickvault.objects.model import BucketInfo

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore

#: Where a bucket's settings say what is audited: ``{"reads": True}``.
AUDIT_DOCUMENT = "audit"


def bucket_not_found(name: str) -> BucketNotFoundError:
    """Return the error of a bucket that is not there."""
    return BucketNotFoundError(f"bucket {name!r} does not exist; create it first")


def encode_bucket(info: BucketInfo) -> bytes:
    """Return the meta bytes of a BUCKET record."""
    return entries.pack(
        {
            "id": info.bucket_id,
            "t": info.created_ns,
            "v": info.versioning,
            "d": info.durability,
            "doc": dict(info.documents),
        }
    )


def decode_bucket(name: str, data: dict[str, Any]) -> BucketInfo:
    """Return what a BUCKET record or entry says."""
    return BucketInfo(name, data["id"], data["t"], data["v"], data["d"], data["doc"])


class BucketState:
    """Cached `BucketInfo` of one bucket; refreshed whenever the index entry's bytes differ.

    It stands for the bucket it saw first: once that was deleted, a new one of the same name is not taken for it, whose
    objects stand under another id.
    """

    __slots__ = ("_audits_reads", "_seen", "_settings", "key", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = entries.bucket_key(name)
        # Bytes and what they say are one value: threads share this, and must never see one without the other.
        self._seen: tuple[bytes, BucketInfo] | None = None
        self._settings = b""
        self._audits_reads = False

    def audits_reads(self, store: ObjectStore) -> bool:
        """Return whether reads through the Python API are to be audited.

        In the path of every read, so it looks only whether any bucket's settings have changed since.
        """
        if store.engine.closed:
            return False  # whoever reads is told that it is
        settings = store.engine.control.settings
        if settings != self._settings:
            self._audits_reads = bool(self.current(store).documents.get(AUDIT_DOCUMENT, {}).get("reads"))
            self._settings = settings
        return self._audits_reads

    @property
    def info(self) -> BucketInfo:
        """The info that was read last."""
        assert self._seen is not None, "a handle is made after its bucket was found"
        return self._seen[1]

    def read(self, raw: bytes | None) -> BucketInfo:
        """Return the info in an index entry; raises `BucketNotFoundError` for None or another bucket's."""
        if raw is None:
            raise bucket_not_found(self.name)
        seen = self._seen
        if seen is not None and seen[0] == raw:
            return seen[1]
        info = decode_bucket(self.name, entries.decode_document(self.key, raw).data)
        if seen is not None and seen[1].bucket_id != info.bucket_id:
            raise BucketNotFoundError(
                f"bucket {self.name!r} was deleted and made anew since this handle was got; get a new handle"
            )
        self._seen = (raw, info)
        return info

    def current(self, store: ObjectStore) -> BucketInfo:
        """Return the info as of now."""
        return self.read(store.engine.index.get(self.key))

    def inside(self, txn: Reader) -> BucketInfo:
        """Return the info as a commit sees it."""
        return self.read(txn.get(self.key))

    def changing(self, txn: Transaction) -> BucketInfo:
        """Return the info inside a commit that changes the bucket, and have it synced if the bucket is strict."""
        info = self.inside(txn)
        if info.durability == "strict":
            txn.strict = True
        return info
