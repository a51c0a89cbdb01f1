"""Multipart uploads: what S3 refuses is refused by its name, and nothing is visible before the end."""

from __future__ import annotations

import hashlib

import pytest

import tickvault as tv
from tickvault.objects import multipart
from tickvault.objects.bucket import Bucket
from tickvault.objects.multipart import PART_SIZE_MIN, PartError


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "PART_SIZE_MIN", 4)


def etag_of(*bodies: bytes) -> str:
    digests = b"".join(hashlib.md5(body, usedforsecurity=False).digest() for body in bodies)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(bodies)}"


def test_parts_of_real_size_become_an_object(bucket: Bucket) -> None:
    upload = bucket.create_upload("k", metadata={"n": "1"}, content_type="text/csv", tags={"a": "b"})
    bodies = [bytes([number]) * PART_SIZE_MIN for number in (1, 2)] + [b"end"]
    # Order of arrival does not matter.
    parts = {
        number: bucket.put_part("k", upload.upload_id, number, body)
        for number, body in ((3, bodies[2]), (1, bodies[0]), (2, bodies[1]))
    }
    with pytest.raises(tv.NotFoundError):
        bucket.head("k")
    info = bucket.complete_upload("k", upload.upload_id, [(number, parts[number].etag) for number in (1, 2, 3)])
    assert info.etag == etag_of(*bodies)
    assert info.part_sizes == (PART_SIZE_MIN, PART_SIZE_MIN, 3)
    found = bucket.head("k")
    assert (found.metadata, found.content_type, found.tag_count) == ({"n": "1"}, "text/csv", 1)
    assert found.etag == info.etag
    assert bytes(bucket.get("k")) == b"".join(bodies)
    low, high = PART_SIZE_MIN - 2, 2 * PART_SIZE_MIN + 1
    assert bytes(bucket.get("k", start=low, end=high)) == b"".join(bodies)[low:high]
    assert bucket.list_uploads_page().uploads == []


@pytest.mark.usefixtures("small_parts")
def test_only_the_parts_named_are_taken_and_numbers_may_have_gaps(bucket: Bucket) -> None:
    upload = bucket.create_upload("k")
    etags = {
        number: bucket.put_part("k", upload.upload_id, number, b"part%d" % number).etag for number in (2, 5, 10_000)
    }
    info = bucket.complete_upload("k", upload.upload_id, [(2, etags[2]), (10_000, f'"{etags[10_000]}"')])
    assert info.etag == etag_of(b"part2", b"part10000")
    assert bucket.get("k") == b"part2part10000"


@pytest.mark.usefixtures("small_parts")
def test_a_part_sent_again_replaces_the_first(bucket: Bucket) -> None:
    upload = bucket.create_upload("k")
    old = bucket.put_part("k", upload.upload_id, 1, b"old")
    new = bucket.put_part("k", upload.upload_id, 1, b"newer")
    assert [part.size for part in bucket.list_parts_page("k", upload.upload_id).parts] == [5]
    with pytest.raises(PartError) as caught:
        bucket.complete_upload("k", upload.upload_id, [(1, old.etag)])
    assert caught.value.s3_code == "InvalidPart"
    assert bucket.complete_upload("k", upload.upload_id, [(1, new.etag)]).size == 5


@pytest.mark.usefixtures("small_parts")
def test_what_cannot_be_completed_is_called_as_s3_calls_it(bucket: Bucket) -> None:
    upload = bucket.create_upload("k")
    first, second, tiny = (
        bucket.put_part("k", upload.upload_id, number, b"x" * size) for number, size in ((1, 5), (2, 5), (3, 1))
    )
    after = bucket.put_part("k", upload.upload_id, 4, b"yyyyy")
    wrong = [
        ([], "InvalidRequest"),
        ([(2, second.etag), (1, first.etag)], "InvalidPartOrder"),
        ([(1, first.etag), (1, first.etag)], "InvalidPartOrder"),
        ([(1, "0" * 32)], "InvalidPart"),
        ([(9, first.etag)], "InvalidPart"),
        ([(1, first.etag), (3, tiny.etag), (4, after.etag)], "EntityTooSmall"),
    ]
    for parts, code in wrong:
        with pytest.raises(PartError) as caught:
            bucket.complete_upload("k", upload.upload_id, parts)
        assert caught.value.s3_code == code
        assert isinstance(caught.value, tv.InvalidInputError)
    assert len(bucket.list_parts_page("k", upload.upload_id).parts) == 4
    assert bucket.complete_upload("k", upload.upload_id, [(1, first.etag), (3, tiny.etag)]).size == 6


def test_the_real_least_size_is_5_mib(bucket: Bucket) -> None:
    upload = bucket.create_upload("k")
    parts = [bucket.put_part("k", upload.upload_id, number, b"x" * (PART_SIZE_MIN - 1)) for number in (1, 2)]
    with pytest.raises(PartError, match="5242880") as caught:
        bucket.complete_upload("k", upload.upload_id, [(part.part_number, part.etag) for part in parts])
    assert caught.value.s3_code == "EntityTooSmall"


@pytest.mark.parametrize("number", [0, -1, 10_001])
def test_part_numbers_go_from_1_to_10000(bucket: Bucket, number: int) -> None:
    upload = bucket.create_upload("k")
    with pytest.raises(tv.InvalidInputError, match="part_number"):
        bucket.put_part("k", upload.upload_id, number, b"")


@pytest.mark.parametrize("upload_id", ["", "nonsense", "0" * 32, "f" * 32, "-" + "0" * 31, "é" * 32])
def test_an_upload_that_is_not_there(bucket: Bucket, upload_id: str) -> None:
    for verb in (
        lambda: bucket.upload_info("k", upload_id),
        lambda: bucket.put_part("k", upload_id, 1, b""),
        lambda: bucket.list_parts_page("k", upload_id),
        lambda: bucket.complete_upload("k", upload_id, [(1, "0" * 32)]),
        lambda: bucket.abort_upload("k", upload_id),
    ):
        with pytest.raises(tv.UploadNotFoundError):
            verb()


def test_an_upload_belongs_to_its_key_and_bucket(bucket: Bucket, versioned: Bucket) -> None:
    upload = bucket.create_upload("k")
    for target, key in ((bucket, "other"), (versioned, "k")):
        with pytest.raises(tv.UploadNotFoundError):
            target.put_part(key, upload.upload_id, 1, b"")
    guessed = upload.upload_id[:16] + "0" * 16
    with pytest.raises(tv.UploadNotFoundError):
        bucket.upload_info("k", guessed)


def test_after_the_end_an_upload_is_gone(bucket: Bucket) -> None:
    done, given_up = bucket.create_upload("k"), bucket.create_upload("k")
    part = bucket.put_part("k", done.upload_id, 1, b"1")
    late = bucket.open_part_writer("k", given_up.upload_id, 1)
    late.write(b"late")
    bucket.complete_upload("k", done.upload_id, [(1, part.etag)])
    bucket.abort_upload("k", given_up.upload_id)
    with pytest.raises(tv.UploadNotFoundError):
        late.commit()
    for upload in (done, given_up):
        with pytest.raises(tv.UploadNotFoundError):
            bucket.abort_upload("k", upload.upload_id)
        with pytest.raises(tv.UploadNotFoundError):
            bucket.complete_upload("k", upload.upload_id, [(1, part.etag)])
    assert bucket.get("k") == b"1"


def test_an_empty_part_makes_an_empty_object(bucket: Bucket) -> None:
    upload = bucket.create_upload("k")
    part = bucket.put_part("k", upload.upload_id, 1, b"")
    info = bucket.complete_upload("k", upload.upload_id, [(1, part.etag)])
    assert (info.size, info.etag) == (0, etag_of(b""))
    assert bytes(bucket.get("k")) == b""


def test_parts_and_uploads_are_listed_in_pages(bucket: Bucket) -> None:
    uploads = [bucket.create_upload(key) for key in ("b/2", "a", "b/1", "a", "c")]
    for number in range(1, 8):
        bucket.put_part("a", uploads[1].upload_id, number, b"%d" % number)
    page = bucket.list_parts_page("a", uploads[1].upload_id, limit=3)
    assert ([part.part_number for part in page.parts], page.next_part_number_marker) == ([1, 2, 3], 3)
    page = bucket.list_parts_page("a", uploads[1].upload_id, part_number_marker=3, limit=4)
    assert ([part.part_number for part in page.parts], page.next_part_number_marker) == ([4, 5, 6, 7], None)
    found = []
    markers: dict[str, str] = {}
    while True:
        found_page = bucket.list_uploads_page(limit=1, delimiter="/", **markers)
        found += [item.upload_id for item in found_page.uploads] + found_page.common_prefixes
        if found_page.next_key_marker is None:
            break
        markers = {"key_marker": found_page.next_key_marker, "upload_id_marker": found_page.next_upload_id_marker or ""}
    assert found == [uploads[1].upload_id, uploads[3].upload_id, "b/", uploads[4].upload_id]


def test_a_marker_under_a_common_prefix_hides_no_upload(bucket: Bucket) -> None:
    """A marker that ends in the delimiter was once taken for a common prefix, though the prefix is a shorter one."""
    bucket.create_upload("a/b/x")
    assert bucket.list_uploads_page(key_marker="a/b/", delimiter="/").common_prefixes == ["a/"]
    assert bucket.list_uploads_page(key_marker="a/", delimiter="/").common_prefixes == []


@pytest.mark.usefixtures("small_parts")
def test_a_multipart_object_is_a_version_like_any_other(versioned: Bucket) -> None:
    before = versioned.put("k", b"before")
    upload = versioned.create_upload("k")
    parts = [(number, versioned.put_part("k", upload.upload_id, number, b"x" * 300_000).etag) for number in (1, 2)]
    info = versioned.complete_upload("k", upload.upload_id, parts)
    versioned.put("k", b"after")
    assert versioned.head("k", version_id=info.version_id).part_sizes == (300_000, 300_000)
    assert versioned.get("k", version_id=info.version_id) == b"x" * 600_000
    copied = versioned.copy("k", "copy", version_id=info.version_id)
    assert copied.part_sizes == ()
    assert copied.etag == hashlib.md5(b"x" * 600_000, usedforsecurity=False).hexdigest()
    assert versioned.get("k", version_id=before.version_id) == b"before"


@pytest.mark.usefixtures("small_parts")
def test_all_of_it_survives_a_rebuild(vault: tv.Vault, bucket: Bucket) -> None:
    done, open_ = bucket.create_upload("done"), bucket.create_upload("open", metadata={"n": "1"})
    given_up = bucket.create_upload("given up")
    parts = [(number, bucket.put_part("done", done.upload_id, number, b"x" * 70_000).etag) for number in (1, 2)]
    bucket.put_part("open", open_.upload_id, 7, b"seven")
    bucket.put_part("given up", given_up.upload_id, 1, b"")
    bucket.complete_upload("done", done.upload_id, parts)
    bucket.abort_upload("given up", given_up.upload_id)
    vault.close()
    tv.vault.rebuild_index(vault.path)
    with tv.open(vault.path) as again:
        raw = again["raw"]
        assert raw.get("done") == b"x" * 140_000
        assert [item.upload_id for item in raw.list_uploads_page().uploads] == [open_.upload_id]
        (part,) = raw.list_parts_page("open", open_.upload_id).parts
        raw.complete_upload("open", open_.upload_id, [(7, part.etag)])
        assert raw.get("open") == b"seven"
        assert raw.head("open").metadata == {"n": "1"}
