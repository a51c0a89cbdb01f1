"""Writers that are killed at any instant, and the one who checks what they were told.

Run as a program (``python kill_rounds.py FOLDER ROUNDS SEED``): it forks four writers on one vault, lets them work for
a moment, kills one, some or all with SIGKILL, checks every acknowledgement, replaces the dead, and so on.  It prints
one JSON object with what it counted; a lost or half-visible write ends it with a message and exit status 1.

A writer notes in its own log file (one ``write`` each, which outlives its process) what it is about to do and, after
the call returned, that it was done.  What it was about to do when it died may be there or not, but never in part.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tickvault as tv
from tickvault.engine.engine import EngineOptions
from tickvault.seam.host import LinuxHost

WRITERS = 4
BUCKETS = ("strict", "relaxed", "versioned")
MIB = 1 << 20
OPTIONS = EngineOptions(
    segment_size_first=256 * 1024,
    segment_size_max=MIB,
    body_segment_size_max=8 * MIB,
    checkpoint_entries=300,
    relaxed_sync_ms=20,
)


class LostWriteError(AssertionError):
    """What a writer was told is not so."""


class Boot(LinuxHost):
    """This kernel under another boot id: makes the next opener replay the journal instead of trusting `recent`."""

    def __init__(self, number: int) -> None:
        self.number = number

    def boot_id(self) -> bytes:
        return self.number.to_bytes(16, "little")


def open_vault(folder: Path, boot: int) -> tv.Vault:
    return tv.open(folder / "vault", options=OPTIONS, host=Boot(boot))


def body_of(nonce: str, size: int) -> bytes:
    """The bytes that belong to a nonce, so that any mixture of two bodies is noticed."""
    seed = hashlib.sha256(nonce.encode()).digest()
    return (nonce.encode() + b":" + seed * (size // len(seed) + 1))[: max(size, len(nonce) + 1)]


# -- a writer


class Log:
    """What a writer is about to do and has done."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._count = 0

    def begin(self, **what: Any) -> int:
        self._count += 1
        self._line({"begin": self._count, **what})
        return self._count

    def done(self, number: int, **what: Any) -> None:
        self._line({"done": number, **what})

    def _line(self, what: dict[str, Any]) -> None:
        os.write(self._fd, json.dumps(what).encode() + b"\n")


def write_until_killed(folder: Path, boot: int, name: str) -> None:
    rng = random.Random(name)
    log = Log(folder / f"{name}.log")
    vault = open_vault(folder, boot)
    number = 0
    while True:
        number += 1
        bucket = vault.bucket(rng.choice(BUCKETS))
        nonce = f"{name}/{number}"
        size = rng.choice((10, 100, 4096, 4096, 30_000, 100_000))
        action = rng.choice(("put", "put", "put", "many", "race", "race", "count", "parts", "delete"))
        if action == "put":
            begun = log.begin(put=[[bucket.name, nonce, nonce, size]])
            info = bucket.put(nonce, body_of(nonce, size))
            log.done(begun, sequence=info.sequence)
        elif action == "many":
            items = [
                [bucket.name, f"{nonce}/{part}", f"{nonce}/{part}", rng.choice((0, 50, 3000))] for part in range(8)
            ]
            begun = log.begin(put=items)
            infos = bucket.put_many([(key, body_of(mark, length)) for _, key, mark, length in items])
            log.done(begun, sequence=infos[-1].sequence)
        elif action == "race":
            key = f"race/{int(time.monotonic() * 200)}"
            begun = log.begin(race=[bucket.name, key, nonce, size])
            try:
                bucket.put(key, body_of(nonce, size), if_none_match="*")
            except tv.PreconditionFailedError:
                log.done(begun, won=False)
            else:
                log.done(begun, won=True)
        elif action == "count":
            current = vault.bucket("strict").get("counter")
            begun = log.begin(count=1)
            try:
                next_value = b"%d" % (int(bytes(current)) + 1)
                vault.bucket("strict").put("counter", next_value, if_match=current.info.etag)
            except tv.PreconditionFailedError:
                log.done(begun, won=False)
            else:
                log.done(begun, won=True)
        elif action == "parts":
            upload = bucket.create_upload(nonce)
            part = bucket.put_part(nonce, upload.upload_id, 1, body_of(nonce, 20_000))
            begun = log.begin(put=[[bucket.name, nonce, nonce, 20_000]])
            info = bucket.complete_upload(nonce, upload.upload_id, [(1, part.etag)])
            log.done(begun, sequence=info.sequence)
        else:
            key = f"{nonce}/gone"
            bucket.put(key, b"to be deleted")
            begun = log.begin(delete=[bucket.name, key])
            bucket.delete(key)
            log.done(begun)


def start_writer(folder: Path, boot: int, name: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            write_until_killed(folder, boot, name)
        except BaseException as error:
            (folder / f"{name}.failed").write_text(f"{type(error).__name__}: {error}")
        os._exit(1)
    return pid


# -- the one who checks


class Checker:
    """Reads the logs as they grow, and holds the vault to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, int] = {}
        self._begun: dict[tuple[str, int], dict[str, Any]] = {}
        self._acknowledged: list[list[Any]] = []
        self._races: dict[tuple[str, str], dict[str, int]] = {}
        self._winners: dict[tuple[str, str], str] = {}
        self._counted = 0
        self._maybe_counted = 0
        self._sequences: set[int] = set()
        self.counts = {"rounds": 0, "killed": 0, "acknowledged": 0, "in_flight": 0, "races_won": 0, "replays": 0}

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted(self.folder.glob("*.log")):
            with path.open("rb") as file:
                file.seek(self._read.get(path.stem, 0))
                raw = file.read()
            end = raw.rfind(b"\n") + 1
            self._read[path.stem] = self._read.get(path.stem, 0) + end
            for line in raw[:end].splitlines():
                yield path.stem, json.loads(line)

    def take_logs(self) -> tuple[list[list[Any]], list[list[str]]]:
        """Read what was acknowledged since the last time; return (written, deleted)."""
        written: list[list[Any]] = []
        deleted: list[list[str]] = []
        for name, line in self._lines():
            if "begin" in line:
                self._begun[name, line["begin"]] = line
                continue
            begun = self._begun.pop((name, line["done"]))
            self.counts["acknowledged"] += 1
            if "put" in begun:
                written += begun["put"]
                if line["sequence"] in self._sequences:
                    raise LostWriteError(f"sequence {line['sequence']} was given out twice")
                self._sequences.add(line["sequence"])
            elif "delete" in begun:
                deleted.append(begun["delete"])
            elif "race" in begun and line["won"]:
                bucket, key, nonce, _ = begun["race"]
                if (bucket, key) in self._winners:
                    raise LostWriteError(f"{bucket}/{key} has two winners: {self._winners[bucket, key]} and {nonce}")
                self._winners[bucket, key] = nonce
                self.counts["races_won"] += 1
                written.append(begun["race"])
            elif "count" in begun and line["won"]:
                self._counted += 1
        return written, deleted

    def check(self, vault: tv.Vault, dead: set[str]) -> None:
        """Check everything new; what was in flight in dead writers is there whole or not at all."""
        written, deleted = self.take_logs()
        for item in written:
            self._expect(vault, item)
        self._acknowledged += written
        for bucket, key in deleted:
            if self._get(vault, bucket, key) is not None:
                raise LostWriteError(f"{bucket}/{key} was deleted, and is back")
        for name, number in [found for found in self._begun if found[0] in dead]:
            begun = self._begun.pop((name, number))
            self.counts["in_flight"] += 1
            if "put" in begun:
                seen = [self._get(vault, bucket, key) for bucket, key, _, _ in begun["put"]]
                if any(body is None for body in seen) and any(body is not None for body in seen):
                    raise LostWriteError(f"half of {begun['put'][0][1]} is visible: {[body is None for body in seen]}")
                for item, body in zip(begun["put"], seen, strict=True):
                    if body is not None:
                        self._expect(vault, item)
            elif "race" in begun:
                bucket, key, nonce, size = begun["race"]
                body = self._get(vault, bucket, key)
                if (
                    body is not None
                    and body == body_of(nonce, size)
                    and self._winners.setdefault((bucket, key), nonce) != nonce
                ):
                    raise LostWriteError(f"{bucket}/{key} holds {nonce}'s bytes, but {self._winners[bucket, key]} won")
            elif "count" in begun:
                self._maybe_counted += 1
        counter = int(bytes(vault.bucket("strict").get("counter")))
        # Writers that live may have counted on since their logs were read.
        if counter < self._counted:
            raise LostWriteError(f"the counter is {counter} after {self._counted} acknowledged increments")

    def check_all(self, vault: tv.Vault) -> None:
        """With no writer left: check every acknowledgement of the run once more, and that nothing is mixed up."""
        for item in self._acknowledged:
            self._expect(vault, item)
        for bucket_name in BUCKETS:
            for info in vault.bucket(bucket_name).list(prefix="race/"):
                body = self._get(vault, bucket_name, info.key)
                assert body is not None
                nonce = body.partition(b":")[0].decode()
                if body != body_of(nonce, len(body)):
                    raise LostWriteError(f"{bucket_name}/{info.key} holds a mixture of bytes")
                if self._winners.get((bucket_name, info.key), nonce) != nonce:
                    raise LostWriteError(f"{bucket_name}/{info.key} holds the bytes of {nonce}, who did not win")
        counter = int(bytes(vault.bucket("strict").get("counter")))
        if not self._counted <= counter <= self._counted + self._maybe_counted:
            raise LostWriteError(
                f"the counter is {counter} after {self._counted} acknowledged increments "
                f"and {self._maybe_counted} of which nobody was told"
            )

    def _get(self, vault: tv.Vault, bucket: str, key: str) -> bytes | None:
        try:
            return bytes(vault.bucket(bucket).get(key))
        except tv.NotFoundError:
            return None

    def _expect(self, vault: tv.Vault, item: list[Any]) -> None:
        bucket, key, nonce, size = item
        found = self._get(vault, bucket, key)
        if found is None:
            raise LostWriteError(f"{bucket}/{key} was acknowledged and is gone")
        if found != body_of(nonce, size):
            raise LostWriteError(f"{bucket}/{key} has {found[:40]!r} where {nonce} was acknowledged")


def run(folder: Path, rounds: int, seed: int) -> dict[str, int]:
    rng = random.Random(seed)
    boot = 1
    with open_vault(folder, boot) as vault:
        vault.create_bucket("strict").put("counter", b"0")
        vault.create_bucket("relaxed", durability="relaxed")
        vault.create_bucket("versioned", versioning=True)
    checker = Checker(folder)
    writers: dict[str, int] = {}
    started = 0
    try:
        for number in range(rounds):
            while len(writers) < WRITERS:
                started += 1
                name = f"w{started:04d}"
                writers[name] = start_writer(folder, boot, name)
            # The instant is the point of it: anywhere in opening, recovering or writing.
            time.sleep(rng.uniform(0.01, 0.12))
            count = WRITERS if number == rounds - 1 else rng.choice((1, 1, 2, 3, WRITERS, WRITERS))
            dead = set(rng.sample(sorted(writers), count))
            for name in dead:
                os.kill(writers[name], signal.SIGKILL)
            for name in dead:
                os.waitpid(writers.pop(name), 0)
            checker.counts["rounds"] += 1
            checker.counts["killed"] += count
            if not writers and rng.random() < 0.4:
                boot += 1
                checker.counts["replays"] += 1
            failed = sorted(folder.glob("*.failed"))
            if failed:
                raise LostWriteError(f"writer {failed[0].stem} gave up: {failed[0].read_text()}")
            with open_vault(folder, boot) as vault:
                checker.check(vault, dead)
                if not writers:
                    damage = vault.store.engine.report.damage
                    if damage:
                        raise LostWriteError(f"what was never durable is taken for damage: {damage}")
                if number == rounds - 1:
                    checker.check_all(vault)
    finally:
        for pid in writers.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    tv.rebuild_index(folder / "vault")
    with tv.open(folder / "vault") as vault:
        checker.check_all(vault)
    return checker.counts


if __name__ == "__main__":
    try:
        print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
    except LostWriteError as lost:
        sys.exit(f"LOST: {lost}")
