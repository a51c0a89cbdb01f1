"""What a vault must hold: a plain model of buckets, versions, tags and uploads, and what is seen of a real vault.

A model state is immutable, so that a history of states costs nothing: after a crash, the vault must equal one state of
the history that is not older than the last durable one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tickvault.objects.bucket import Bucket
from tickvault.objects.store import ObjectStore


class Version(NamedTuple):
    """A version or a delete marker of a key."""

    null: bool
    body: bytes | None
    """None for a delete marker."""
    tags: tuple[tuple[str, str], ...] = ()
    version_id: str | None = None
    """None where the call that made it never returned."""


Versions = tuple[Version, ...]
"""Newest first."""


@dataclass(frozen=True)
class State:
    """All that can be seen of a vault."""

    versioning: dict[str, str] = field(default_factory=dict)
    objects: dict[tuple[str, str], Versions] = field(default_factory=dict)
    uploads: dict[str, tuple[str, str, tuple[tuple[int, bytes], ...]]] = field(default_factory=dict)

    def current(self, bucket: str, key: str) -> Version | None:
        """Return the version that a get gives."""
        versions = self.objects.get((bucket, key), ())
        return versions[0] if versions and versions[0].body is not None else None

    def with_versions(self, bucket: str, key: str, versions: Versions) -> State:
        objects = {**self.objects, (bucket, key): versions}
        if not versions:
            del objects[bucket, key]
        return replace(self, objects=objects)

    def put(self, bucket: str, key: str, body: bytes | None, version_id: str | None) -> State:
        """Add a version, or a delete marker where `body` is None."""
        versions = self.objects.get((bucket, key), ())
        null = self.versioning[bucket] != "enabled"
        if null:
            versions = tuple(version for version in versions if not version.null)
            version_id = "null"
        return self.with_versions(bucket, key, (Version(null, body, (), version_id), *versions))

    def delete(self, bucket: str, key: str, version_id: str | None) -> State:
        if self.versioning[bucket] == "off":
            return self.with_versions(bucket, key, ()) if (bucket, key) in self.objects else self
        return self.put(bucket, key, None, version_id)

    def delete_version(self, bucket: str, key: str, number: int) -> State:
        versions = self.objects[bucket, key]
        return self.with_versions(bucket, key, versions[:number] + versions[number + 1 :])

    def tag(self, bucket: str, key: str, tags: dict[str, str]) -> State:
        first, *rest = self.objects[bucket, key]
        return self.with_versions(bucket, key, (first._replace(tags=tuple(sorted(tags.items()))), *rest))


def same(expected: State, seen: State) -> bool:
    """Whether a vault shows a state; version ids are compared where they are known."""
    if expected.versioning != seen.versioning or expected.objects.keys() != seen.objects.keys():
        return False
    for key, versions in expected.objects.items():
        found = seen.objects[key]
        if len(found) != len(versions):
            return False
        for wanted, got in zip(versions, found, strict=True):
            if wanted._replace(version_id=None) != got._replace(version_id=None):
                return False
            if wanted.version_id is not None and wanted.version_id != got.version_id:
                return False
    return sorted(expected.uploads.values()) == sorted(seen.uploads.values())


def difference(expected: State, seen: State) -> str:
    """Return what is not the same, in words, bodies shortened."""
    lines = []
    for key in sorted({*expected.objects, *seen.objects}):
        wanted, got = (
            [(v.null, v.body and (len(v.body), v.body[:12]), v.tags, v.version_id) for v in state.objects.get(key, ())]
            for state in (expected, seen)
        )
        if wanted != got:
            lines.append(f"{key}: expected {wanted}, found {got}")
    if sorted(expected.uploads.values()) != sorted(seen.uploads.values()):
        lines.append(f"uploads: expected {expected.uploads}, found {seen.uploads}")
    return "\n".join(lines) or "nothing"


def observe(store: ObjectStore) -> State:
    """Read everything that a vault holds, by every way that shows it, and make sure that they agree."""
    versioning = {}
    objects: dict[tuple[str, str], Versions] = {}
    uploads = {}
    for info in store.list_buckets():
        bucket = store.bucket(info.name)
        versioning[info.name] = info.versioning
        page = bucket.list_versions_page(limit=10_000)
        for found in page.versions:
            body, tags = None, ()
            if not found.delete_marker:
                body = bytes(bucket.get(found.key, version_id=found.version_id))
                assert len(body) == found.size
                tags = tuple(sorted(bucket.get_tags(found.key, version_id=found.version_id).items()))
            name = (info.name, found.key)
            assert found.is_latest == (name not in objects), f"{name}: wrong version is the latest"
            version = Version(found.version_id == "null", body, tags, found.version_id)
            objects[name] = (*objects.get(name, ()), version)
        current = {key: versions[0] for (name, key), versions in objects.items() if name == info.name}
        listed = [item.key for item in bucket.list()]
        assert listed == sorted(key for key, version in current.items() if version.body is not None)
        for key in listed:
            assert bucket.get(key) == current[key].body
        uploads.update(_uploads(bucket))
    return State(versioning, objects, uploads)


def _uploads(bucket: Bucket) -> dict[str, tuple[str, str, tuple[tuple[int, bytes], ...]]]:
    found = {}
    for upload in bucket.list_uploads_page(limit=1000).uploads:
        parts = bucket.list_parts_page(upload.key, upload.upload_id).parts
        found[upload.upload_id] = (
            bucket.name,
            upload.key,
            # The bytes of a part cannot be read before it is completed; its tag is their MD5.
            tuple((part.part_number, bytes.fromhex(part.etag)) for part in parts),
        )
    return found
