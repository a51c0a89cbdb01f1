"""Conditional writes: of any number of writers, exactly one wins."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.objects.bucket import Bucket


def race(count: int, attempt: Callable[[int], object]) -> list[object]:
    """Let threads attempt at once; return what each returned or raised."""
    outcomes: list[object] = [None] * count
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        gate.wait()
        try:
            outcomes[number] = attempt(number)
        except tv.TickVaultError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def put_new(target: Bucket, key: str, number: int) -> tv.ObjectInfo:
    return target.put(key, b"%d" % number, if_none_match="*")


@pytest.mark.parametrize("versioning", [False, True])
def test_one_thread_creates(vault: tv.Vault, versioning: bool) -> None:
    target = vault.create_bucket("raced", versioning=versioning)
    for turn in range(5):
        key = f"k{turn}"
        outcomes = race(8, partial(put_new, target, key))
        winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, tv.ObjectInfo)]
        assert len(winners) == 1
        assert sum(isinstance(outcome, tv.PreconditionFailedError) for outcome in outcomes) == 7
        assert target.get(key) == b"%d" % winners[0]
        assert len(list(target.versions(key))) == 1


def test_one_thread_replaces(bucket: Bucket) -> None:
    etag = bucket.put("k", b"old").etag
    outcomes = race(8, lambda number: bucket.put("k", b"%d" % number, if_match=etag))
    assert sum(isinstance(outcome, tv.ObjectInfo) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, tv.PreconditionFailedError) for outcome in outcomes) == 7


def test_large_bodies_and_small_ones_race_alike(bucket: Bucket) -> None:
    sizes = [10, 300_000, 70_000, 400_000]
    outcomes = race(4, lambda number: bucket.put("k", b"x" * sizes[number], if_none_match="*"))
    (winner,) = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, tv.ObjectInfo)]
    assert len(bucket.get("k")) == sizes[winner]


def test_a_counter_with_if_match_loses_no_step(bucket: Bucket) -> None:
    etag = bucket.put("counter", b"0").etag
    assert etag

    def step(_: int) -> int:
        retries = 0
        for _ in range(10):
            while True:
                blob = bucket.get("counter")
                try:
                    bucket.put("counter", b"%d" % (int(bytes(blob)) + 1), if_match=blob.info.etag)
                    break
                except tv.PreconditionFailedError:
                    retries += 1
        return retries

    race(4, step)
    assert bytes(bucket.get("counter")) == b"40"


_PROGRAM = """
import sys, tickvault as tv
with tv.open(sys.argv[1]) as vault:
    bucket = vault["raced"]
    print("ready", flush=True)
    sys.stdin.readline()
    won = []
    for turn in range(50):
        try:
            bucket.put(f"k{turn}", sys.argv[2].encode(), if_none_match="*")
            won.append(turn)
        except tv.PreconditionFailedError:
            pass
    print(*won)
"""


def test_one_process_creates(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "data")
    with tv.open(path) as vault:
        target = vault.create_bucket("raced", durability="relaxed")
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, path, str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        won = [set(process.communicate(timeout=60)[0].split()) for process in processes]
        assert sum(map(len, won)) == 50
        assert set.union(*won) == {str(turn) for turn in range(50)}
        for number, turns in enumerate(won):
            for turn in turns:
                assert target.get(f"k{turn}") == b"%d" % number


@pytest.mark.parametrize("quoted", [False, True])
def test_an_entity_tag_is_taken_with_and_without_quotes(bucket: Bucket, quoted: bool) -> None:
    etag = bucket.put("k", b"1").etag
    given = f'"{etag}"' if quoted else etag
    with pytest.raises(tv.PreconditionFailedError):
        bucket.put("k", b"2", if_none_match=given)
    assert bucket.put("k", b"2", if_match=given).etag != etag


def test_a_condition_on_what_is_not_there(bucket: Bucket, versioned: Bucket) -> None:
    versioned.put("k", b"1")
    versioned.delete("k")
    for target in (bucket, versioned):
        for if_match in ("*", "0" * 32):
            with pytest.raises(tv.NotFoundError):
                target.put("k", b"", if_match=if_match)
            with pytest.raises(tv.NotFoundError):
                target.delete("k", if_match=if_match)
        assert target.put("k", b"new", if_none_match="*").size == 3


def test_a_condition_that_fails_leaves_nothing(versioned: Bucket) -> None:
    versioned.put("k", b"1")
    before = versioned.store.engine.tail()
    with pytest.raises(tv.PreconditionFailedError):
        versioned.put("k", b"2", if_none_match="*")
    with pytest.raises(tv.PreconditionFailedError):
        versioned.copy("k", "k", if_match="0" * 32)
    assert versioned.store.engine.tail() == before
    assert len(list(versioned.versions("k"))) == 1


def test_copy_and_complete_keep_conditions_on_their_destination(bucket: Bucket) -> None:
    bucket.put("source", b"1")
    bucket.put("there", b"2")
    with pytest.raises(tv.PreconditionFailedError):
        bucket.copy("source", "there", if_none_match="*")
    upload = bucket.create_upload("there")
    part = bucket.put_part("there", upload.upload_id, 1, b"3")
    with pytest.raises(tv.PreconditionFailedError):
        bucket.complete_upload("there", upload.upload_id, [(1, part.etag)], if_none_match="*")
    assert bucket.upload_info("there", upload.upload_id).key == "there"
    bucket.complete_upload("there", upload.upload_id, [(1, part.etag)], if_match="*")
    assert bucket.get("there") == b"3"


def test_the_loser_does_not_become_visible_after_a_reopening(vault: tv.Vault, bucket: Bucket) -> None:
    outcomes = race(4, lambda number: bucket.put("k", b"%d" % number, if_none_match="*"))
    winner = next(number for number, outcome in enumerate(outcomes) if isinstance(outcome, tv.ObjectInfo))
    vault.close()
    tv.vault.rebuild_index(vault.path)
    with tv.open(vault.path) as again:
        assert again["raw"].get("k") == b"%d" % winner
