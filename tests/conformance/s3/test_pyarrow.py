"""pyarrow's S3FileSystem (the C++ SDK of AWS) against a served vault: files, folders and Parquet data sets."""

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as pafs
from served_vault import AWKWARD_NAMES, MANY_COUNT, fill, self_made_certificate, serving, some_bytes

MIB = 1 << 20


def file_system(served, **options):
    scheme, _, place = served.url.partition("://")
    return pafs.S3FileSystem(
        **{
            "access_key": served.access_key,
            "secret_key": served.secret_key,
            "endpoint_override": place,
            "scheme": scheme,
            "region": "us-east-1",
            "allow_bucket_creation": True,
            "allow_bucket_deletion": True,
            "request_timeout": 30,
            "connect_timeout": 10,
            **options,
        }
    )


@pytest.fixture(scope="session")
def s3fs(endpoint):
    return file_system(endpoint)


def trades(count):
    random = np.random.default_rng(7)
    return pa.table(
        {
            "ts_event": pa.array(np.arange(count) * 1_000_000, pa.timestamp("ns")),
            "instrument_id": pa.array(random.integers(0, 4, count), pa.int32()),
            "price": pa.array(random.integers(10**9, 2 * 10**9, count)),
            "size": pa.array(random.integers(1, 100, count), pa.int32()),
            "venue": pa.array(np.where(np.arange(count) % 2, "XCME", "XEUR")),
        }
    )


def selected(file_system, place, **options):
    return {item.path: item for item in file_system.get_file_info(pafs.FileSelector(place, **options))}


@pytest.mark.parametrize("size", [0, 5, 31 * MIB])
@pytest.mark.parametrize("background", [True, False])
def test_bytes_go_up_and_come_down(endpoint, s3, bucket, size, background):
    file_system_ = file_system(endpoint, background_writes=background)
    body = some_bytes(size)
    with file_system_.open_output_stream(f"{bucket}/k") as stream:
        for start in range(0, size, 3 * MIB):
            stream.write(body[start : start + 3 * MIB])
    with file_system_.open_input_stream(f"{bucket}/k") as stream:
        assert stream.read() == body
    info = file_system_.get_file_info(f"{bucket}/k")
    assert (info.type, info.size) == (pafs.FileType.File, size)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == size


def test_reading_here_and_there(s3fs, bucket):
    body = some_bytes(12 * MIB)
    with s3fs.open_output_stream(f"{bucket}/k") as stream:
        stream.write(body)
    with s3fs.open_input_file(f"{bucket}/k") as file:
        assert file.size() == len(body)
        for start in (0, 11 * MIB, 17, 12 * MIB - 3):
            assert file.read_at(1000, start) == body[start : start + 1000]
        file.seek(5 * MIB)
        assert file.read(10) == body[5 * MIB : 5 * MIB + 10]
        assert file.tell() == 5 * MIB + 10
    with pytest.raises(FileNotFoundError):
        s3fs.open_input_file(f"{bucket}/none")


def test_metadata(endpoint, s3, bucket):
    file_system_ = file_system(endpoint, default_metadata={"Content-Type": "text/csv"})
    metadata = {"Cache-Control": "no-cache", "Content-Language": "en"}
    with file_system_.open_output_stream(f"{bucket}/k", metadata=metadata) as stream:
        stream.write(b"x")
    with file_system_.open_output_stream(f"{bucket}/default") as stream:
        stream.write(b"x")
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["CacheControl"], head["ContentLanguage"]) == ("no-cache", "en")
    assert s3.head_object(Bucket=bucket, Key="default")["ContentType"] == "text/csv"
    with file_system_.open_input_stream(f"{bucket}/k") as stream:
        assert stream.metadata()["Cache-Control"] == b"no-cache"


def test_a_partitioned_data_set(s3fs, bucket):
    table = trades(200_000)
    ds.write_dataset(
        table,
        f"{bucket}/trades",
        filesystem=s3fs,
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("venue", pa.string())]), flavor="hive"),
        max_rows_per_file=40_000,
        max_rows_per_group=10_000,
    )
    found = selected(s3fs, f"{bucket}/trades", recursive=True)
    files = [path for path, item in found.items() if item.type == pafs.FileType.File]
    assert len(files) == 6
    assert found[f"{bucket}/trades/venue=XCME"].type == pafs.FileType.Directory
    data = ds.dataset(f"{bucket}/trades", filesystem=s3fs, partitioning="hive")
    assert data.count_rows() == 200_000
    some = data.to_table(columns=["price", "ts_event"], filter=(ds.field("venue") == "XCME") & (ds.field("size") > 90))
    size = table["size"].to_numpy()
    expected = table["price"].to_numpy()[(np.arange(200_000) % 2 == 1) & (size > 90)]
    assert sorted(some["price"].to_pylist()) == sorted(expected.tolist())
    assert some.column_names == ["price", "ts_event"]


def test_one_parquet_file(s3fs, bucket):
    table = trades(1_000_000)  # more than one part
    pq.write_table(table, f"{bucket}/trades.parquet", filesystem=s3fs, compression="none", use_dictionary=False)
    assert s3fs.get_file_info(f"{bucket}/trades.parquet").size > 20 * MIB
    back = pq.read_table(f"{bucket}/trades.parquet", filesystem=s3fs, columns=["instrument_id", "price"])
    assert back == table.select(["instrument_id", "price"])
    file = pq.ParquetFile(f"{bucket}/trades.parquet", filesystem=s3fs, pre_buffer=True)
    assert file.read_row_group(0, columns=["size"])["size"][5] == table["size"][5]


def test_folders(s3fs, bucket):
    s3fs.create_dir(f"{bucket}/a/b/c", recursive=True)
    assert s3fs.get_file_info(f"{bucket}/a/b").type == pafs.FileType.Directory
    for place in ("a/x", "a/b/y", "a/b/c/z", "ab"):
        with s3fs.open_output_stream(f"{bucket}/{place}") as stream:
            stream.write(place.encode())
    assert sorted(selected(s3fs, f"{bucket}/a")) == [f"{bucket}/a/b", f"{bucket}/a/x"]
    assert sorted(selected(s3fs, f"{bucket}/a", recursive=True)) == [
        f"{bucket}/a/b",
        f"{bucket}/a/b/c",
        f"{bucket}/a/b/c/z",
        f"{bucket}/a/b/y",
        f"{bucket}/a/x",
    ]
    s3fs.delete_dir_contents(f"{bucket}/a/b/c")
    assert s3fs.get_file_info(f"{bucket}/a/b/c/z").type == pafs.FileType.NotFound
    assert s3fs.get_file_info(f"{bucket}/a/b/c").type == pafs.FileType.Directory
    s3fs.delete_dir(f"{bucket}/a")
    assert list(selected(s3fs, bucket, recursive=True)) == [f"{bucket}/ab"]
    s3fs.delete_file(f"{bucket}/ab")
    assert s3fs.get_file_info(f"{bucket}/ab").type == pafs.FileType.NotFound
    assert selected(s3fs, f"{bucket}/none", allow_not_found=True) == {}
    with pytest.raises(FileNotFoundError):
        selected(s3fs, f"{bucket}/none")


def test_buckets(s3fs, bucket):
    other = f"{bucket}-other"
    s3fs.create_dir(other)
    assert selected(s3fs, "")[other].type == pafs.FileType.Directory
    with s3fs.open_output_stream(f"{other}/x/y") as stream:
        stream.write(b"x")
    s3fs.delete_dir(other)
    assert s3fs.get_file_info(other).type == pafs.FileType.NotFound


def test_copies_and_moves(s3fs, bucket):
    body = some_bytes(11 * MIB)
    with s3fs.open_output_stream(f"{bucket}/a") as stream:
        stream.write(body)
    s3fs.copy_file(f"{bucket}/a", f"{bucket}/b")
    s3fs.move(f"{bucket}/b", f"{bucket}/folder/c")
    assert s3fs.get_file_info(f"{bucket}/b").type == pafs.FileType.NotFound
    with s3fs.open_input_stream(f"{bucket}/folder/c") as stream:
        assert stream.read() == body
    with pytest.raises(OSError, match="none"):
        s3fs.copy_file(f"{bucket}/none", f"{bucket}/d")


def test_many_keys(s3fs, endpoint, bucket):
    keys = [f"day/{number:05}" for number in range(MANY_COUNT)]
    fill(endpoint.path, bucket, [*keys, "other/x"])
    assert sorted(selected(s3fs, f"{bucket}/day")) == [f"{bucket}/{key}" for key in keys]
    assert len(selected(s3fs, bucket, recursive=True)) == MANY_COUNT + 3  # the keys and two folders
    s3fs.delete_dir_contents(f"{bucket}/day")
    assert [path for path in selected(s3fs, bucket, recursive=True) if "/day/" in path] == []


def test_awkward_names(s3fs, bucket):
    for name in AWKWARD_NAMES:
        with s3fs.open_output_stream(f"{bucket}/{name}/{name}") as stream:
            stream.write(name.encode())
    found = selected(s3fs, bucket, recursive=True)
    assert sorted(path for path, item in found.items() if item.is_file) == sorted(
        f"{bucket}/{name}/{name}" for name in AWKWARD_NAMES
    )
    for name in AWKWARD_NAMES:
        s3fs.copy_file(f"{bucket}/{name}/{name}", f"{bucket}/copy of {name}")
        with s3fs.open_input_stream(f"{bucket}/copy of {name}") as stream:
            assert stream.read() == name.encode()
        s3fs.delete_dir(f"{bucket}/{name}")
    assert sorted(selected(s3fs, bucket, recursive=True)) == sorted(
        f"{bucket}/copy of {name}" for name in AWKWARD_NAMES
    )


def test_wrong_credentials(endpoint, bucket):
    with pytest.raises(OSError, match=r"ACCESS_DENIED|SignatureDoesNotMatch|403"):
        file_system(endpoint, secret_key="wrong").get_file_info(f"{bucket}/k")


def test_checksum_settings(endpoint, s3, bucket, monkeypatch):
    for setting in ("when_supported", "when_required"):
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", setting)
        monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", setting)
        file_system_ = file_system(endpoint)
        body = some_bytes(11 * MIB)
        with file_system_.open_output_stream(f"{bucket}/{setting}") as stream:
            stream.write(body)
        with file_system_.open_input_stream(f"{bucket}/{setting}") as stream:
            assert stream.read() == body


def test_tls_with_a_certificate_of_our_own(tmp_path):
    certificate, key = self_made_certificate(tmp_path)
    table = trades(10_000)
    with serving(tmp_path / "vault", "--cert", certificate, "--key", key) as served:
        file_system_ = file_system(served, tls_ca_file_path=str(certificate))
        file_system_.create_dir("raw")
        pq.write_table(table, "raw/trades.parquet", filesystem=file_system_)
        assert pq.read_table("raw/trades.parquet", filesystem=file_system_) == table
        with pytest.raises(OSError, match=r"(?i)ssl|certificate|curlCode: 60"):
            file_system(served, retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=1)).get_file_info("raw/k")


def test_buckets_as_host_names(tmp_path):
    """The names are not in any DNS: the server itself stands in as the proxy that a client leaves them to."""
    body = some_bytes(11 * MIB)
    with serving(tmp_path / "vault", "--domain", "s3.vault.test") as served:
        file_system_ = file_system(
            served,
            endpoint_override="s3.vault.test",
            force_virtual_addressing=True,
            proxy_options={"scheme": "http", "host": served.host, "port": served.port},
        )
        file_system_.create_dir("raw")
        for name in ("plain", AWKWARD_NAMES[0], AWKWARD_NAMES[3]):
            with file_system_.open_output_stream(f"raw/{name}") as stream:
                stream.write(body)
            with file_system_.open_input_stream(f"raw/{name}") as stream:
                assert stream.read() == body
        assert len(selected(file_system_, "raw")) == 3
