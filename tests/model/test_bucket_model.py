"""A bucket against a dictionary: whatever is done to it, it answers as S3's rules say.

The machine puts, copies, tags, deletes, lists and uploads in any order, with versions off, on and suspended, and in
between checkpoints, reopens, loses the unsynced half of the index, and rebuilds all of it from the segments.
``TICKVAULT_MODEL_EXAMPLES`` sets how many runs are made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tickvault as tv
from tickvault.engine.engine import EngineOptions
from tickvault.objects import multipart
from tickvault.objects.bucket import Bucket
from tickvault.objects.store import open_store
from tickvault.seam.disk import OsDisk

EXAMPLES = int(os.environ.get("TICKVAULT_MODEL_EXAMPLES", "60"))
PART_SIZE_MIN = 4
# Small segments, so that every run crosses several.
OPTIONS = EngineOptions(segment_size_first=64 * 1024, segment_size_max=256 * 1024, background=False)

LONGEST = "x" * 1024
KEYS = [
    "a", "a/", "a/b", "a/b/c", "a//", "a//b", "ab", "a b", "a\x01", "a!", "b", "b/1", "é", "日本/x", "日本0",
    "~", "\U0010ffff", "a/\uffff", LONGEST, LONGEST[:-1], LONGEST[:-1] + "/",
]  # fmt: skip
PREFIXES = ["", "a", "a/", "a//", "b", "é", "日", "日本/", "zz", LONGEST, "x"]
DELIMITERS = ["", "/", "//", "b", "日本"]

# Two keys are met again and again, so that long histories come about.
keys = st.one_of(st.sampled_from(["a", "a/b"]), st.sampled_from(["a", "a/b"]), st.sampled_from(KEYS))
small = st.binary(max_size=40)
bodies = st.one_of(
    small,
    small,
    st.sampled_from([65_535, 65_536, 65_537, 200_000, 262_144, 262_145, 400_000]).map(
        lambda size: bytes(range(251)) * (size // 251) + b"\xfe" * (size % 251)
    ),
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
tag_sets = st.dictionaries(texts.filter(lambda text: not text.lower().startswith("aws:")), texts, max_size=3)
metadata_sets = st.dictionaries(st.sampled_from(["venue", "source", "day"]), texts, max_size=2)


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


@dataclass
class Version:
    """What the model knows of a version."""

    version_id: str
    sequence: int
    body: bytes = b""
    etag: str = ""
    marker: bool = False
    content_type: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    part_sizes: tuple[int, ...] = ()


@dataclass
class Upload:
    key: str
    upload_id: str
    metadata: dict[str, str]
    tags: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class Model:
    """The rules of S3 over a dictionary: key to versions, oldest first."""

    def __init__(self) -> None:
        self.versioning = "off"
        self.versions: dict[str, list[Version]] = {}
        self.uploads: dict[str, Upload] = {}

    def add(self, key: str, version: Version) -> None:
        kept = [other for other in self.versions.get(key, []) if not version.version_id == other.version_id == "null"]
        self.versions[key] = [*kept, version]

    def remove(self, key: str, version: Version) -> None:
        self.versions[key].remove(version)
        if not self.versions[key]:
            del self.versions[key]

    def current(self, key: str) -> Version | None:
        found = self.versions.get(key)
        return found[-1] if found and not found[-1].marker else None

    def listing(self, prefix: str, delimiter: str, start_after: str) -> list[str | tuple[str, Version]]:
        """Return common prefixes as str and objects as (key, version), in order."""
        items: list[str | tuple[str, Version]] = []
        for key in sorted(self.versions, key=str.encode):
            current = self.current(key)
            if current is None or not key.startswith(prefix) or key.encode() <= start_after.encode():
                continue
            common = common_prefix(key, prefix, delimiter)
            if common is None:
                items.append((key, current))
            elif common != start_after and common not in items:
                items.append(common)
        return items

    def version_listing(self, prefix: str, delimiter: str, key_marker: str) -> list[str | tuple[str, Version, bool]]:
        items: list[str | tuple[str, Version, bool]] = []
        for key in sorted(self.versions, key=str.encode):
            if not key.startswith(prefix) or key.encode() <= key_marker.encode():
                continue
            common = common_prefix(key, prefix, delimiter)
            if common is not None:
                if common != key_marker and common not in items:
                    items.append(common)
                continue
            newest_first = self.versions[key][::-1]
            items += [(key, version, version is newest_first[0]) for version in newest_first]
        return items


def common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if at < 0 else key[: at + len(delimiter)]


class UnsyncedDisk(OsDisk):
    """Files that are never synced: nothing here loses its power, and a sync takes longer than all the rest."""

    def sync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: str) -> None:
        pass

    def write_synced(self, fd: int, buffers: Any, offset: int) -> None:
        self.pwritev(fd, buffers, offset)


class BucketMachine(RuleBasedStateMachine):
    """Does the same to a bucket and to the model, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="tickvault-model-")
        self.path = os.path.join(self.folder, "data")
        self.model = Model()
        self.last_sequence = 0
        self.vault = tv.open(self.path, options=OPTIONS, disk=UnsyncedDisk())
        self.bucket: Bucket

    @initialize(versioning=st.booleans(), durability=st.sampled_from(["strict", "relaxed"]))
    def create(self, versioning: bool, durability: Any) -> None:
        # A neighbour on each side: nothing may leak out of a bucket or into it.
        for name in ("before", "raw", "zafter"):
            self.bucket = self.vault.create_bucket(name, versioning=versioning, durability=durability)
            if name != "raw":
                self.bucket.put_many([(key, b"a neighbour's") for key in KEYS])
        self.bucket = self.vault["raw"]
        self.model.versioning = "enabled" if versioning else "off"

    def teardown(self) -> None:
        try:
            if hasattr(self, "bucket"):
                self.everything()
                assert [item.size for item in self.vault["before"].list()] == [13] * len(KEYS)  # type: ignore[union-attr]
                assert [item.size for item in self.vault["zafter"].list()] == [13] * len(KEYS)  # type: ignore[union-attr]
        finally:
            self.vault.close()
            shutil.rmtree(self.folder)

    # -- what versions are given

    def fresh(self, version_id: str, sequence: int) -> None:
        assert sequence > self.last_sequence
        self.last_sequence = sequence
        if self.model.versioning == "enabled":
            assert version_id != "null"
            assert not any(version_id == other.version_id for found in self.model.versions.values() for other in found)
        else:
            assert version_id == "null"

    def written(self, key: str, info: tv.ObjectInfo, body: bytes, etag: str | None = None, **more: Any) -> None:
        assert (info.key, info.size, info.etag) == (key, len(body), etag or md5(body))
        assert info.is_latest
        assert not info.delete_marker
        self.fresh(info.version_id, info.sequence)
        version = Version(info.version_id, info.sequence, body, info.etag, **more)
        assert info.tag_count == len(version.tags)
        assert (dict(info.metadata), info.content_type) == (version.metadata, version.content_type)
        self.model.add(key, version)

    def pick_version(self, key: str, which: int) -> Version | None:
        found = self.model.versions.get(key)
        return found[which % len(found)] if found else None

    # -- writing

    @rule(
        key=keys,
        body=bodies,
        metadata=metadata_sets,
        tags=tag_sets,
        content_type=st.sampled_from([None, "text/csv"]),
    )
    def put(
        self, key: str, body: bytes, metadata: dict[str, str], tags: dict[str, str], content_type: str | None
    ) -> None:
        info = self.bucket.put(key, body, metadata=metadata, tags=tags, content_type=content_type)
        self.written(key, info, body, metadata=metadata, tags=tags, content_type=content_type)

    @rule(items=st.lists(st.tuples(keys, small), max_size=6))
    def put_many(self, items: list[tuple[str, bytes]]) -> None:
        infos = self.bucket.put_many(items)
        assert len(infos) == len(items)
        last_of = {key: number for number, (key, _) in enumerate(items)}
        for number, ((key, body), info) in enumerate(zip(items, infos, strict=True)):
            assert info.is_latest == (last_of[key] == number)
            self.written(key, info._replace(is_latest=True), body)

    @rule(key=keys, body=small, condition=st.sampled_from(["none", "match", "wrong", "any", "other"]))
    def put_conditional(self, key: str, body: bytes, condition: str) -> None:
        current = self.model.current(key)
        etag = current.etag if current else "d41d8cd98f00b204e9800998ecf8427e"
        cases: dict[str, tuple[dict[str, Any], type[Exception] | None]] = {
            "none": ({"if_none_match": "*"}, tv.PreconditionFailedError if current else None),
            "match": ({"if_match": f'"{etag}"'}, None if current else tv.NotFoundError),
            "wrong": ({"if_match": "0" * 32}, tv.PreconditionFailedError if current else tv.NotFoundError),
            "any": ({"if_match": "*"}, None if current else tv.NotFoundError),
            "other": ({"if_none_match": etag}, tv.PreconditionFailedError if current else None),
        }
        given, expected = cases[condition]
        if expected is None:
            self.written(key, self.bucket.put(key, body, **given), body)
        else:
            with pytest.raises(expected):
                self.bucket.put(key, body, **given)

    @rule(
        source=keys,
        dest_key=keys,
        which=st.integers(0, 9),
        current=st.booleans(),
        metadata=st.none() | metadata_sets,
        tags=st.none() | tag_sets,
    )
    def copy(
        self,
        source: str,
        dest_key: str,
        which: int,
        current: bool,
        metadata: dict[str, str] | None,
        tags: dict[str, str] | None,
    ) -> None:
        version = self.model.current(source) if current else self.pick_version(source, which)
        version_id = None if current or version is None else version.version_id
        if version is None or version.marker:
            with pytest.raises(tv.NotFoundError):
                self.bucket.copy(source, dest_key, version_id=version_id)
            return
        info = self.bucket.copy(source, dest_key, version_id=version_id, metadata=metadata, tags=tags)
        self.written(
            dest_key,
            info,
            version.body,
            metadata=version.metadata if metadata is None else metadata,
            content_type=version.content_type if metadata is None else None,
            tags=version.tags if tags is None else tags,
        )

    @rule(key=keys, which=st.integers(0, 9), tags=tag_sets)
    def set_tags(self, key: str, which: int, tags: dict[str, str]) -> None:
        version = self.pick_version(key, which)
        if version is None or version.marker:
            with pytest.raises(tv.NotFoundError):
                self.bucket.set_tags(key, tags, version_id=version.version_id if version else None)
            return
        info = self.bucket.set_tags(key, tags, version_id=version.version_id)
        assert (info.sequence, info.tag_count) == (version.sequence, len(tags))
        version.tags = tags

    @rule(state=st.sampled_from(["enabled", "suspended"]))
    def set_versioning(self, state: Any) -> None:
        assert self.bucket.set_versioning(state).versioning == state
        self.model.versioning = state

    # -- deleting

    def deleted(self, key: str, result: tv.DeleteResult) -> None:
        current = self.model.current(key)
        assert result.existed == (current is not None)
        if self.model.versioning == "off":
            assert (result.version_id, result.delete_marker) == (None, False)
            if current is not None:
                self.model.remove(key, current)
            return
        assert result.delete_marker
        assert result.version_id is not None
        # The marker's sequence is not told; the listing knows it.
        marker = next(iter(self.bucket.versions(key)))
        assert marker.delete_marker
        self.fresh(result.version_id, marker.sequence)
        self.model.add(key, Version(result.version_id, marker.sequence, marker=True))

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.deleted(key, self.bucket.delete(key))

    @rule(key=keys, right=st.booleans())
    def delete_conditional(self, key: str, right: bool) -> None:
        current = self.model.current(key)
        etag = current.etag if current and right else "0" * 32
        if current is None or not right:
            with pytest.raises(tv.NotFoundError if current is None else tv.PreconditionFailedError):
                self.bucket.delete(key, if_match=etag)
            return
        self.deleted(key, self.bucket.delete(key, if_match=etag))

    @rule(key=keys, which=st.integers(0, 9))
    def delete_version(self, key: str, which: int) -> None:
        version = self.pick_version(key, which)
        if version is None:
            for version_id in ("null", "00000000000000ff", "nonsense"):
                assert not self.bucket.delete(key, version_id=version_id).existed
            return
        result = self.bucket.delete(key, version_id=version.version_id)
        assert result == (key, version.version_id, version.marker, True)
        self.model.remove(key, version)

    @rule(chosen=st.lists(st.tuples(keys, st.integers(0, 9)), max_size=5, unique_by=lambda item: item[0]))
    def delete_many_versions(self, chosen: list[tuple[str, int]]) -> None:
        versions = [(key, self.pick_version(key, which)) for key, which in chosen]
        there = [(key, version) for key, version in versions if version is not None]
        results = self.bucket.delete_many([(key, version.version_id) for key, version in there])
        assert results == [(key, version.version_id, version.marker, True) for key, version in there]
        for key, version in there:
            self.model.remove(key, version)

    # -- uploads

    @rule(key=keys, metadata=metadata_sets, tags=tag_sets)
    def create_upload(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
        info = self.bucket.create_upload(key, metadata=metadata, tags=tags)
        self.model.uploads[info.upload_id] = Upload(key, info.upload_id, metadata, tags)

    def pick_upload(self, which: int) -> Upload:
        found = list(self.model.uploads.values())
        return found[which % len(found)]

    @precondition(lambda self: self.model.uploads)
    @rule(which=st.integers(0, 9), number=st.sampled_from([1, 2, 3, 7, 10_000]), body=bodies)
    def put_part(self, which: int, number: int, body: bytes) -> None:
        upload = self.pick_upload(which)
        part = self.bucket.put_part(upload.key, upload.upload_id, number, body)
        assert (part.part_number, part.size, part.etag) == (number, len(body), md5(body))
        upload.parts[number] = body

    @precondition(lambda self: self.model.uploads)
    @rule(which=st.integers(0, 9), leave_out=st.sampled_from([None, 1, 2, 7]))
    def complete_upload(self, which: int, leave_out: int | None) -> None:
        upload = self.pick_upload(which)
        chosen = [(number, body) for number, body in sorted(upload.parts.items()) if number != leave_out]
        parts = [(number, md5(body)) for number, body in chosen]
        too_small = any(len(body) < PART_SIZE_MIN for _, body in chosen[:-1])
        if not chosen or too_small:
            with pytest.raises(multipart.PartError):
                self.bucket.complete_upload(upload.key, upload.upload_id, parts)
            return
        info = self.bucket.complete_upload(upload.key, upload.upload_id, parts)
        digests = b"".join(bytes.fromhex(etag) for _, etag in parts)
        sizes = tuple(len(body) for _, body in chosen)
        assert info.part_sizes == sizes
        self.written(
            upload.key,
            info,
            b"".join(body for _, body in chosen),
            f"{md5(digests)}-{len(parts)}",
            metadata=upload.metadata,
            tags=upload.tags,
            part_sizes=sizes,
        )
        del self.model.uploads[upload.upload_id]
        with pytest.raises(tv.UploadNotFoundError):
            self.bucket.upload_info(upload.key, upload.upload_id)

    @precondition(lambda self: self.model.uploads)
    @rule(which=st.integers(0, 9))
    def abort_upload(self, which: int) -> None:
        upload = self.pick_upload(which)
        self.bucket.abort_upload(upload.key, upload.upload_id)
        del self.model.uploads[upload.upload_id]

    @rule(prefix=st.sampled_from(PREFIXES), limit=st.sampled_from([1, 2, 1000]))
    def list_uploads(self, prefix: str, limit: int) -> None:
        expected = sorted(
            ((upload.key.encode(), upload.upload_id) for upload in self.model.uploads.values()),
        )
        found: list[tuple[bytes, str]] = []
        markers = {"key_marker": "", "upload_id_marker": ""}
        while True:
            page = self.bucket.list_uploads_page(prefix=prefix, limit=limit, **markers)
            found += [(upload.key.encode(), upload.upload_id) for upload in page.uploads]
            assert len(page.uploads) <= limit
            if page.next_key_marker is None:
                break
            assert len(page.uploads) == limit
            markers = {"key_marker": page.next_key_marker, "upload_id_marker": page.next_upload_id_marker or ""}
        assert found == [item for item in expected if item[0].startswith(prefix.encode())]
        for upload in self.model.uploads.values():
            parts = self.bucket.list_parts_page(upload.key, upload.upload_id, part_number_marker=1).parts
            assert [(part.part_number, part.etag) for part in parts] == [
                (number, md5(body)) for number, body in sorted(upload.parts.items()) if number > 1
            ]

    # -- reading

    def same(self, key: str, version: Version, info: tv.ObjectInfo) -> None:
        """Compare all that `head` knows."""
        assert info == tv.ObjectInfo(
            key=key,
            size=len(version.body),
            etag=version.etag,
            sequence=version.sequence,
            modified_ns=info.modified_ns,
            version_id=version.version_id,
            is_latest=version is self.model.versions[key][-1],
            delete_marker=False,
            content_type=version.content_type,
            metadata=version.metadata,
            part_sizes=version.part_sizes,
            tag_count=len(version.tags),
        )

    @rule(
        key=keys,
        which=st.integers(0, 9),
        current=st.booleans(),
        low=st.integers(0, 70_000),
        length=st.integers(0, 200_000),
    )
    def get(self, key: str, which: int, current: bool, low: int, length: int) -> None:
        version = self.model.current(key) if current else self.pick_version(key, which)
        version_id = None if current or version is None else version.version_id
        if version is None or version.marker:
            for verb in (self.bucket.get, self.bucket.head, self.bucket.get_tags):
                with pytest.raises(tv.NotFoundError) as caught:
                    verb(key, version_id=version_id)
                newest = self.model.versions.get(key)
                hidden = newest is not None and (version_id is not None or newest[-1].marker)
                assert getattr(caught.value, "delete_marker", False) == hidden
            return
        blob = self.bucket.get(key, version_id=version_id)
        assert bytes(blob) == version.body
        self.same(key, version, blob.info)
        self.same(key, version, self.bucket.head(key, version_id=version_id))
        assert self.bucket.get_tags(key, version_id=version_id) == version.tags
        if low > len(version.body):
            with pytest.raises(tv.InvalidInputError):
                self.bucket.get(key, start=low, version_id=version_id)
            return
        assert (
            self.bucket.get(key, start=low, end=low + length, version_id=version_id) == version.body[low : low + length]
        )
        ranges = [(low, None), (low, low), (0, low), (low, low + length)]
        parts = self.bucket.get_ranges(key, ranges, version_id=version_id)
        assert [bytes(part) for part in parts] == [version.body[start:end] for start, end in ranges]

    @rule(chosen=st.lists(keys, max_size=6))
    def get_many(self, chosen: list[str]) -> None:
        versions = [self.model.current(key) for key in chosen]
        if any(version is None for version in versions):
            with pytest.raises(tv.NotFoundError):
                self.bucket.get_many(chosen)
            return
        assert [bytes(blob) for blob in self.bucket.get_many(chosen)] == [
            version.body for version in versions if version
        ]

    @rule(
        prefix=st.sampled_from(PREFIXES),
        delimiter=st.sampled_from(DELIMITERS),
        start_after=st.sampled_from(["", "a/", "日本/", "0", *KEYS]),
        limit=st.sampled_from([1, 2, 3, 1000]),
    )
    def list_objects(self, prefix: str, delimiter: str, start_after: str, limit: int) -> None:
        expected = self.model.listing(prefix, delimiter, start_after)
        found: list[Any] = []
        marker: str | None = start_after
        while marker is not None:
            page = self.bucket.list_page(prefix=prefix, delimiter=delimiter, start_after=marker, limit=limit)
            items: list[Any] = [*page.objects, *page.common_prefixes]
            items.sort(key=lambda item: (item if isinstance(item, str) else item.key).encode())
            found += items
            marker = page.next_start_after
            assert len(items) <= limit
            if marker is not None:
                assert len(items) == limit
                assert marker == (items[-1] if isinstance(items[-1], str) else items[-1].key)
        assert found == list(self.bucket.list(prefix, delimiter, start_after))
        assert [item if isinstance(item, str) else item.key for item in found] == [
            item if isinstance(item, str) else item[0] for item in expected
        ]
        for seen, item in zip(found, expected, strict=True):
            if not isinstance(item, str):
                version = item[1]
                assert (seen.size, seen.etag, seen.sequence) == (len(version.body), version.etag, version.sequence)
                assert (seen.version_id, seen.is_latest, seen.delete_marker) == (version.version_id, True, False)

    @rule(
        prefix=st.sampled_from(PREFIXES),
        delimiter=st.sampled_from(DELIMITERS),
        key_marker=st.sampled_from(["", "a/", "日本/", "0", *KEYS]),
        limit=st.sampled_from([1, 2, 3, 1000]),
    )
    def list_versions(self, prefix: str, delimiter: str, key_marker: str, limit: int) -> None:
        expected = self.model.version_listing(prefix, delimiter, key_marker)
        found: list[Any] = []
        markers = {"key_marker": key_marker, "version_id_marker": ""}
        while True:
            page = self.bucket.list_versions_page(prefix=prefix, delimiter=delimiter, limit=limit, **markers)
            found += merged(page)
            count = len(page.versions) + len(page.common_prefixes)
            assert count <= limit
            if page.next_key_marker is None:
                break
            assert count == limit
            markers = {"key_marker": page.next_key_marker, "version_id_marker": page.next_version_id_marker or ""}
        seen_items = [
            item if isinstance(item, str) else (item.key, item.version_id, item.is_latest, item.delete_marker)
            for item in found
        ]
        expected_items = [
            item if isinstance(item, str) else (item[0], item[1].version_id, item[2], item[1].marker)
            for item in expected
        ]
        assert seen_items == expected_items, f"{seen_items} is not {expected_items}"
        for seen, item in zip(found, expected, strict=True):
            if not isinstance(item, str):
                version = item[1]
                assert (seen.sequence, seen.size, seen.etag) == (version.sequence, len(version.body), version.etag)

    # -- the life of a vault

    @rule()
    def checkpoint(self) -> None:
        self.vault.store.engine.checkpoint()

    @rule(dead_ratio_min=st.sampled_from([0.0, 0.3]))
    def compact(self, dead_ratio_min: float) -> None:
        self.vault.compact(dead_ratio_min=dead_ratio_min)

    @rule()
    def verify(self) -> None:
        report = self.vault.verify(heal=False)
        assert report.sound, report

    @rule()
    def reopen(self) -> None:
        self.vault.close()
        self.open_again()

    @rule()
    def reopen_without_checkpoint(self) -> None:
        forgo_checkpoint(self.vault)
        self.vault.close()
        self.open_again()

    @rule()
    def reboot(self) -> None:
        """The page cache, and `recent` with it, is gone: the journal is replayed from the last checkpoint."""
        forgo_checkpoint(self.vault)
        self.vault.close()
        path = os.path.join(self.path, "identity.json")
        with open(path) as file:
            identity = json.load(file)
        with open(path, "w") as file:
            json.dump({**identity, "boot": "another"}, file)
        self.open_again()
        assert self.vault.store.engine.report.kind == "replay"

    @rule()
    def rebuild(self) -> None:
        self.vault.close()
        open_store(self.path, create=False, rebuild=True, options=OPTIONS, disk=UnsyncedDisk()).close()
        self.open_again()

    def open_again(self) -> None:
        self.vault = tv.open(self.path, create=False, options=OPTIONS, disk=UnsyncedDisk())
        self.bucket = self.vault["raw"]
        assert self.bucket.info.versioning == self.model.versioning

    # -- always

    @invariant()
    def keys_agree(self) -> None:
        if hasattr(self, "bucket"):
            found = [item.key for item in self.bucket.list()]  # type: ignore[union-attr]
            assert found == [item[0] for item in self.model.listing("", "", "")]

    def everything(self) -> None:
        """Compare every version of every key, byte by byte, and every upload."""
        self.list_versions("", "", "", 1000)
        self.list_uploads("", 1000)
        for key, versions in self.model.versions.items():
            assert [item.version_id for item in self.bucket.versions(key)] == [
                item.version_id for item in versions[::-1]
            ]
            for number in range(len(versions)):
                self.get(key, number, False, 0, 100_000)


def merged(page: Any) -> Iterator[Any]:
    """Bring the versions and common prefixes of a page into one order, as the keys go."""
    prefixes = list(page.common_prefixes)
    for info in page.versions:
        while prefixes and prefixes[0].encode() < info.key.encode():
            yield prefixes.pop(0)
        yield info
    yield from prefixes


def forgo_checkpoint(vault: tv.Vault) -> None:
    """Let the vault close as if the process had ended before its last checkpoint."""
    vault.store.engine.checkpoint = lambda *, wait=False: 0  # type: ignore[method-assign]


def run_machine(examples: int, **more: Any) -> None:
    run_state_machine_as_test(
        BucketMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            # Each run writes a vault to the disk, which health checks take for slow and unreliable drawing.
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "PART_SIZE_MIN", PART_SIZE_MIN)


def test_a_bucket_is_a_dictionary_with_rules() -> None:
    run_machine(EXAMPLES)


@pytest.mark.parametrize("planted", ["null version kept", "no promotion", "tombstones ignored", "rebuild skips"])
def test_the_machine_catches_a_planted_bug(monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    from tickvault.engine.index import IndexWriter
    from tickvault.objects.interpreter import ObjectInterpreter

    if planted == "null version kept":
        monkeypatch.setattr(ObjectInterpreter, "_replace_null", lambda *arguments: True)
    elif planted == "no promotion":
        monkeypatch.setattr(ObjectInterpreter, "_promote", lambda *arguments: None)
    elif planted == "tombstones ignored":
        monkeypatch.setattr(IndexWriter, "delete", lambda self, key: self._recent.delete(key))
    else:
        original = ObjectInterpreter.apply

        def forgetful(self: Any, writer: Any, kind: int, *rest: Any) -> None:
            # Right in a commit, which gives a `Transaction`; a replay loses every removal.
            if kind != 3 or hasattr(writer, "append"):
                original(self, writer, kind, *rest)

        monkeypatch.setattr(ObjectInterpreter, "apply", forgetful)
    with pytest.raises((AssertionError, tv.TickVaultError, BaseExceptionGroup)):
        run_machine(200, phases=[Phase.generate], database=None, derandomize=True)
