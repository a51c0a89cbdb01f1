"""The object store: buckets on an engine.

Invariants: one engine per vault and process, however often the vault is opened; the last close closes it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from tickvault.audit.auditor import Auditor, begin_attribution
from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.engine import Engine, EngineOptions, Progress
from tickvault.errors import AlreadyExistsError, InvalidInputError, NotEmptyError, StorageError, TickVaultError
from tickvault.objects import entries, names
from tickvault.objects.auditing import describe
from tickvault.objects.bucket import Bucket
from tickvault.objects.documents import VaultDocuments
from tickvault.objects.encryption.key_uses import check_setting
from tickvault.objects.encryption.setting import ENCRYPTION_DOCUMENT, EncryptionRequest
from tickvault.objects.encryption.vault_keys import VaultKeys
from tickvault.objects.entries import Kind
from tickvault.objects.interpreter import ObjectInterpreter
from tickvault.objects.lock.clock import ComplianceClock
from tickvault.objects.lock.guard import LOCK_DOCUMENT, LockGuard
from tickvault.objects.lock.retention import BucketLock, bucket_lock
from tickvault.objects.model import BucketInfo, Durability
from tickvault.objects.put import INLINE_SIZE_MAX
from tickvault.objects.state import BucketState, decode_bucket, encode_bucket
from tickvault.security.keyring.service import KeyService

Result = TypeVar("Result")

#: The document with the settings of the audit trail.
AUDIT_SETTINGS = "audit/settings"
#: Between two looks at the wall clock, nanoseconds.
_CLOCK_ROUND_NS = 20 * 10**9
#: A mark that is younger is not renewed when the vault is closed: a command line does not write one each time.
_CLOCK_CLOSING_NS = 60 * 10**9

_stores: dict[tuple[int, int], ObjectStore] = {}
_lock = threading.Lock()


class ObjectStore:
    """The buckets of one vault. Make it with `open_store`."""

    inline_size_max = INLINE_SIZE_MAX

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.path = engine.path
        self.lock_clock = ComplianceClock(engine)
        engine.guards.append(LockGuard(self.lock_clock, engine))
        engine.rounds.append(self._observe_clock)
        self._clock_seen_ns = 0
        self.documents = VaultDocuments(engine)
        self.auditor = Auditor(
            engine,
            describe,
            self._bucket_names,
            self._audit_settings,
            lambda settings: self.documents.put(AUDIT_SETTINGS, settings),
        )
        self.keys = VaultKeys(engine.path, self.documents)
        self._references = 1
        self._identity = (0, 0)

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Give up one opening; the last one closes the engine."""
        with _lock:
            self._references -= 1
            if self._references > 0:
                return
            _stores.pop(self._identity, None)
        try:
            self.lock_clock.observe(age_ns=_CLOCK_CLOSING_NS)
        except TickVaultError:
            pass  # poisoned or full: the mark stays older, and retentions last longer
        self.keys.close()
        self.auditor.close()
        self.engine.close()

    def _bucket_names(self) -> dict[int, str]:
        return {info.bucket_id: info.name for info in self.list_buckets()}

    def _audit_settings(self) -> Mapping[str, Any]:
        found = self.documents.get(AUDIT_SETTINGS)
        return {} if found is None else found.data

    def _observe_clock(self) -> None:
        """Renew the mark of the compliance clock where it is due; asked every round of the upkeep."""
        now_ns = self.engine.clock.monotonic_ns()
        if now_ns - self._clock_seen_ns >= _CLOCK_ROUND_NS or self._clock_seen_ns == 0:
            self._clock_seen_ns = now_ns
            self.lock_clock.observe()

    def create_bucket(
        self,
        name: str,
        *,
        versioning: bool = False,
        durability: Durability = "strict",
        documents: Mapping[str, Any] | None = None,
        object_lock: bool = False,
        retention: str | tuple[str, int] | BucketLock | None = None,
        encryption: str | Mapping[str, Any] | EncryptionRequest | None = None,
    ) -> Bucket:
        """Make a bucket.

        Parameters
        ----------
        versioning : bool
            Keep every version.
        durability : {"strict", "relaxed"}
            When a write is acknowledged: once it is synced, or before.
        object_lock : bool
            Versions may be locked; for good, and with versioning.
        retention : str, (str, int) or None
            What new versions are kept for: a preset (``sec-17a-4``, …) or (mode, days); implies `object_lock`.
        encryption : str, mapping or None
            What new versions are encrypted with: a suite (``aes-256-gcm``, ``sm4-gcm``), or a mapping of ``suite`` and
            ``key``, the id of a key.

        Raises
        ------
        AlreadyExistsError
            There is one of that name.
        InvalidInputError
            The name breaks S3's rules.
        """
        raw_name = names.check_bucket_name(name).encode()
        if durability not in ("strict", "relaxed"):
            raise InvalidInputError(f"durability is 'strict' or 'relaxed', not {durability!r}")
        index_key = entries.bucket_key(name)
        documents = dict(documents or {})
        if object_lock or retention is not None:
            documents[LOCK_DOCUMENT] = bucket_lock(retention).document()
            versioning = True
            self.lock_clock.ensure()
        if encryption is not None:
            documents[ENCRYPTION_DOCUMENT] = check_setting(self, encryption).document()

        def run(txn: Transaction) -> None:
            if txn.get(index_key) is not None:
                raise AlreadyExistsError(f"bucket {name!r} exists already")
            counter = txn.get(b"Cnext")
            bucket_id = 1 if counter is None else int.from_bytes(counter, "big")
            info = BucketInfo(
                name,
                bucket_id,
                txn.now_ns,
                "enabled" if versioning else "off",
                durability,
                documents,
            )
            txn.strict = True
            txn.append(Kind.BUCKET, bucket_id, raw_name, encode_bucket(info))

        self.engine.commit(Operation(run, 1 << 20 if documents else 1024))
        return self.bucket(name)

    def delete_bucket(self, name: str) -> None:
        """Remove a bucket that holds nothing.

        Raises
        ------
        BucketNotFoundError
            There is none of that name.
        NotEmptyError
            It holds objects, versions, delete markers, or uploads in progress.
        """
        state = BucketState(name)

        def run(txn: Transaction) -> None:
            info = state.inside(txn)
            for tag, what in (
                (b"O", "objects"),
                (b"V", "versions or delete markers"),
                (b"U", "unfinished uploads"),
            ):
                prefix = entries.bucket_prefix(tag, info.bucket_id)
                for _ in txn.scan(prefix, entries.bucket_prefix(tag, info.bucket_id + 1)):
                    kept = "" if info.object_lock is None else "; those under a lock go when it has ended"
                    raise NotEmptyError(f"bucket {name!r} still holds {what}; delete them first{kept}")
            txn.strict = True
            txn.append(Kind.BUCKET_REMOVE, info.bucket_id, name.encode(), b"")

        self.engine.commit(Operation(run, 1024))

    def list_buckets(self) -> list[BucketInfo]:
        """Return all buckets, by name."""
        with self.engine.snapshot() as snapshot:
            return [
                decode_bucket(key[1:].decode(), entries.decode_document(key, raw).data)
                for key, raw in snapshot.scan(b"B", b"C")
            ]

    def bucket(self, name: str) -> Bucket:
        """Return a handle of a bucket; raises `BucketNotFoundError`."""
        state = BucketState(name)
        state.current(self)
        return Bucket(self, state)

    def submit(self, operation: Operation[Any], on_done: Callable[[Operation[Any]], None]) -> None:
        """Queue an operation for group commit; `on_done` is called in the committer thread when it has an outcome."""
        self.engine.submit(operation, on_done)

    def commit(self, operation: Operation[Result]) -> Result:
        """Run an operation and return its result once it is durable."""
        return self.engine.commit(operation)


def open_store(
    path: str | os.PathLike[str],
    *,
    create: bool = True,
    rebuild: bool = False,
    options: EngineOptions | None = None,
    progress: Progress | None = None,
    audit: bool = True,
    key_service: str | KeyService | None = None,
    **seams: Any,
) -> ObjectStore:
    """Open the vault in a folder; a second opening in the same process shares the first.

    Parameters
    ----------
    path : path-like
        The vault's folder.
    create : bool
        Make the vault if it is missing; otherwise raise `NotFoundError`.
    rebuild : bool
        Build the index anew from the segments; the vault must not be open anywhere.
    audit : bool
        Off only to measure what the audit trail costs: nothing that this process does is recorded then.
    key_service : str or KeyService, optional
        Who keeps the keys of what is encrypted, in place of what the environment says.
    """
    folder = os.path.abspath(os.fspath(path))
    with _lock:
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
        except FileNotFoundError:
            identity = (0, 0)
        except OSError as error:
            raise StorageError(f"open {folder}: {error.strerror}") from error
        shared = _stores.get(identity)
        if shared is not None and not shared.engine.closed:
            if rebuild:
                raise InvalidInputError(f"{folder} is open in this process; close it to rebuild its index")
            if key_service is not None:
                shared.keys.use(key_service)
            shared._references += 1
            return shared
        engine = Engine.open(
            folder,
            ObjectInterpreter(),
            create=create,
            rebuild=rebuild,
            options=options,
            progress=progress,
            **seams,
        )
        store = ObjectStore(engine)
        store.auditor.enabled = audit
        if key_service is not None:
            store.keys.use(key_service)
        begin_attribution(enabled=audit)
        store.lock_clock.observe()
        status = os.stat(folder)
        store._identity = (status.st_dev, status.st_ino)
        _stores[store._identity] = store
        return store


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
