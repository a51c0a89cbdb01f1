"""Several processes on one vault, with no server between them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv

_PROGRAM = """
import sys, tickvault as tv
vault = tv.open(sys.argv[1])
raw = vault["raw"]
for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


class Peer:
    """Another process with the vault open, which evaluates expressions on it."""

    def __init__(self, path: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, expression: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        return eval(answer) if answer[:1] in "bNTF'0123456789([" and not answer.endswith("Error") else answer

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return os.fspath(tmp_path / "data")


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_writes_are_visible_at_once_both_ways(path: str, durability: Any) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw", versioning=True, durability=durability)
        with Peer(path) as peer:
            for number in range(20):
                raw.put("mine", b"%d" % number)
                assert peer("bytes(raw.get('mine'))") == b"%d" % number
                assert peer(f"raw.put('theirs', b'{number}').size") == len(str(number))
                assert raw.get("theirs") == b"%d" % number
                if number % 5 == 0:
                    vault.store.engine.checkpoint()
                if number % 7 == 0:
                    peer("vault.store.engine.checkpoint()")
            large = b"x" * 1_000_000
            peer("raw.put('large', b'x' * 1_000_000).size")
            assert raw.get("large") == large
            raw.put("large", large[:500_000])
            assert peer("len(raw.get('large'))") == 500_000
            raw.delete("mine")
            assert peer("raw.get('mine')") == "DeletedError"
            assert peer("len([*raw.versions('mine')])") == 21
            raw.set_tags("theirs", {"a": "b"})
            assert peer("raw.get_tags('theirs')['a']") == "b"


def test_buckets_and_settings_are_seen_by_the_other(path: str) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw")
        with Peer(path) as peer:
            raw.set_versioning("enabled")
            assert peer("raw.put('k', b'').version_id != 'null'") is True
            assert peer("vault.create_bucket('other').name") == "other"
            assert "other" in vault
            assert peer("vault.create_bucket('raw')") == "AlreadyExistsError"
            vault.delete_bucket("other")
            assert peer("vault.bucket('other')") == "BucketNotFoundError"


def test_an_upload_may_be_shared(path: str) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw")
        upload = raw.create_upload("k")
        with Peer(path) as peer:
            etag = peer(f"raw.put_part('k', '{upload.upload_id}', 1, b'theirs').etag")
            raw.complete_upload("k", upload.upload_id, [(1, etag)])
            assert raw.get("k") == b"theirs"
            assert peer("bytes(raw.get('k'))") == b"theirs"


def test_a_peer_that_is_killed_takes_nothing_with_it(path: str) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw", durability="relaxed")
        for number in range(3):
            with Peer(path) as peer:
                assert peer(f"raw.put('k{number}', b'x').size") == 1
                peer("raw.open_writer('large').write(b'x' * 5_000_000)")
                peer.process.send_signal(signal.SIGKILL)
                peer.process.wait()
            assert raw.get(f"k{number}") == b"x"
            raw.put(f"after{number}", b"y")
        assert len(list(raw.list())) == 6
    with tv.open(path) as again:
        assert len(list(again["raw"].list())) == 6


def test_the_last_process_to_leave_is_not_always_the_first(path: str) -> None:
    vault = tv.open(path)
    vault.create_bucket("raw").put("k", b"1")
    with Peer(path) as peer:
        assert peer("bytes(raw.get('k'))") == b"1"
        vault.close()
        assert peer("raw.put('k', b'22').size") == 2
        with tv.open(path) as again:
            assert again["raw"].get("k") == b"22"


# -- fork


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child and expect it to succeed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_forked_child_reads_and_writes(path: str) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw")
        raw.put("parent", b"1")
        raw.put("large", b"x" * 400_000)

        def work() -> None:
            assert raw.get("parent") == b"1"
            assert raw.get("large") == b"x" * 400_000
            raw.put("child", b"2")
            raw.put("child large", b"y" * 400_000)
            assert [item.key for item in raw.list()] == ["child", "child large", "large", "parent"]  # type: ignore[union-attr]
            vault.close()

        for turn in range(3):
            in_child(work)
            assert raw.get("child") == b"2"
            assert raw.get("child large") == b"y" * 400_000
            raw.put("parent", b"1")
            raw.delete("child")
            raw.delete("child large")
            assert raw.put("again", b"%d" % turn).size == 1
            raw.delete("again")


def test_a_child_may_open_the_vault_itself(path: str) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw")

        def work() -> None:
            with tv.open(path) as own:
                own["raw"].put("child", b"1")

        in_child(work)
        assert raw.get("child") == b"1"


def test_a_child_that_never_touches_the_vault_leaves_it_alone(path: str) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw")
        in_child(vault.close)
        in_child(lambda: None)
        raw.put("k", b"1")
        assert raw.get("k") == b"1"
    with tv.open(path) as again:
        assert again["raw"].get("k") == b"1"


def test_a_blob_stays_true_in_a_child(path: str) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw")
        raw.put("k", b"x" * 100_000)
        blob = raw.get("k")

        def work() -> None:
            assert blob == b"x" * 100_000
            assert blob.info.size == 100_000

        in_child(work)


def test_parent_and_child_write_at_the_same_time(path: str) -> None:
    with tv.open(path) as vault:
        raw = vault.create_bucket("raw", durability="relaxed")
        raw.put("before", b"")
        children = []
        for name in range(2):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    for number in range(100):
                        raw.put(f"c{name}/{number}", b"x")
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        for number in range(100):
            raw.put(f"p/{number}", b"x")
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
        assert len(list(raw.list())) == 301
    tv.vault.rebuild_index(path)
    with tv.open(path) as again:
        assert len(list(again["raw"].list())) == 301


def test_a_child_outlives_its_parent(path: str, tmp_path: Path) -> None:
    """The parent that opened the vault is gone before the child uses it first."""
    program = f"""
import os, sys, time, tickvault as tv
vault = tv.open({path!r})
raw = vault.create_bucket("raw")
raw.put("parent", b"1")
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.005)
    assert raw.get("parent") == b"1"
    raw.put("child", b"2")
    print("done", flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert done.stdout == "done\n"
    with tv.open(path) as vault:
        assert [item.key for item in vault["raw"].list()] == ["child", "parent"]  # type: ignore[union-attr]
