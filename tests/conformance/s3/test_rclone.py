"""rclone against a served vault: trees of files, kept the same on both sides and checked by their hashes."""

import json
import time

import pytest
from served_vault import (
    AWKWARD_NAMES,
    MANY_COUNT,
    client,
    fetch,
    files_of,
    fill,
    plain_environment,
    presenting,
    program,
    self_made_certificate,
    serving,
    some_bytes,
    tree_of_files,
)

MIB = 1 << 20


@pytest.fixture(scope="session")
def rclone_for(tmp_path_factory):
    """A function that returns a caller of rclone for a server, whose remote is ``vault:``."""
    executable = program("rclone", "rclone")

    def caller(served, **variables):
        home = tmp_path_factory.mktemp("home")
        environment = plain_environment(
            home,
            RCLONE_CONFIG=str(home / "none.conf"),
            RCLONE_CONFIG_VAULT_TYPE="s3",
            RCLONE_CONFIG_VAULT_PROVIDER="Other",
            RCLONE_CONFIG_VAULT_ENDPOINT=served.url,
            RCLONE_CONFIG_VAULT_ACCESS_KEY_ID=served.access_key,
            RCLONE_CONFIG_VAULT_SECRET_ACCESS_KEY=served.secret_key,
            RCLONE_CONFIG_VAULT_REGION="us-east-1",
            RCLONE_S3_UPLOAD_CUTOFF="8M",
            RCLONE_S3_CHUNK_SIZE="5M",
            RCLONE_S3_COPY_CUTOFF="16M",
            RCLONE_RETRIES="1",
            RCLONE_LOW_LEVEL_RETRIES="1",
            RCLONE_TIMEOUT="60s",
            **variables,
        )

        return client(executable, environment=environment)

    return caller


@pytest.fixture(scope="session")
def rclone(rclone_for, endpoint):
    return rclone_for(endpoint)


@pytest.fixture
def tree(tmp_path):
    return tree_of_files(tmp_path / "tree", 22 * MIB)


def differences(rclone, *arguments, status=0):
    """Run a check; return how many files were found to differ, and how many to match."""
    words = rclone("check", *arguments, status=status).stderr
    counts = {}
    for line in words.splitlines():
        count, _, what = line.rpartition("NOTICE: ")[2].partition(": ")[2].partition(" ")
        if what in ("differences found", "matching files"):
            counts[what] = int(count)
    return counts["differences found"], counts.get("matching files", 0)


def test_sync_and_check_by_hash_and_by_bytes(rclone, s3, bucket, tree, tmp_path):
    rclone("sync", tree, f"vault:{bucket}/t")
    count = len(files_of(tree))
    assert differences(rclone, tree, f"vault:{bucket}/t") == (0, count)
    assert differences(rclone, "--download", tree, f"vault:{bucket}/t") == (0, count)
    large = s3.head_object(Bucket=bucket, Key="t/sub/large.bin")
    assert large["ETag"].endswith('-5"')
    assert "md5chksum" in large["Metadata"]  # its ETag is no MD5 of the whole, so rclone keeps one itself
    assert "mtime" in large["Metadata"]
    assert sorted(rclone("lsf", "-R", "--files-only", f"vault:{bucket}/t").lines) == sorted(files_of(tree))
    rclone("sync", f"vault:{bucket}/t", tmp_path / "down")
    assert files_of(tmp_path / "down") == files_of(tree)
    for name in files_of(tree):
        assert (tmp_path / "down" / name).read_bytes() == (tree / name).read_bytes()
        assert (tmp_path / "down" / name).stat().st_mtime == pytest.approx((tree / name).stat().st_mtime, abs=1e-3)


def test_sync_carries_what_changed_and_nothing_else(rclone, bucket, tree):
    rclone("sync", tree, f"vault:{bucket}")
    assert "There was nothing to transfer" in rclone("sync", "-v", tree, f"vault:{bucket}").stderr
    (tree / "small.csv").write_bytes(b"changed")
    (tree / "sub" / AWKWARD_NAMES[0]).unlink()
    (tree / "new").write_bytes(b"new")
    assert differences(rclone, tree, f"vault:{bucket}", status=1)[0] == 3
    words = rclone("sync", "-v", tree, f"vault:{bucket}").stderr
    assert [words.count(word) for word in (": Copied (new)", ": Copied (replaced existing)", ": Deleted")] == [1, 1, 1]
    assert differences(rclone, tree, f"vault:{bucket}")[0] == 0
    (tree / "sub" / "large.bin").touch()  # only its time is another: a copy onto itself changes that
    words = rclone("sync", "-v", tree, f"vault:{bucket}").stderr
    assert "Updated modification time in destination" in words
    assert "Copied" not in words


def test_copies_and_moves_within_the_server(rclone, s3, bucket, tree):
    rclone("copy", tree, f"vault:{bucket}/a")
    # Beyond the cutoff a copy is one of parts, each of them an UploadPartCopy.
    words = rclone("copy", "-v", f"vault:{bucket}/a", f"vault:{bucket}/b").stderr
    assert words.count("Copied (server-side copy)") == len(files_of(tree))
    assert differences(rclone, tree, f"vault:{bucket}/b") == (0, len(files_of(tree)))
    rclone("moveto", f"vault:{bucket}/b/sub/large.bin", f"vault:{bucket}/b/{AWKWARD_NAMES[3]}")
    sizes = json.loads(rclone("lsjson", "--stat", f"vault:{bucket}/b/{AWKWARD_NAMES[3]}").bytes)
    assert sizes["Size"] == 22 * MIB
    rclone("delete", f"vault:{bucket}/b", "--min-size", "1M")
    rclone("purge", f"vault:{bucket}/a")
    left = sorted(rclone("lsf", "-R", "--files-only", f"vault:{bucket}").lines)
    assert left == sorted(f"b/{name}" for name in files_of(tree) if name != "sub/large.bin")


def test_streams_and_ranges(rclone, s3, bucket):
    body = some_bytes(21 * MIB)
    rclone("rcat", f"vault:{bucket}/stream", stdin=body)
    assert s3.head_object(Bucket=bucket, Key="stream")["ContentLength"] == len(body)
    assert rclone("cat", f"vault:{bucket}/stream").bytes == body
    part = rclone("cat", "--offset", 9 * MIB, "--count", 1000, f"vault:{bucket}/stream").bytes
    assert part == body[9 * MIB : 9 * MIB + 1000]
    assert rclone("cat", "--tail", 10, f"vault:{bucket}/stream").bytes == body[-10:]
    rclone("rcat", f"vault:{bucket}/nothing")
    assert rclone("cat", f"vault:{bucket}/nothing").bytes == b""


def test_many_streams_for_one_file(rclone, bucket, tmp_path):
    body = some_bytes(40 * MIB)
    (tmp_path / "file").write_bytes(body)
    rclone("copyto", tmp_path / "file", f"vault:{bucket}/file", "--s3-upload-concurrency", 8)
    rclone(
        "copy", "--multi-thread-cutoff", "1M", "--multi-thread-streams", 4, f"vault:{bucket}/file", tmp_path / "down"
    )
    assert (tmp_path / "down" / "file").read_bytes() == body


@pytest.mark.parametrize("version", [1, 2])
def test_many_keys(rclone, endpoint, bucket, version):
    keys = [f"day/{number:05}" for number in range(MANY_COUNT)]
    fill(endpoint.path, bucket, [*keys, "other/x"])
    listed = rclone("lsf", "-R", "--files-only", "--s3-list-version", version, f"vault:{bucket}").lines
    assert sorted(listed) == [*keys, "other/x"]
    assert json.loads(rclone("size", "--json", f"vault:{bucket}").bytes)["count"] == MANY_COUNT + 1
    if version == 2:
        # Object by object, and so not all of them.
        rclone("delete", f"vault:{bucket}", "--include", "/day/000*", "--checkers", 16)
        assert len(rclone("lsf", f"vault:{bucket}/day").lines) == MANY_COUNT - 100


def test_versions(rclone, versioned):
    rclone("rcat", f"vault:{versioned}/k.csv", stdin=b"one")
    time.sleep(1.05)  # rclone names versions by their times, which S3 lists in whole seconds
    rclone("rcat", f"vault:{versioned}/k.csv", stdin=b"two!")
    rclone("deletefile", f"vault:{versioned}/k.csv")
    assert rclone("lsf", f"vault:{versioned}").lines == []
    listed = rclone("lsf", "--s3-versions", "--format", "ps", f"vault:{versioned}").lines
    assert sorted(line.rpartition(";")[2] for line in listed) == ["3", "4"]
    oldest = next(line.rpartition(";")[0] for line in listed if line.endswith(";3"))
    assert rclone("cat", "--s3-versions", f"vault:{versioned}/{oldest}").bytes == b"one"


def test_presigned(rclone, bucket):
    name = AWKWARD_NAMES[3]
    rclone("rcat", f"vault:{bucket}/{name}", stdin=b"0123456789")
    (url,) = rclone("link", "--expire", "1m", f"vault:{bucket}/{name}").lines
    assert "X-Amz-Signature" in url
    assert fetch(url).body == b"0123456789"
    assert fetch(url, Range="bytes=2-3").body == b"23"


def test_metadata_and_headers(rclone, s3, bucket, tmp_path):
    (tmp_path / "page.html").write_bytes(b"<p>")
    headers = ["--header-upload", "Cache-Control: no-cache", "--header-upload", "Content-Language: en"]
    rclone("copy", *headers, tmp_path / "page.html", f"vault:{bucket}", "--s3-storage-class", "STANDARD_IA")
    head = s3.head_object(Bucket=bucket, Key="page.html")
    assert (head["ContentType"], head["CacheControl"], head["ContentLanguage"]) == (
        "text/html; charset=utf-8",
        "no-cache",
        "en",
    )
    assert head["StorageClass"] == "STANDARD_IA"
    shown = json.loads(rclone("lsjson", "-M", f"vault:{bucket}").bytes)[0]
    assert shown["MimeType"] == "text/html; charset=utf-8"


def test_buckets(rclone, bucket):
    other = f"{bucket}-other"
    rclone("mkdir", f"vault:{other}")
    assert {f"{bucket}/", f"{other}/"} <= set(rclone("lsf", "vault:").lines)
    rclone("rcat", f"vault:{other}/k", stdin=b"x")
    rclone("rmdir", f"vault:{other}", status=1)
    rclone("purge", f"vault:{other}")
    assert f"{other}/" not in rclone("lsf", "vault:").lines


def test_unfinished_uploads(rclone, s3, bucket):
    s3.create_multipart_upload(Bucket=bucket, Key="k")
    listed = json.loads(rclone("backend", "list-multipart-uploads", f"vault:{bucket}").bytes)
    assert [upload["Key"] for upload in listed[bucket]] == ["k"]
    rclone("backend", "cleanup", "-o", "max-age=0s", f"vault:{bucket}")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_wrong_credentials(rclone_for, endpoint, bucket):
    stranger = presenting(endpoint, access_key="AKIANOBODY")
    assert "InvalidAccessKeyId" in rclone_for(stranger)("lsf", f"vault:{bucket}", status=1).stderr
    liar = presenting(endpoint, secret_key="wrong")
    assert "SignatureDoesNotMatch" in rclone_for(liar)("lsf", f"vault:{bucket}", status=1).stderr


def test_tls_with_a_certificate_of_our_own(rclone_for, tree, tmp_path):
    certificate, key = self_made_certificate(tmp_path)
    with serving(tmp_path / "vault", "--cert", certificate, "--key", key) as served:
        assert "certificate" in rclone_for(served)("lsf", "vault:", status=1).stderr
        rclone = rclone_for(served, RCLONE_CA_CERT=str(certificate))
        rclone("copy", tree, "vault:raw")
        assert differences(rclone, tree, "vault:raw") == (0, len(files_of(tree)))


def test_buckets_as_host_names(rclone_for, tree, tmp_path):
    """The names are not in any DNS: the server itself stands in as the proxy that a client leaves them to."""
    with serving(tmp_path / "vault", "--domain", "s3.vault.test") as served:
        named = presenting(served, url="http://s3.vault.test")
        rclone = rclone_for(named, HTTP_PROXY=served.url, RCLONE_S3_FORCE_PATH_STYLE="false")
        rclone("copy", tree, "vault:raw")
        assert differences(rclone, tree, "vault:raw") == (0, len(files_of(tree)))
        assert rclone("lsf", "vault:").lines == ["raw/"]
