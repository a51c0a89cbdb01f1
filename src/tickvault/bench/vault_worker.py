"""A process that reads and writes a vault, one command at a time.

Every embedded row is measured in processes like this one, so that the parent's interpreter lock, its progress
display and its heap take no part.

Invariants: keys and bodies are made before the clock starts; what is read is checked once against what was
written before it is measured.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

from tickvault.bench.child import Message, answer_commands
from tickvault.bench.dataset import BEGINNING_SIZE, beginning, bodies, new_key, object_key, shuffled
from tickvault.bench.limits import OBJECT_SIZE
from tickvault.bench.rounds import timing_of
from tickvault.objects.bucket import Bucket
from tickvault.objects.store import ObjectStore, open_store

_BODY_POOL_COUNT = 1024
_CHECKED_COUNT = 100


@contextmanager
def _busy_thread(wanted: bool) -> Iterator[None]:
    """Run a thread of plain Python arithmetic beside the block, as a strategy's own code would."""
    stop = False

    def count() -> None:
        number = 0
        while not stop:
            number += 1

    thread = threading.Thread(target=count, daemon=True)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop = True
        if wanted:
            thread.join()


class VaultCommands:
    """Commands on one bucket of one vault."""

    def __init__(self) -> None:
        self._store: ObjectStore | None = None
        self._bucket_in_use: Bucket | None = None
        self._order: list[str] = []
        self._cursor = 0
        self._new_keys: Iterator[str] = iter(())
        self._pool = [os.urandom(OBJECT_SIZE) for _ in range(_BODY_POOL_COUNT)]

    @property
    def _bucket(self) -> Bucket:
        assert self._bucket_in_use is not None, "use_bucket comes first"
        return self._bucket_in_use

    def open_vault(self, message: Message) -> Message:
        """Open the vault; `name` keeps the keys that this process writes apart from those of others."""
        self._store = open_store(message["path"], audit=message.get("audit", True))
        name = message["name"]
        self._new_keys = (new_key(name, number) for number in itertools.count())
        return {}

    def create_bucket(self, message: Message) -> Message:
        """Make a bucket."""
        assert self._store is not None
        self._store.create_bucket(message["bucket"], durability=message["durability"], **message.get("options", {}))
        return {}

    def use_bucket(self, message: Message) -> Message:
        """Let the next commands work on a bucket."""
        assert self._store is not None
        self._bucket_in_use = self._store.bucket(message["bucket"])
        return {}

    def fill(self, message: Message) -> Message:
        """Write `count` objects of `size` bytes, `batch_count` at a time."""
        count, batch_count = message["count"], message["batch_count"]
        started = time.perf_counter_ns()
        made = bodies(count, message["size"])
        while batch := [(object_key(number), body) for number, body in itertools.islice(made, batch_count)]:
            if batch_count == 1:
                self._bucket.put(*batch[0])
            else:
                self._bucket.put_many(batch)
        return {"wall_ns": time.perf_counter_ns() - started}

    def expect(self, message: Message) -> Message:
        """Take the order in which the objects are read, and check some of them."""
        numbers = shuffled(message["count"], message["seed"])
        for number in numbers[:_CHECKED_COUNT]:
            found = bytes(self._bucket.get(object_key(number))[:BEGINNING_SIZE])
            if found != beginning(number):
                raise AssertionError(f"{object_key(number)} holds other bytes than were written")
        self._order = [object_key(number) for number in numbers]
        self._cursor = 0
        return {}

    def _take(self, count: int) -> list[str]:
        order, start = self._order, self._cursor
        self._cursor = (start + count) % len(order)
        return [order[(start + n) % len(order)] for n in range(count)]

    def get(self, message: Message) -> Message:
        """Get one object after the other."""
        keys, latencies, clock, get = (
            self._take(message["count"]),
            array("q"),
            time.perf_counter_ns,
            self._bucket.get,
        )
        first = clock()
        for key in keys:
            start = clock()
            blob = get(key)
            latencies.append(clock() - start)
            assert len(blob) == OBJECT_SIZE
        return timing_of(latencies, clock() - first).as_message()

    def get_rate(self, message: Message) -> Message:
        """Get one object after the other, without a clock around each."""
        keys, get = self._take(message["count"]), self._bucket.get
        first = time.perf_counter_ns()
        for key in keys:
            get(key)
        return timing_of(array("q"), time.perf_counter_ns() - first, count=len(keys)).as_message()

    def get_many(self, message: Message) -> Message:
        """Get `batch_count` objects a call for some seconds; the rate counts objects."""
        batch_count, clock, get_many = message["batch_count"], time.perf_counter_ns, self._bucket.get_many
        batches = [self._take(batch_count) for _ in range(max(1, len(self._order) // batch_count))]
        latencies = array("q")
        first = now = clock()
        end = first + int(message["seconds"] * 1e9)
        for batch in itertools.cycle(batches):
            start = clock()
            blobs = get_many(batch)
            now = clock()
            latencies.append(now - start)
            assert len(blobs) == batch_count
            if now >= end:
                break
        return timing_of(latencies, now - first, count=len(latencies) * batch_count).as_message()

    def put(self, message: Message) -> Message:
        """Put new objects one after the other for some seconds."""
        latencies, clock, put = array("q"), time.perf_counter_ns, self._bucket.put
        with _busy_thread(message["busy_thread"]):
            first = now = clock()
            end = first + int(message["seconds"] * 1e9)
            for key, body in zip(self._new_keys, itertools.cycle(self._pool)):
                start = clock()
                put(key, body)
                now = clock()
                latencies.append(now - start)
                if now >= end:
                    break
        return timing_of(latencies, now - first).as_message()

    def put_many(self, message: Message) -> Message:
        """Put new objects, `batch_count` a call, for some seconds; the rate counts objects."""
        batch_count, clock, put_many = message["batch_count"], time.perf_counter_ns, self._bucket.put_many
        latencies = array("q")
        pairs = zip(self._new_keys, itertools.cycle(self._pool))
        first = now = clock()
        end = first + int(message["seconds"] * 1e9)
        while now < end:
            items = list(itertools.islice(pairs, batch_count))
            start = clock()
            put_many(items)
            now = clock()
            latencies.append(now - start)
        return timing_of(latencies, now - first, count=len(latencies) * batch_count).as_message()

    def list(self, message: Message) -> Message:
        """List `count` keys of a bucket that holds `bucket_count`, from random places on."""
        bucket = self._bucket
        wanted, bucket_count = message["count"], message["bucket_count"]
        starts = itertools.cycle(shuffled(bucket_count, 1)[:1000])
        listed = 0
        first = time.perf_counter_ns()
        while listed < wanted:
            start_after = "" if bucket_count <= wanted else object_key(next(starts))
            for _ in itertools.islice(bucket.list(start_after=start_after), wanted - listed):
                listed += 1
        return timing_of(array("q"), time.perf_counter_ns() - first, count=listed).as_message()

    def close_vault(self, message: Message) -> Message:
        """Close the vault; the last process to do so leaves everything in the lasting index."""
        if self._store is not None:
            self._store.close()
            self._store = None
        return {}


def main() -> None:
    """Answer the parent's commands."""
    commands = VaultCommands()
    answer_commands({name: getattr(commands, name) for name in dir(commands) if not name.startswith("_")})


if __name__ == "__main__":
    main()
