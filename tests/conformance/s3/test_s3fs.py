"""s3fs (and below it aiobotocore) against a served vault: a bucket as a file system."""

import asyncio
import concurrent.futures

import pytest
import s3fs
from served_vault import AWKWARD_NAMES, MANY_COUNT, fetch, fill, self_made_certificate, serving, some_bytes

MIB = 1 << 20


def file_system(served, **options):
    """Return a file system that keeps no listing, so that every question reaches the server."""
    return s3fs.S3FileSystem(
        **{
            "key": served.access_key,
            "secret": served.secret_key,
            "endpoint_url": served.url,
            "client_kwargs": {"region_name": "us-east-1"},
            "use_listings_cache": False,
            "skip_instance_cache": True,
            **options,
        }
    )


@pytest.fixture(scope="session")
def fs(endpoint):
    return file_system(endpoint)


@pytest.fixture
def tree(fs, bucket):
    """A bucket with a few files in folders."""
    for name in ("day/1/a.csv", "day/1/b.csv", "day/2/a.csv", "day/2/deep/c.parquet", "top"):
        fs.pipe_file(f"{bucket}/{name}", name.encode())
    return bucket


@pytest.mark.parametrize("size", [0, 5, 30 * MIB])
def test_bytes_go_up_and_come_down(fs, s3, bucket, tmp_path, size):
    body = some_bytes(size)
    (tmp_path / "up").write_bytes(body)
    fs.put_file(str(tmp_path / "up"), f"{bucket}/put", chunksize=8 * MIB)
    fs.pipe_file(f"{bucket}/piped", body, chunksize=8 * MIB)
    with fs.open(f"{bucket}/written", "wb", block_size=5 * MIB) as file:
        for start in range(0, size, 3 * MIB):
            file.write(body[start : start + 3 * MIB])
    for name in ("put", "piped", "written"):
        assert fs.size(f"{bucket}/{name}") == size
        fs.get_file(f"{bucket}/{name}", str(tmp_path / "down"))
        assert (tmp_path / "down").read_bytes() == body
        parts = s3.head_object(Bucket=bucket, Key=name)["ETag"].strip('"').partition("-")[2]
        assert bool(parts) == (size > 8 * MIB)


def test_reading_here_and_there(fs, bucket):
    body = some_bytes(6 * MIB)
    place = f"{bucket}/k"
    fs.pipe_file(place, body)
    with fs.open(place, "rb", block_size=64 * 1024) as file:
        for start in (0, 5 * MIB, 17, 6 * MIB - 3):
            file.seek(start)
            assert file.read(1000) == body[start : start + 1000]
        file.seek(-5, 2)
        assert file.read() == body[-5:]
        assert file.read() == b""
    assert fs.cat_file(place, start=10, end=20) == body[10:20]
    assert fs.cat_file(place, start=-4) == body[-4:]
    assert fs.tail(place, 7) == body[-7:]
    starts = list(range(0, 6 * MIB, 300_000))
    ranges = fs.cat_ranges([place] * len(starts), starts, [start + 11 for start in starts])
    assert ranges == [body[start : start + 11] for start in starts]
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{bucket}/none")


def test_lines_of_text(fs, bucket):
    with fs.open(f"{bucket}/text", "w", encoding="utf-8", newline="") as file:
        file.writelines(f"{number},äöü\n" for number in range(1000))
    with fs.open(f"{bucket}/text", "r", encoding="utf-8") as file:
        assert [line.strip() for line in file] == [f"{number},äöü" for number in range(1000)]


@pytest.mark.parametrize("size", [100, 6 * MIB])
def test_appending(fs, bucket, size):
    """Above 5 MiB s3fs makes the old object the first part of a new one, by UploadPartCopy."""
    body = some_bytes(size)
    fs.pipe_file(f"{bucket}/k", body)
    with fs.open(f"{bucket}/k", "ab") as file:
        file.write(b"more")
    assert fs.cat_file(f"{bucket}/k") == body + b"more"


def test_folders(fs, tree):
    assert fs.ls(tree) == [f"{tree}/day", f"{tree}/top"]
    assert [(item["name"], item["type"], item["size"]) for item in fs.ls(f"{tree}/day/2", detail=True)] == [
        (f"{tree}/day/2/a.csv", "file", 11),
        (f"{tree}/day/2/deep", "directory", 0),
    ]
    assert fs.glob(f"{tree}/day/*/a.csv") == [f"{tree}/day/1/a.csv", f"{tree}/day/2/a.csv"]
    assert fs.glob(f"{tree}/**/*.parquet") == [f"{tree}/day/2/deep/c.parquet"]
    assert len(fs.find(tree)) == 5
    assert fs.du(f"{tree}/day") == 11 * 3 + 20
    assert [place for place, _, _ in fs.walk(f"{tree}/day")] == [
        f"{tree}/day",
        f"{tree}/day/1",
        f"{tree}/day/2",
        f"{tree}/day/2/deep",
    ]
    assert fs.isdir(f"{tree}/day")
    assert fs.isfile(f"{tree}/top")
    assert not fs.exists(f"{tree}/da")
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{tree}/none")


def test_copies_moves_and_removals(fs, tree):
    fs.copy(f"{tree}/day/1/a.csv", f"{tree}/copy")
    assert fs.cat_file(f"{tree}/copy") == b"day/1/a.csv"
    fs.copy(f"{tree}/day/", f"{tree}/night/", recursive=True)
    assert len(fs.find(f"{tree}/night")) == 4
    fs.mv(f"{tree}/night/1/a.csv", f"{tree}/moved")
    assert not fs.exists(f"{tree}/night/1/a.csv")
    fs.rm_file(f"{tree}/moved")
    fs.rm(f"{tree}/night", recursive=True)
    assert fs.find(f"{tree}/night") == []
    fs.rm([f"{tree}/day/1/a.csv", f"{tree}/top"])
    assert fs.find(tree) == [
        f"{tree}/copy",
        f"{tree}/day/1/b.csv",
        f"{tree}/day/2/a.csv",
        f"{tree}/day/2/deep/c.parquet",
    ]
    with pytest.raises(FileNotFoundError):
        fs.copy(f"{tree}/none", f"{tree}/other")


def test_merging(fs, bucket):
    pieces = [some_bytes(5 * MIB, 1), some_bytes(5 * MIB, 2), b"end"]
    for number, piece in enumerate(pieces):
        fs.pipe_file(f"{bucket}/{number}", piece)
    fs.merge(f"{bucket}/merged", [f"{bucket}/{number}" for number in range(3)])
    assert fs.cat_file(f"{bucket}/merged") == b"".join(pieces)


def test_awkward_names(fs, bucket):
    for name in AWKWARD_NAMES:
        fs.pipe_file(f"{bucket}/{name}/{name}", name.encode())
    assert fs.find(bucket) == sorted((f"{bucket}/{name}/{name}" for name in AWKWARD_NAMES), key=str.encode)
    for name in AWKWARD_NAMES:
        assert fs.ls(f"{bucket}/{name}") == [f"{bucket}/{name}/{name}"]
        assert fs.cat_file(f"{bucket}/{name}/{name}") == name.encode()
        fs.cp_file(f"{bucket}/{name}/{name}", f"{bucket}/copy of {name}")  # `copy` would take brackets for a pattern
        assert fs.cat_file(f"{bucket}/copy of {name}") == name.encode()
    fs.rm(bucket, recursive=True)
    assert not fs.exists(bucket)


def test_many_keys(fs, endpoint, s3, bucket):
    keys = [f"day/{number:05}" for number in range(MANY_COUNT)]
    fill(endpoint.path, bucket, [*keys, "other/x"])
    assert fs.find(bucket) == [f"{bucket}/{key}" for key in [*keys, "other/x"]]
    assert fs.ls(bucket) == [f"{bucket}/day", f"{bucket}/other"]
    fs.rm(f"{bucket}/day", recursive=True)
    assert fs.find(bucket) == [f"{bucket}/other/x"]


def test_metadata_and_tags(fs, s3, bucket):
    place = f"{bucket}/k"
    with fs.open(place, "wb", ContentType="text/csv", Metadata={"venue": "XCME"}) as file:
        file.write(b"x")
    assert fs.info(place)["ContentType"] == "text/csv"
    assert fs.metadata(place) == {"venue": "XCME"}
    fs.setxattr(place, copy_kwargs={"ContentType": "text/plain"}, desk="rates")
    assert fs.getxattr(place, "desk") == "rates"
    assert fs.metadata(place) == {"venue": "XCME", "desk": "rates"}
    fs.put_tags(place, {"a": "1", "b": "ü + 1/2"})
    assert fs.get_tags(place) == {"a": "1", "b": "ü + 1/2"}
    fs.put_tags(place, {"b": "2"}, mode="m")
    assert fs.get_tags(place) == {"a": "1", "b": "2"}
    fs.chmod(place, "public-read")
    assert len(s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 2


def test_versions(endpoint, versioned):
    fs = file_system(endpoint, version_aware=True)
    place = f"{versioned}/k"
    for body in (b"one", b"two!", b"three"):
        fs.pipe_file(place, body)
    versions = fs.object_version_info(place)
    assert [item["Size"] for item in versions] == [5, 4, 3]
    assert fs.cat_file(place, version_id=versions[2]["VersionId"]) == b"one"
    with fs.open(place, "rb", version_id=versions[1]["VersionId"]) as file:
        assert file.read() == b"two!"
    with fs.open(place, "rb") as file:
        fs.pipe_file(place, b"a fourth, while the third is being read")
        assert file.read() == b"three"
    fs.rm(place)
    assert not fs.exists(place)
    assert fs.is_bucket_versioned(versioned)
    assert fs.cat_file(f"{place}?versionId={versions[0]['VersionId']}") == b"three"


def test_making_only_what_is_not_there(fs, bucket):
    place = f"{bucket}/k"
    fs.pipe_file(place, b"first", mode="create")
    with pytest.raises(OSError, match="pre-conditions"):
        fs.pipe_file(place, b"second", mode="create")
    with pytest.raises(OSError, match="pre-conditions"), fs.open(place, "xb") as file:
        file.write(b"third")
    assert fs.cat_file(place) == b"first"


def test_presigned(endpoint, bucket):
    # Without the setting botocore presigns with version 2 of the signature, which newer regions of AWS refuse as well.
    fs = file_system(endpoint, config_kwargs={"signature_version": "s3v4"})
    name = AWKWARD_NAMES[3]
    fs.pipe_file(f"{bucket}/{name}", b"0123456789")
    url = fs.sign(f"{bucket}/{name}", expiration=60)
    assert fetch(url).body == b"0123456789"
    assert fetch(url, Range="bytes=7-").body == b"789"
    assert fetch(url, "DELETE").status == 403


def test_buckets(fs, bucket):
    assert bucket in fs.ls("")
    other = f"{bucket}-other"
    fs.mkdir(other)
    assert fs.isdir(other)
    fs.touch(f"{other}/empty")
    assert fs.size(f"{other}/empty") == 0
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir(other)
    fs.rm(f"{other}/empty")
    fs.rmdir(other)
    assert not fs.exists(other)


@pytest.mark.parametrize("setting", ["when_supported", "when_required"])
@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_checksum_settings(endpoint, bucket, setting, size):
    settings = {"request_checksum_calculation": setting, "response_checksum_validation": setting}
    fs = file_system(endpoint, config_kwargs=settings)
    body = some_bytes(size)
    fs.pipe_file(f"{bucket}/k", body, chunksize=8 * MIB)
    assert fs.cat_file(f"{bucket}/k") == body


def test_many_at_once(endpoint, bucket):
    async def work():
        fs = file_system(endpoint, asynchronous=True)
        session = await fs.set_session()
        try:
            places = [f"{bucket}/{number}" for number in range(200)]
            await asyncio.gather(*[fs._pipe_file(place, place.encode()) for place in places])
            bodies = await asyncio.gather(*[fs._cat_file(place) for place in places])
            assert bodies == [place.encode() for place in places]
            found = await fs._find(bucket)
            assert sorted(found) == sorted(places)
        finally:
            await session.close()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work()).result()


def test_tls_with_a_certificate_of_our_own(tmp_path):
    certificate, key = self_made_certificate(tmp_path)
    body = some_bytes(9 * MIB)
    with serving(tmp_path / "vault", "--cert", certificate, "--key", key) as served:
        fs = file_system(served, client_kwargs={"region_name": "us-east-1", "verify": str(certificate)})
        fs.mkdir("raw")
        fs.pipe_file("raw/k", body, chunksize=5 * MIB)
        assert fs.cat_file("raw/k") == body
        assert fs.cat_file("raw/k", start=-10) == body[-10:]
        stranger = file_system(served, config_kwargs={"retries": {"total_max_attempts": 1}})
        with pytest.raises(OSError, match=r"SSL|certificate|ssl"):
            stranger.ls("raw")
