"""What the operating system refuses is told with the path of the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.seam.disk import OsDisk, SyncError, path_of


@pytest.mark.parametrize(
    "operation",
    [
        lambda disk, fd: disk.pwritev(fd, [b"x"], 0),
        lambda disk, fd: disk.write_synced(fd, [b"x"], 0),
        lambda disk, fd: disk.write_on_its_way(fd, [b"x"], 0),
        lambda disk, fd: disk.allocate(fd, 0, 4096),
        lambda disk, fd: disk.truncate(fd, 0),
    ],
    ids=["pwritev", "write_synced", "write_on_its_way", "allocate", "truncate"],
)
def test_a_refused_write_names_the_file(operation: Callable[[OsDisk, int], None], tmp_path: Path) -> None:
    """The story: a full disk was reported as "write to descriptor 12", which is the name of no file."""
    path = tmp_path / "00000001.seg"
    path.write_bytes(b"held")
    disk = OsDisk()
    fd = disk.open(os.fspath(path), writable=False)
    with pytest.raises(tv.StorageError) as caught:
        operation(disk, fd)
    assert os.fspath(path) in str(caught.value)
    disk.close(fd)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="NOT TESTED: there is no /dev/full here")
def test_a_full_disk_names_the_file() -> None:
    disk = OsDisk()
    fd = disk.open("/dev/full")
    with pytest.raises(tv.DiskFullError, match=r"^write to /dev/full: no space is left"):
        disk.pwritev(fd, [b"x"], 0)
    disk.close(fd)


def test_a_refused_sync_names_the_file() -> None:
    disk = OsDisk()
    read_end, write_end = os.pipe()  # a pipe cannot be synced
    with pytest.raises(SyncError, match="fdatasync of pipe:"):
        disk.sync(write_end)
    os.close(read_end)
    os.close(write_end)


def test_a_descriptor_that_is_closed_is_told_by_its_number() -> None:
    assert path_of(987_654) == "descriptor 987654"
