"""A file's bytes, whatever it is compressed with; what ends early is told."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

import tickvault as tv
from tickvault.market.feeds.source import Source

CONTENT = b"".join(b"%d,%s\n" % (number, os.urandom(8).hex().encode()) for number in range(5_000))


def two_frames(content: bytes) -> bytes:
    compress = zstandard.ZstdCompressor().compress
    return compress(content[:1000]) + compress(content[1000:])


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "two gzip members": lambda content: gzip.compress(content[:1000]) + gzip.compress(content[1000:]),
    "zstd": zstandard.ZstdCompressor().compress,
    "two zstd frames": two_frames,
}


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("size", [100, 4096, 1 << 24])
def test_blocks_are_the_content(tmp_path: Path, packed: str, size: int) -> None:
    """The story: a zstandard file could not be opened at all, by an argument its library did not have."""
    path = tmp_path / "file"
    path.write_bytes(PACKERS[packed](CONTENT))
    (member,) = Source(path).members()
    blocks = list(member.blocks(size))
    assert b"".join(blocks) == CONTENT
    assert max(map(len, blocks)) <= size
    lines = list(member.lines(size))
    assert b"".join(lines) == CONTENT
    assert all(block.endswith(b"\n") for block in lines)
    assert Source(path).head == CONTENT[: 64 * 1024]


def test_a_zip_has_members(tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", CONTENT)
        archive.mkdir("folder")
        archive.writestr("folder/b.csv", b"1\n2")
    source = Source(path)
    assert [(member.name, b"".join(member.blocks(1000))) for member in source.members()] == [
        ("a.csv", CONTENT),
        ("folder/b.csv", b"1\n2"),
    ]
    assert source.head == CONTENT[: 64 * 1024]


@pytest.mark.parametrize("packed", [name for name in PACKERS if name != "plain"])
@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_a_stream_that_ends_early_is_told(tmp_path: Path, packed: str, cut: int) -> None:
    """The zstandard library's reader takes a frame that ends early for a whole one."""
    path = tmp_path / "file"
    path.write_bytes(PACKERS[packed](CONTENT)[:-cut])
    (member,) = Source(path).members()
    read = []
    with pytest.raises(tv.IntegrityError, match="is damaged or cut off"):
        for block in member.blocks():
            read.append(block)
    assert CONTENT.startswith(b"".join(read))
    if cut == 1 and packed != "zstd":
        assert read, "what could be read comes first"


@pytest.mark.parametrize("packed", [name for name in PACKERS if name != "plain"])
def test_garbage_behind_a_stream_is_told(tmp_path: Path, packed: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(PACKERS[packed](CONTENT) + b"garbage")
    (member,) = Source(path).members()
    with pytest.raises(tv.IntegrityError, match="is damaged or cut off"):
        list(member.blocks())


def test_a_damaged_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", CONTENT)
    body = bytearray(path.read_bytes())
    body[100] ^= 1
    path.write_bytes(body)
    with pytest.raises(tv.IntegrityError, match="damaged or cut off"):
        list(next(iter(Source(path).members())).blocks())
    path.write_bytes(body[:-10])
    with pytest.raises(tv.IntegrityError, match="the zip is damaged"):
        list(Source(path).members())
    assert Source(path).head == b""


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(tv.NotFoundError, match="there is no such file"):
        Source(tmp_path / "none")


def test_the_digest_is_of_the_file_as_it_lies_there(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "file"
    path.write_bytes(gzip.compress(CONTENT))
    assert Source(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert Source(path).folders[-1] == tmp_path.name
