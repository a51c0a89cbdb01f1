"""Holding what is stored against what the audit trail says was written.

Checksums find bytes that decayed; whoever edits a segment on purpose makes the checksums right again.  The trail is
signed and chained, and its head can be kept elsewhere, so what it says of a version (its digests, size, times and lock,
and whether it was removed) is evidence that the store's own files are not.

Invariants: nothing is changed; a version is judged by its bytes as they are read now, not by what the index says of
them; what the trail cannot know (it began later, or has a gap it names) is no finding; nor is what changes meanwhile:
where something differs, the trail is read on and asked again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tickvault.audit.record import AuditRecord
from tickvault.errors import AccessDeniedError, BucketNotFoundError, IntegrityError, NotFoundError, TickVaultError
from tickvault.objects import entries
from tickvault.objects.auditing import attribute_digest, bucket_lock_words, description_digest, lock_detail, proof_of
from tickvault.objects.get import ObjectReader
from tickvault.objects.lock.retention import ObjectLock
from tickvault.objects.lookup import DeletedError
from tickvault.objects.model import ObjectInfo
from tickvault.objects.state import encode_bucket
from tickvault.objects.trail_state import BucketTrail, Finding, Place, TrailState, VersionState
from tickvault.security.keyring import KeyDestroyedError, KeyFault

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.store import ObjectStore

__all__ = ["Finding", "ReconcileReport", "reconcile"]

Progress = Callable[[int, int, str], None]
#: Given the sequence of a record: the trail from there on, verified, in its order.
Records = Callable[[int], Iterable[AuditRecord]]
#: A machine's clock may be behind by so much, until it was set.
_AHEAD_NS = 3600 * 10**9
#: Times that the trail is read on where something differs.
_ROUNDS_MAX = 5


@dataclass
class ReconcileReport:
    """What was compared, and what differs."""

    buckets: int = 0
    versions: int = 0
    """Versions that the trail says are there."""
    bytes: int = 0
    """Read and hashed."""
    unread: int = 0
    """Versions whose bytes nobody can look at here: a customer has the key, or it was destroyed; what the index and the
    trail say of them agrees."""
    not_looked_at: int = 0
    """Versions whose bytes were not looked at because the vault's keys cannot be used now (the keyring is missing,
    damaged or another one, the key is disabled), which is no fault of theirs; mend that, and compare again."""
    why_not: str = ""
    """What keeps the keys from being used."""
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the trail tells of itself and of its clock, and who reads it should know."""

    @property
    def ok(self) -> bool:
        """Whether everything that was looked at is what the trail says; see `complete`."""
        return not self.findings

    @property
    def complete(self) -> bool:
        """Whether everything was looked at that can be."""
        return not self.not_looked_at


def reconcile(
    store: ObjectStore, records: Records, *, everything: bool = False, progress: Progress | None = None
) -> ReconcileReport:
    """Compare what is stored with the trail.

    Parameters
    ----------
    records : callable
        Gives the trail from a record on.
    everything : bool
        The versions of all buckets; otherwise of those that have object lock, or had it by the trail. Settings of
        buckets and documents of the vault (identities, policies, keys) are compared in any case.
    """
    report = ReconcileReport()
    state = TrailState(store.engine.vault_id)
    for record in records(1):
        state.take(record)
    comparison = _Comparison(store, state, report, everything=everything)
    found = comparison.all(progress)
    for _ in range(_ROUNDS_MAX):
        if not found:
            break
        # Somebody may have written meanwhile: what the trail says by now counts.
        state.touched.clear()
        for record in records(state.last_record + 1):
            state.take(record)
        found = comparison.again(found)
        if not state.touched:
            break
    report.findings = _clock(store) + state.judged(store.engine.clock.now_ns()) + found
    report.notes = state.notes
    return report


def _clock(store: ObjectStore) -> list[Finding]:
    """Return whether retentions end too early: a compliance clock never goes ahead of the true time."""
    try:
        reading = store.lock_clock.reading()
    except TickVaultError as error:
        return [Finding("clock", "", entries.CLOCK_DOCUMENT, "", str(error))]
    if reading is None or reading.trusted_ns - reading.wall_ns < _AHEAD_NS:
        return []
    hours = (reading.trusted_ns - reading.wall_ns) / 3600e9
    ahead = f"{hours / 24:,.0f} days" if hours >= 48 else f"{hours:.0f} hours"
    text = (
        f"the compliance clock is {ahead} ahead of this machine's clock, and retentions end by so much too early: "
        "set the machine's clock right if it is behind; if it is right, it was ahead when the vault's first lock was "
        "made, or somebody wrote the record of the compliance clock (tickvault audit query --key lock/clock)"
    )
    return [Finding("clock", "", entries.CLOCK_DOCUMENT, "", text)]


class _Comparison:
    def __init__(self, store: ObjectStore, state: TrailState, report: ReconcileReport, *, everything: bool) -> None:
        self._store = store
        self._state = state
        self._report = report
        self._everything = everything
        self._keys_problem: str | None = None

    def all(self, progress: Progress | None) -> list[Finding]:
        """Compare everything; return what differs."""
        report = self._report
        names = [name for name, trail in self._state.buckets.items() if self._chosen(name, trail)]
        total = sum(len(self._state.buckets[name].versions) for name in names)
        found = self._documents()
        for name, trail in self._state.buckets.items():
            found += self._bucket(name, trail)
        done = 0
        for name in names:
            report.buckets += 1
            trail = self._state.buckets[name]
            for (key, version_id), one in list(trail.versions.items()):
                report.versions += not one.marker
                if progress is not None and done % 64 == 0:
                    progress(done, total, "versions")
                done += 1
                found += self._compare((name, key, version_id), one)
        for info in self._store.list_buckets():
            if (self._everything or info.object_lock is not None) and info.name not in self._state.buckets:
                found.append(
                    Finding("unknown", info.name, "", "", f"bucket {info.name}: the trail knows nothing of it")
                )
            if self._everything or info.object_lock is not None or info.name in names:
                found += self._unknown(info.name)
        if progress is not None:
            progress(done, total, "versions")
        return found

    def again(self, found: list[Finding]) -> list[Finding]:
        """Compare what differed once more."""
        still: list[Finding] = []
        for name in dict.fromkeys(finding.key for finding in found if finding.key and not finding.bucket):
            still += self._document(name)
        for name in dict.fromkeys(finding.bucket for finding in found if not finding.key):
            trail = self._state.buckets.get(name)
            if trail is not None:
                still += self._bucket(name, trail)
            elif any(info.name == name for info in self._store.list_buckets()):
                still.append(Finding("unknown", name, "", "", f"bucket {name}: the trail knows nothing of it"))
        for place in dict.fromkeys((one.bucket, one.key, one.version_id) for one in found if one.bucket and one.key):
            one = self._expected(place)
            if one is not None:
                still += self._compare(place, one)
            elif self._is_there(place):
                still.append(_unknown_version(place))
        return still

    def _chosen(self, name: str, trail: BucketTrail) -> bool:
        if self._everything or trail.locked:
            return True
        try:
            return self._store.bucket(name).info.object_lock is not None
        except BucketNotFoundError:
            return False

    def _expected(self, place: Place) -> VersionState | None:
        trail = self._state.buckets.get(place[0])
        return None if trail is None else trail.versions.get(place[1:])

    def _is_there(self, place: Place) -> bool:
        name, key, version_id = place
        try:
            self._store.bucket(name).head(key, version_id=version_id)
        except DeletedError:
            return True
        except NotFoundError:
            return False
        except TickVaultError:
            return True
        return True

    # -- one bucket, one version

    def _bucket(self, name: str, trail: BucketTrail) -> list[Finding]:
        try:
            info = self._store.bucket(name).info
        except BucketNotFoundError:
            text = f"bucket {name}: the trail says that it was made and nothing of its removal, and it is not there"
            return [Finding("missing", name, "", "", text)]
        lock = bucket_lock_words(info.documents.get("object_lock"))
        if trail.locked and lock != trail.lock:
            text = f"bucket {name}: its object lock is {lock or 'off'}; the trail says {trail.lock}"
            return [Finding("lock", name, "", "", text)]
        if trail.proof and proof_of(encode_bucket(info)) != trail.proof:
            text = f"bucket {name}: its settings (policy, encryption, lifecycle …) are not those that the trail proves"
            return [Finding("changed", name, "", "", text)]
        return []

    def _documents(self) -> list[Finding]:
        """Compare the documents of the vault: identities, policies, keys, its clock."""
        documents = self._store.documents
        expected = self._state.documents
        found: list[Finding] = []
        there: set[str] = set()
        for name in documents.names():
            there.add(name)
            found += self._document(name)
        for name in expected.keys() - there:
            found += self._document(name)
        return found

    def _document(self, name: str) -> list[Finding]:
        expected = self._state.documents.get(name)
        try:
            document = self._store.documents.get(name)
        except IntegrityError as error:
            return [Finding("unreadable", "", name, "", f"document {name}: {error}")]
        if document is None:
            if expected is None:
                return []
            text = f"document {name}: the trail says that it was written and nothing of its removal, and it is gone"
            return [Finding("missing", "", name, "", text)]
        if expected is None:
            if document.revision <= self._state.known_from:
                return []
            return [Finding("unknown", "", name, "", f"document {name}: the trail knows nothing of it")]
        if expected and proof_of(entries.pack(dict(document.data))) != expected:
            text = f"document {name}: what it says is not what the trail proves"
            return [Finding("changed", "", name, "", text)]
        return []

    def _compare(self, place: Place, expected: VersionState) -> list[Finding]:
        name, key, version_id = place

        def finding(kind: str, text: str) -> list[Finding]:
            return [Finding(kind, *place, f"{name}/{key} version {version_id}: {text}")]

        try:
            bucket = self._store.bucket(name)
            info = bucket.head(key, version_id=version_id)
        except DeletedError as deleted:
            if expected.marker:
                if deleted.modified_ns == expected.modified_ns:
                    return []
                was = f"the trail says {expected.modified_ns}"
                return finding("changed", f"the time of the delete marker is {deleted.modified_ns}; {was}")
            return finding("changed", "it is a delete marker; the trail says that it was written with a body")
        except NotFoundError:
            what = "made" if expected.marker else "written"
            return finding(
                "missing", f"the trail says that it was {what} and nothing of its removal, and it is not there"
            )
        except IntegrityError as error:
            return finding("unreadable", str(error))
        if expected.marker:
            return finding("changed", "it is no delete marker; the trail says that it is one")
        for what, is_, was in (
            ("lock", _words(_lock_of(info)), _words(expected.lock)),
            ("changed", f"etag {info.etag}, {info.size} bytes", f"etag {expected.etag}, {expected.size} bytes"),
            ("changed", f"time {info.modified_ns}", f"time {expected.modified_ns}"),
            ("changed", f"description {_description(info, expected)}", f"description {expected.described}"),
            ("changed", f"headers {attribute_digest(info.headers)}", f"headers {expected.headers}"),
            ("changed", f"tags {_tags(bucket, info, expected)}", f"tags {expected.tagged}"),
        ):
            if is_ != was:
                return finding(what, f"it has {is_}; the trail says {was}")
        return self._compare_body(bucket, place, info, expected, finding)

    def _compare_body(
        self,
        bucket: Bucket,
        place: Place,
        info: ObjectInfo,
        expected: VersionState,
        finding: Callable[[str, str], list[Finding]],
    ) -> list[Finding]:
        if info.encryption is not None and info.encryption.mode == "customer":
            self._report.unread += 1
            return []
        if info.encryption is not None and self._keys_problem is None:
            # Once: trying to open a keyring may take long on purpose.
            self._keys_problem = self._store.keys.check()
        if info.encryption is not None and self._keys_problem:
            return self._passed_over(self._keys_problem)
        try:
            etag, sha256 = _digests(bucket.read(place[1], version_id=place[2]))
        except KeyDestroyedError:
            self._report.unread += 1
            return []
        except (KeyFault, AccessDeniedError) as error:
            return self._passed_over(str(error))
        except TickVaultError as error:
            return finding("unreadable", str(error))
        self._report.bytes += info.size
        if etag is not None and etag != expected.etag:
            return finding("changed", f"its bytes give etag {etag}; the trail says that {expected.etag} was written")
        if expected.sha256 and sha256 != expected.sha256:
            return finding("changed", f"its bytes give SHA-256 {sha256}; the trail says {expected.sha256}")
        return []

    def _passed_over(self, why: str) -> list[Finding]:
        """Count a version whose bytes are not looked at for want of the vault's keys."""
        self._report.not_looked_at += 1
        self._report.why_not = self._report.why_not or why
        return []

    def _unknown(self, name: str) -> list[Finding]:
        """Return versions and markers that are there and of which the trail should know, and does not."""
        found: list[Finding] = []
        bucket = self._store.bucket(name)
        key_marker: str | None = ""
        version_id_marker = ""
        while key_marker is not None:
            page = bucket.list_versions_page(key_marker=key_marker, version_id_marker=version_id_marker, locks=False)
            for info in page.versions:
                place = (name, info.key, info.version_id)
                if self._state.known_from < info.sequence and self._expected(place) is None:
                    found.append(_unknown_version(place))
            key_marker, version_id_marker = page.next_key_marker, page.next_version_id_marker or ""
        return found


def _unknown_version(place: Place) -> Finding:
    return Finding("unknown", *place, f"{place[0]}/{place[1]} version {place[2]}: the trail knows nothing of it")


def _tags(bucket: Bucket, info: ObjectInfo, expected: VersionState) -> str:
    if not info.tag_count and not expected.tagged:
        return ""
    return attribute_digest(bucket.get_tags(info.key, version_id=info.version_id))


def _description(info: ObjectInfo, expected: VersionState) -> str:
    has_checksums = info.checksums or info.sealed_checksums
    if not expected.described and not (info.content_type or info.metadata or has_checksums):
        return ""
    return description_digest(
        info.content_type, info.metadata, info.checksums, info.checksum_type, info.sealed_checksums
    )


def _digests(reader: ObjectReader) -> tuple[str | None, str]:
    """Return the entity tag that the bytes give, None where it is not made from them, and their SHA-256.

    Of an object made of parts it is the SHA-256 of those of its parts, as the tag is.
    """
    info = reader.info
    if info.encryption is not None and info.encryption.mode == "kms":
        # Its tag is drawn by lot, so that it tells nothing of the plaintext.
        whole = hashlib.sha256()
        for chunk in reader.chunks(0, info.size):
            whole.update(chunk)
        return None, whole.hexdigest()
    parts = info.part_sizes if "-" in info.etag else (info.size,)
    tags, proofs = [], []
    start = 0
    for size in parts:
        part, proof = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        for chunk in reader.chunks(start, start + size):
            part.update(chunk)
            proof.update(chunk)
        tags.append(part.digest())
        proofs.append(proof.digest())
        start += size
    if "-" not in info.etag:
        return tags[0].hex(), proofs[0].hex()
    joined = hashlib.md5(b"".join(tags), usedforsecurity=False).hexdigest()
    return f"{joined}-{len(parts)}", hashlib.sha256(b"".join(proofs)).hexdigest()


def _lock_of(info: ObjectInfo) -> dict[str, str]:
    if not info.locked:
        return {}
    mode = info.retention_mode if info.retention_mode in ("GOVERNANCE", "COMPLIANCE") else None
    return lock_detail(ObjectLock(mode, info.retain_until_ns, info.legal_hold))  # type: ignore[arg-type]


def _words(lock: dict[str, str]) -> str:
    return "lock " + (" ".join(f"{name}={value}" for name, value in lock.items()) or "none")
