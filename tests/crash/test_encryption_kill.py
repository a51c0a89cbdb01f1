"""Killed while it writes encrypted objects: what was acknowledged is read, and what was not is there whole or not."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.errors import NotFoundError
from tickvault.objects.bucket import Bucket

MIB = 1 << 20
KEY = bytes(range(32))
ROUNDS = 6


def body_of(key: str, size: int) -> bytes:
    seed = hashlib.sha256(key.encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def write_for_ever(folder: Path, log: int, number: int) -> None:
    """Write objects of every kind; note each before and after, one `write` a note, which outlives the process."""
    chance = random.Random(number)
    with tv.open(folder / "vault") as vault:
        bucket = vault["sealed"]
        for count in range(10_000):
            kind = chance.choice(("small", "large", "parts", "many", "brought"))
            key = f"{kind}-{number}-{count}"
            size = chance.choice((0, 100, 70_000)) if kind != "large" else 300_000 + chance.randrange(MIB)
            os.write(log, f"begin {key} {size}\n".encode())
            if kind == "parts":
                upload = bucket.create_upload(key)
                first = bucket.put_part(key, upload.upload_id, 1, body_of(key, 5 * MIB))
                second = bucket.put_part(key, upload.upload_id, 2, body_of(key, size))
                bucket.complete_upload(key, upload.upload_id, [(1, first.etag), (2, second.etag)])
            elif kind == "many":
                bucket.put_many([(f"{key}/{each}", body_of(key, size)) for each in range(3)])
            elif kind == "brought":
                bucket.put(key, body_of(key, size), encryption={"customer_key": KEY})
            else:
                bucket.put(key, body_of(key, size))
            os.write(log, f"done {key} {size}\n".encode())


def in_a_child(act: Callable[[], None], after_s: float) -> None:
    """Run something in a process of its own and kill that."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(1)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, "it ended before it was killed"


def found(bucket: Bucket, key: str, size: int) -> bool:
    """Return whether an object is there; what is there must be right."""
    kind = key.partition("-")[0]
    body = body_of(key, size)
    if kind == "parts":
        body = body_of(key, 5 * MIB) + body
    names = [f"{key}/{each}" for each in range(3)] if kind == "many" else [key]
    seen = []
    for name in names:
        try:
            seen.append(bytes(bucket.get(name, customer_key=KEY if kind == "brought" else None)))
        except NotFoundError:
            pass
    assert len(seen) in (0, len(names)), f"{key} is there in part"
    assert all(one == body for one in seen), f"{key} is not what was written"
    return bool(seen)


def test_killed_at_any_time(tmp_path: Path) -> None:
    chance = random.Random(7)
    with tv.open(tmp_path / "vault") as vault:
        vault.create_bucket("sealed", encryption="aes-256-gcm")
    noted: dict[str, int] = {}
    acknowledged: set[str] = set()
    for number in range(ROUNDS):
        path = tmp_path / f"log-{number}"
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        in_a_child(lambda log=log, number=number: write_for_ever(tmp_path, log, number), 0.1 + chance.random() * 0.25)
        os.close(log)
        for line in path.read_text().splitlines():
            word, key, size = line.split()
            noted[key] = int(size)
            if word == "done":
                acknowledged.add(key)
        with tv.open(tmp_path / "vault") as vault:
            if number % 3 == 1:
                vault.store.keys.rotate("default-aes-256-gcm")
                vault["sealed"].rewrap()
            there = {key for key, size in noted.items() if found(vault["sealed"], key, size)}
            assert acknowledged <= there
            assert vault.verify().sound
    assert len(acknowledged) > 10
    assert {key.partition("-")[0] for key in acknowledged} == {"small", "large", "parts", "many", "brought"}


@pytest.mark.parametrize("seed", range(3))
def test_killed_while_the_first_key_is_made(tmp_path: Path, seed: int) -> None:
    """A vault that was about to get its keyring gets one at the next try, and it is the one that is used."""
    chance = random.Random(seed)
    with tv.open(tmp_path / "vault") as vault:
        vault.create_bucket("raw")
    for number in range(6):

        def first(number: int = number) -> None:
            with tv.open(tmp_path / "vault") as mine:
                mine["raw"].put(f"k{number}", b"body", encryption="aes-256-gcm")
                time.sleep(10)

        in_a_child(first, 0.01 + chance.random() * 0.05)
        with tv.open(tmp_path / "vault") as vault:
            for key in [info.key for info in vault["raw"].list_page().objects]:
                assert bytes(vault["raw"].get(key)) == b"body"
    with tv.open(tmp_path / "vault") as vault:
        vault["raw"].put("last", b"body", encryption="aes-256-gcm")
        assert bytes(vault["raw"].get("last")) == b"body"
