"""What a command says while another process holds the commit lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv
from tickvault.cli.statuses import EXIT_INTERRUPTED
from tickvault.cli.waiting import Holder, blocker_of, holder_of, sentence
from tickvault.seam.disk import FileLock

Type = Callable[..., Any]
Start = Callable[..., "subprocess.Popen[bytes]"]

_HOLDER = """
import sys, tickvault as tv
vault = tv.open("data")
lock = vault.store.engine.index.recent.begin(write=True)
print("held", flush=True)
sys.stdin.readline()
lock.abort()
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(raw: Type) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the commit lock of ./data until it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.communicate()


def notice(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    return process.stderr.readline().decode()


@pytest.mark.parametrize("line", ["bucket create two", "put - raw/a", "rm raw/a"])
def test_a_command_says_whom_it_waits_for(raw: Type, start: Start, line: str, request: Any) -> None:
    """The story: while another process held the commit lock, a command waited for ever and without a word."""
    raw("put", "-", "raw/a", stdin=b"x")
    holder = request.getfixturevalue("holder")
    process = start(*line.split(), stdin=subprocess.DEVNULL)
    words = notice(process)
    assert words.startswith(f"waiting: process {holder.pid} (")
    assert "commit lock" in words
    assert "stopped" not in words
    print(file=holder.stdin, flush=True)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert b"waiting" not in stderr, "said twice"


def test_ctrl_c_ends_the_wait_for_a_stopped_process(raw: Type, start: Start, holder: subprocess.Popen[str]) -> None:
    """The story: a command that waited for the lock did not even answer Ctrl-C, since it was stuck in a system call."""
    holder.send_signal(signal.SIGSTOP)
    process = start("bucket", "create", "two")
    assert f"is stopped (kill -CONT {holder.pid} continues it)" in notice(process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (EXIT_INTERRUPTED, b"")
    holder.send_signal(signal.SIGCONT)
    print(file=holder.stdin, flush=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "released\n"
    assert raw("ls").stdout == "raw\n"


def test_a_command_says_that_another_is_opening_the_vault(raw: Type, start: Start, folder: Path) -> None:
    lock = FileLock(os.path.join(folder, "data", "open.lock"))
    lock.acquire()
    process = start("ls")
    words = notice(process)
    lock.release()
    assert words.startswith(f"waiting: process {os.getpid()} (")
    assert "is opening or closing the vault" in words
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (0, b"raw\n", b"")


def test_demo_says_that_another_is_opening_the_vault(raw: Type, start: Start, folder: Path) -> None:
    """The story: every command but demo said whom it waited for."""
    lock = FileLock(os.path.join(folder, "data", "open.lock"))
    lock.acquire()
    process = start("demo", "--no-serve")
    words = notice(process)
    lock.release()
    assert words.startswith(f"waiting: process {os.getpid()} (")
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert b"waiting" not in stderr


def test_who_waits_for_nobody_has_no_blocker() -> None:
    assert blocker_of(os.getpid()) is None


def test_who_holds_nothing_is_not_named(folder: Path) -> None:
    with tv.open("data") as vault:
        lock_path = os.path.join(vault.store.engine.index.recent_path, "lock.mdb")
        assert holder_of(lock_path) is None
        lock = vault.store.engine.index.recent.begin(write=True)
        found = holder_of(lock_path)
        lock.abort()
        assert found is not None
        assert (found.pid, found.stopped) == (os.getpid(), False)
        vault.create_bucket("raw")
        assert holder_of(lock_path) is None
    assert holder_of(lock_path) is None


def test_the_words() -> None:
    assert sentence(None) == "waiting: another process holds the vault's commit lock"
    assert "process 7 (feed.py \\x1b) holds" in sentence(Holder(7, "feed.py \x1b", False))
    assert "kill -CONT 7" in sentence(Holder(7, "feed.py", True))
