"""ListObjects, ListObjectsV2 and ListBuckets with boto3: order, pages, prefixes, encodings."""

import pytest

KEYS = ["a", "b/1", "b/2", "b/c/3", "d", "e/4", "f", "ä", "😀"]


@pytest.fixture
def filled(s3, bucket):
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def keys_of(page):
    return [item["Key"] for item in page.get("Contents", [])]


def prefixes_of(page):
    return [item["Prefix"] for item in page.get("CommonPrefixes", [])]


def test_order_is_that_of_the_bytes(s3, filled):
    for call in (s3.list_objects, s3.list_objects_v2):
        page = call(Bucket=filled)
        assert keys_of(page) == sorted(KEYS, key=str.encode)
        assert page["IsTruncated"] is False
        assert page["Name"] == filled
        assert {item["StorageClass"] for item in page["Contents"]} == {"STANDARD"}
        assert {item["Key"]: item["Size"] for item in page["Contents"]} == {key: len(key.encode()) for key in KEYS}


def test_times_and_etags_are_those_of_the_object(s3, filled):
    head = s3.head_object(Bucket=filled, Key="a")
    (item,) = s3.list_objects_v2(Bucket=filled, Prefix="a")["Contents"]
    assert (item["ETag"], item["LastModified"]) == (head["ETag"], head["LastModified"])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 9, 1000])
def test_pages_of_the_second_version(s3, filled, size):
    found, token = [], {}
    while True:
        page = s3.list_objects_v2(Bucket=filled, MaxKeys=size, **token)
        assert page["KeyCount"] == len(page["Contents"]) <= size
        assert page["MaxKeys"] == size
        found += keys_of(page)
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert found == sorted(KEYS, key=str.encode)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize("delimiter", ["/", ""])
def test_pages_of_the_first_version(s3, filled, size, delimiter):
    found, marker = [], ""
    while True:
        page = s3.list_objects(Bucket=filled, MaxKeys=size, Marker=marker, Delimiter=delimiter)
        found += keys_of(page) + prefixes_of(page)
        if not page["IsTruncated"]:
            break
        assert ("NextMarker" in page) == bool(delimiter)
        marker = page["NextMarker"] if delimiter else page["Contents"][-1]["Key"]
    expected = ["a", "b/", "d", "e/", "f", "ä", "😀"] if delimiter else KEYS
    assert sorted(found) == sorted(expected)
    assert len(found) == len(expected)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_with_a_delimiter(s3, filled, size):
    found, token = [], {}
    while True:
        page = s3.list_objects_v2(Bucket=filled, MaxKeys=size, Delimiter="/", **token)
        assert page["KeyCount"] == len(keys_of(page)) + len(prefixes_of(page)) <= size
        found += keys_of(page) + prefixes_of(page)
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert found and sorted(found) == sorted(["a", "b/", "d", "e/", "f", "ä", "😀"])


@pytest.mark.parametrize(
    ("options", "keys", "prefixes"),
    [
        ({"Prefix": "b/"}, ["b/1", "b/2", "b/c/3"], []),
        ({"Prefix": "b/", "Delimiter": "/"}, ["b/1", "b/2"], ["b/c/"]),
        ({"Prefix": "b", "Delimiter": "/"}, [], ["b/"]),
        ({"Prefix": "zzz"}, [], []),
        ({"Delimiter": "c/"}, ["a", "b/1", "b/2", "d", "e/4", "f", "ä", "😀"], ["b/c/"]),
        ({"StartAfter": "d"}, ["e/4", "f", "ä", "😀"], []),
        ({"StartAfter": "b/", "Delimiter": "/"}, ["d", "f", "ä", "😀", "a"][:4], ["e/"]),
        ({"StartAfter": "b/1", "Prefix": "b/"}, ["b/2", "b/c/3"], []),
        ({"StartAfter": "zzz", "Prefix": "b/"}, [], []),
        ({"MaxKeys": 0}, [], []),
    ],
)
def test_prefix_delimiter_and_start(s3, filled, options, keys, prefixes):
    page = s3.list_objects_v2(Bucket=filled, **options)
    assert (keys_of(page), prefixes_of(page)) == (keys, prefixes)
    assert page["IsTruncated"] is False
    for name in ("Prefix", "Delimiter", "StartAfter"):
        if name in options:
            assert page[name] == options[name]


def test_the_owner_is_told_when_asked_for(s3, filled):
    assert "Owner" not in s3.list_objects_v2(Bucket=filled)["Contents"][0]
    owner = s3.list_objects_v2(Bucket=filled, FetchOwner=True)["Contents"][0]["Owner"]
    assert owner["ID"] == s3.list_buckets()["Owner"]["ID"]
    assert s3.list_objects(Bucket=filled)["Contents"][0]["Owner"] == owner


def test_keys_that_xml_cannot_hold_come_back_url_encoded(s3, bucket):
    keys = ["a\x01b", "a\rb", "c d+e%20", "\x7f"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for call in (s3.list_objects, s3.list_objects_v2):
        page = call(Bucket=bucket, EncodingType="url")
        assert page["EncodingType"] == "url"
        assert [item["Key"] for item in page["Contents"]] == ["a%01b", "a%0Db", "c%20d%2Be%2520", "%7F"]
        assert sorted(keys_of(call(Bucket=bucket))) == sorted(keys)


def test_wrong_parameters(s3, filled, refused):
    assert refused(s3.list_objects_v2, Bucket=filled, ContinuationToken="nonsense") == (
        400,
        "InvalidArgument",
    )
    assert refused(s3.list_objects_v2, Bucket=filled, ContinuationToken="é") == (400, "InvalidArgument")
    assert refused(s3.list_objects_v2, Bucket=filled, MaxKeys=-1) == (400, "InvalidArgument")
    assert refused(s3.list_objects, Bucket=filled, EncodingType="base64") == (400, "InvalidArgument")
    assert refused(s3.list_objects_v2, Bucket="no-such-bucket") == (404, "NoSuchBucket")
    assert s3.list_objects_v2(Bucket=filled, MaxKeys=5000)["MaxKeys"] == 1000


def test_more_than_one_full_page(s3, endpoint, bucket):
    import concurrent.futures

    keys = [f"{n:05}" for n in range(2345)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [page["KeyCount"] for page in pages] == [1000, 1000, 345]
    assert [key for page in pages for key in keys_of(page)] == keys


def test_buckets(s3, bucket):
    names = [item["Name"] for item in s3.list_buckets()["Buckets"]]
    assert bucket in names
    assert names == sorted(names)
    first = s3.list_buckets(MaxBuckets=1, Prefix=bucket[:4])
    assert len(first["Buckets"]) == 1
    found = [
        item["Name"]
        for page in s3.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 1})
        for item in page["Buckets"]
    ]
    assert found == names
    assert s3.list_buckets(Prefix=bucket)["Buckets"][0]["Name"] == bucket
    assert s3.list_buckets(BucketRegion="mars-1")["Buckets"] == []
