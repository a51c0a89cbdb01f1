"""obstore (Rust's object_store) against a served vault: its whole interface, and the asynchronous half of it."""

import asyncio
import datetime
import io

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError, NotModifiedError, PreconditionError
from obstore.store import S3Store
from served_vault import AWKWARD_NAMES, MANY_COUNT, fetch, fill, some_bytes

MIB = 1 << 20


def store_for(served, bucket, **options):
    return S3Store(
        bucket,
        **{
            "endpoint": served.url,
            "access_key_id": served.access_key,
            "secret_access_key": served.secret_key,
            "region": "us-east-1",
            "virtual_hosted_style_request": False,
            "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 0, "retry_timeout": datetime.timedelta(seconds=30)},
            **options,
        },
    )


@pytest.fixture
def store(endpoint, bucket):
    return store_for(endpoint, bucket)


def names(listing):
    return [item["path"] for batch in listing for item in batch]


@pytest.mark.parametrize("size", [0, 5, 25 * MIB])
def test_bytes_go_up_and_come_down(store, s3, bucket, size):
    body = some_bytes(size)
    put = obstore.put(store, "k", body, chunk_size=5 * MIB, use_multipart=size > 5 * MIB)
    got = obstore.get(store, "k")
    assert bytes(got.bytes()) == body
    assert got.meta["size"] == size
    assert got.meta["e_tag"] == put["e_tag"]
    head = obstore.head(store, "k")
    assert (head["size"], head["e_tag"], head["path"]) == (size, put["e_tag"], "k")
    assert put["e_tag"].endswith('-5"') == (size == 25 * MIB)


def test_uploads_from_other_sources(store, tmp_path):
    body = some_bytes(12 * MIB)
    (tmp_path / "file").write_bytes(body)
    obstore.put(store, "path", tmp_path / "file", chunk_size=5 * MIB)
    obstore.put(store, "file", io.BytesIO(body), chunk_size=5 * MIB, max_concurrency=3)
    obstore.put(store, "pieces", (body[start : start + MIB] for start in range(0, 12 * MIB, MIB)), chunk_size=5 * MIB)
    for key in ("path", "file", "pieces"):
        assert bytes(obstore.get(store, key).bytes()) == body
        streamed = b"".join(bytes(piece) for piece in obstore.get(store, key).stream(min_chunk_size=MIB))
        assert streamed == body


def test_ranges(store):
    body = some_bytes(6 * MIB)
    obstore.put(store, "k", body, use_multipart=False)
    assert bytes(obstore.get_range(store, "k", start=10, end=20)) == body[10:20]
    assert bytes(obstore.get_range(store, "k", start=5 * MIB, length=7)) == body[5 * MIB : 5 * MIB + 7]
    starts = [0, 100, 3 * MIB, 6 * MIB - 9]
    ranges = obstore.get_ranges(store, "k", starts=starts, lengths=[9] * 4)
    assert [bytes(piece) for piece in ranges] == [body[start : start + 9] for start in starts]
    assert bytes(obstore.get(store, "k", options={"range": {"offset": 6 * MIB - 4}}).bytes()) == body[-4:]
    assert bytes(obstore.get(store, "k", options={"range": {"suffix": 3}}).bytes()) == body[-3:]
    assert bytes(obstore.get_range(store, "k", start=6 * MIB - 2, end=7 * MIB)) == body[-2:]
    with pytest.raises(BaseError):
        obstore.get_range(store, "k", start=6 * MIB, end=6 * MIB + 1)


def test_files(store, tmp_path):
    body = some_bytes(MIB + 17)
    with obstore.open_writer(store, "k", buffer_size=5 * MIB, attributes={"Content-Type": "text/csv"}) as file:
        for start in range(0, len(body), 100_000):
            file.write(body[start : start + 100_000])
    file = obstore.open_reader(store, "k", buffer_size=64 * 1024)
    file.seek(MIB)
    assert bytes(file.read(20)) == body[MIB : MIB + 20]
    file.seek(0)
    assert bytes(file.read()) == body
    assert obstore.get(store, "k").attributes["Content-Type"] == "text/csv"


def test_a_writer_of_many_parts(store):
    body = some_bytes(17 * MIB)
    with obstore.open_writer(store, "k", buffer_size=5 * MIB, max_concurrency=4) as file:
        for start in range(0, len(body), 3 * MIB):
            file.write(body[start : start + 3 * MIB])
    assert bytes(obstore.get(store, "k").bytes()) == body


def test_conditional_writes(store):
    first = obstore.put(store, "k", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "k", b"other", mode="create")
    second = obstore.put(store, "k", b"second", mode={"e_tag": first["e_tag"]})
    with pytest.raises(PreconditionError):
        obstore.put(store, "k", b"third", mode={"e_tag": first["e_tag"]})
    assert bytes(obstore.get(store, "k").bytes()) == b"second"
    with pytest.raises(BaseError):
        obstore.put(store, "none", b"x", mode={"e_tag": second["e_tag"]})


def test_conditional_reads(store):
    etag = obstore.put(store, "k", b"body")["e_tag"]
    assert bytes(obstore.get(store, "k", options={"if_match": etag}).bytes()) == b"body"
    with pytest.raises(PreconditionError):
        obstore.get(store, "k", options={"if_match": '"other"'})
    with pytest.raises(NotModifiedError):
        obstore.get(store, "k", options={"if_none_match": etag})
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    with pytest.raises(NotModifiedError):
        obstore.get(store, "k", options={"if_modified_since": later})
    with pytest.raises(PreconditionError):
        obstore.get(store, "k", options={"if_unmodified_since": later - datetime.timedelta(days=1)})
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "none")
    with pytest.raises(FileNotFoundError):
        obstore.head(store, "none")


def test_attributes_and_tags(store, s3, bucket):
    attributes = {
        "Content-Type": "text/csv",
        "Cache-Control": "no-cache",
        "Content-Disposition": "inline",
        "Content-Language": "en",
        "venue": "XCME",
    }
    for key, options in (("small", {}), ("parts", {"use_multipart": True, "chunk_size": 5 * MIB})):
        body = bytes(10 if key == "small" else 6 * MIB)
        obstore.put(store, key, body, attributes=attributes, tags={"desk": "rates", "note": "a b+c"}, **options)
        assert dict(obstore.get(store, key).attributes) == attributes
        tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"desk": "rates", "note": "a b+c"}


def test_copies_and_moves(store):
    obstore.put(store, "a", b"body", attributes={"Content-Type": "text/csv"})
    obstore.copy(store, "a", "b")
    assert obstore.get(store, "b").attributes["Content-Type"] == "text/csv"
    obstore.rename(store, "b", "c")
    with pytest.raises(FileNotFoundError):
        obstore.head(store, "b")
    assert bytes(obstore.get(store, "c").bytes()) == b"body"
    with pytest.raises(FileNotFoundError):
        obstore.copy(store, "none", "d")


def test_copies_that_overwrite_nothing(endpoint, bucket):
    store = store_for(endpoint, bucket, config={"copy_if_not_exists": "multipart"})
    for key in ("a", "b"):
        obstore.put(store, key, key.encode())
    obstore.copy(store, "a", "c", overwrite=False)
    assert bytes(obstore.get(store, "c").bytes()) == b"a"
    with pytest.raises(AlreadyExistsError):
        obstore.copy(store, "a", "b", overwrite=False)
    assert bytes(obstore.get(store, "b").bytes()) == b"b"


def test_deletes(store):
    for number in range(50):
        obstore.put(store, f"k/{number}", b"")
    obstore.delete(store, "k/0")
    with pytest.raises(FileNotFoundError):
        obstore.head(store, "k/0")
    obstore.delete(store, [f"k/{number}" for number in range(1, 40)])
    assert len(names(obstore.list(store, "k"))) == 10
    obstore.delete(store, "never there")


def test_listings(store, endpoint, bucket):
    keys = [f"day/{number:05}" for number in range(MANY_COUNT)]
    fill(endpoint.path, bucket, [*keys, "other/x", "top"])
    assert names(obstore.list(store)) == [*keys, "other/x", "top"]
    assert names(obstore.list(store, "day")) == keys
    assert names(obstore.list(store, "day", offset="day/10400")) == keys[10_401:]
    page = obstore.list_with_delimiter(store)
    assert list(page["common_prefixes"]) == ["day", "other"]
    assert [item["path"] for item in page["objects"]] == ["top"]
    assert len(obstore.list_with_delimiter(store, "day")["objects"]) == MANY_COUNT
    obstore.delete(store, keys)
    assert names(obstore.list(store)) == ["other/x", "top"]


def test_awkward_names(store):
    for name in AWKWARD_NAMES:
        obstore.put(store, f"{name}/{name}", name.encode())
    assert names(obstore.list(store)) == sorted((f"{name}/{name}" for name in AWKWARD_NAMES), key=str.encode)
    for name in AWKWARD_NAMES:
        key = f"{name}/{name}"
        assert bytes(obstore.get(store, key).bytes()) == name.encode()
        assert names(obstore.list(store, name)) == [key]
        obstore.copy(store, key, f"copy of {name}")
        assert bytes(obstore.get(store, f"copy of {name}").bytes()) == name.encode()
    obstore.delete(store, names(obstore.list(store)))
    assert names(obstore.list(store)) == []


def test_presigned(store):
    hour = datetime.timedelta(hours=1)
    for key in ("plain", AWKWARD_NAMES[2], AWKWARD_NAMES[3]):
        assert fetch(obstore.sign(store, "PUT", key, hour), "PUT", b"0123456789").status == 200
        url = obstore.sign(store, "GET", key, hour)
        assert fetch(url).body == b"0123456789"
        assert fetch(url, Range="bytes=-2").body == b"89"
        assert fetch(obstore.sign(store, "HEAD", key, hour), "HEAD").headers["content-length"] == "10"
        assert fetch(obstore.sign(store, "DELETE", key, hour), "DELETE").status == 204
        assert fetch(url).status == 404


@pytest.mark.parametrize(
    "settings",
    [
        {"checksum_algorithm": "sha256"},
        {"unsigned_payload": "true"},
        {"s3_express": "false", "disable_tagging": "true"},
    ],
)
def test_settings(endpoint, bucket, settings):
    store = store_for(endpoint, bucket, config=settings)
    body = some_bytes(11 * MIB)
    for key, content in (("small", b"small"), ("large", body)):
        obstore.put(store, key, content, chunk_size=5 * MIB)
        assert bytes(obstore.get(store, key).bytes()) == content


def test_the_asynchronous_half(store):
    async def work():
        body = some_bytes(12 * MIB)
        await obstore.put_async(store, "large", body, chunk_size=5 * MIB)
        assert bytes(await obstore.get_range_async(store, "large", start=5, end=9)) == body[5:9]
        got = await obstore.get_async(store, "large")
        assert b"".join([bytes(piece) async for piece in got.stream()]) == body
        keys = [f"many/{number:03}" for number in range(300)]
        await asyncio.gather(*[obstore.put_async(store, key, key.encode()) for key in keys])
        answers = await asyncio.gather(*[obstore.get_async(store, key) for key in keys])
        assert [bytes(await answer.bytes_async()) for answer in answers] == [key.encode() for key in keys]
        assert [item["path"] async for batch in obstore.list(store, "many") for item in batch] == keys
        race = [obstore.put_async(store, "race", b"%d" % number, mode="create") for number in range(20)]
        outcomes = await asyncio.gather(*race, return_exceptions=True)
        won = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
        assert len(won) == 1
        got = await obstore.get_async(store, "race")
        assert bytes(await got.bytes_async()) == b"%d" % won[0]
        await obstore.rename_async(store, "race", "settled")
        await obstore.copy_async(store, "settled", "copy")
        await obstore.delete_async(store, [*keys, "copy"])
        assert [item["path"] async for batch in obstore.list(store) for item in batch] == ["large", "settled"]

    asyncio.run(work())


def test_wrong_credentials(endpoint, bucket):
    with pytest.raises(BaseError, match=r"SignatureDoesNotMatch|InvalidAccessKeyId|403"):
        obstore.put(store_for(endpoint, bucket, secret_access_key="wrong"), "k", b"x")
    with pytest.raises(BaseError, match=r"InvalidAccessKeyId|403"):
        obstore.list_with_delimiter(store_for(endpoint, bucket, access_key_id="AKIANOBODY"))
