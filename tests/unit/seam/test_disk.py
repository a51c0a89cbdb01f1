"""What the operating system refuses is told with the path of the file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.seam.disk import FileLock, OsDisk, SyncError, path_of, plain_file, shared_page


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
    fd = os.open("/dev/full", os.O_RDWR)
    with pytest.raises(tv.DiskFullError, match=r"^write to /dev/full: no space is left"):
        disk.pwritev(fd, [b"x"], 0)
    disk.close(fd)


def _socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)


KINDS = {
    "FIFO": os.mkfifo,
    "socket": _socket,
    "device": lambda path: os.symlink("/dev/zero", path),
    "folder": os.mkdir,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writable", [False, True])
def test_what_is_no_file_is_refused_and_not_waited_for(
    kind: str, writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The story: a FIFO in the place of a trail file let `tickvault audit verify` hang for ever."""
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    KINDS[kind]("it")
    expected = "Is a directory" if kind == "folder" and writable else f"it: is a {kind}, and must be a file"
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(tv.StorageError, match=expected):
        OsDisk().open("it", writable=writable)
    for refused in (lambda: shared_page("it", 4096), lambda: FileLock("it"), lambda: plain_file("it", os.O_RDONLY)):
        with pytest.raises(OSError, match=r"must be a file|Is a directory"):
            refused()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_refused_sync_names_the_file() -> None:
    disk = OsDisk()
    read_end, write_end = os.pipe()  # a pipe cannot be synced
    with pytest.raises(SyncError, match="fdatasync of pipe:"):
        disk.sync(write_end)
    os.close(read_end)
    os.close(write_end)


def test_a_descriptor_that_is_closed_is_told_by_its_number() -> None:
    assert path_of(987_654) == "descriptor 987654"
