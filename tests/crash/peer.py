"""Another process that has the vault open: `Peer` starts it and asks it to do things, one at a time.

Run as a program (``python peer.py FOLDER``) it opens the vault, and answers each line on its standard input with one on
its standard output, both JSON: ``["put", bucket, key, size]`` gives ``{"result": …}`` or
``{"error": class, "message": …}``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tickvault as tv
from tickvault.engine.engine import EngineOptions

OPTIONS = EngineOptions(
    segment_size_first=64 * 1024, segment_size_max=256 * 1024, body_segment_size_max=2 << 20, background=False
)


def body_of(key: str, size: int) -> bytes:
    """The bytes a peer writes under a key."""
    return (key.encode() + b"." * size)[:size]


class PeerError(Exception):
    """The call raised in the other process; `kind` is the class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class Peer:
    """A process that has a vault open."""

    def __init__(self, folder: Path, launcher: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*launcher, sys.executable, __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def ask(self, *call: Any) -> Any:
        """Do one call there and return its result; raises `PeerError`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerError("Died", f"exit status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"], answer["message"])
        return answer["result"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def close(self) -> None:
        """Let it close the vault and end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait() == 0
        self.process.stdout.close()


@contextmanager
def peer(folder: Path, launcher: Sequence[str] = ()) -> Iterator[Peer]:
    """A peer for the length of a block, in which it may be killed or closed."""
    made = Peer(folder, launcher)
    try:
        yield made
        if made.process.poll() is None:
            made.close()
    finally:
        made.kill()


# -- in the other process


class _Calls:
    def __init__(self, vault: tv.Vault) -> None:
        self._vault = vault
        self._held: list[Any] = []

    def put(self, bucket: str, key: str, size: int) -> int:
        return self._vault[bucket].put(key, body_of(key, size)).sequence

    def fill(self, bucket: str, prefix: str, size: int) -> int:
        """Put until the disk is full; return how many."""
        for number in range(1_000_000):
            try:
                self.put(bucket, f"{prefix}{number}", size)
            except tv.DiskFullError:
                return number
        raise AssertionError

    def get(self, bucket: str, key: str) -> str:
        return bytes(self._vault[bucket].get(key)).decode()

    def check(self, bucket: str, keys: list[str], size: int) -> int:
        """Return how many of the keys hold what `put` wrote."""
        return sum(self._vault[bucket].get(key) == body_of(key, size) for key in keys)

    def delete(self, bucket: str, key: str) -> bool:
        return self._vault[bucket].delete(key).existed

    def keys(self, bucket: str) -> list[str]:
        return [item if isinstance(item, str) else item.key for item in self._vault[bucket].list()]

    def hold(self, count: int) -> int:
        """Open so many snapshots and keep them."""
        self._held += [self._vault.store.engine.snapshot() for _ in range(count)]
        return len(self._held)

    def release(self) -> None:
        for snapshot in self._held:
            snapshot.close()
        self._held.clear()

    def checkpoint(self) -> int:
        return self._vault.store.engine.checkpoint()


def _serve(folder: str) -> None:
    def answer(**what: Any) -> None:
        print(json.dumps(what), flush=True)

    try:
        vault = tv.open(folder, options=OPTIONS)
    except Exception as error:
        answer(error=type(error).__name__, message=str(error))
        return
    with vault:
        answer(result="open")
        calls = _Calls(vault)
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            try:
                answer(result=getattr(calls, name)(*arguments))
            except Exception as error:
                answer(error=type(error).__name__, message=str(error))
        calls.release()


if __name__ == "__main__":
    _serve(sys.argv[1])
