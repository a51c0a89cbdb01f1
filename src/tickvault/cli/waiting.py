"""What a command says while another process keeps it from opening its vault or from committing, and how Ctrl-C ends the
wait for a commit.

The commit lock is LMDB's, in the memory that all processes with the vault open share: a robust mutex, whose first word
holds the thread that has it. Who waits for it is stuck in a system call, where Python handles no signal; so a thread
beside it watches, and is told of Ctrl-C through a pipe.

Invariants: nothing is said before `NOTICE_AFTER_S` without a commit by anybody; the holder is named only if it is alive
and is another process; Ctrl-C ends the process only while it waits, when it has nothing in hand.

Source: Linux, Documentation/locking/robust-futex-ABI.rst; LMDB 0.9, mdb.c, MDB_txninfo.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from tickvault.cli import interrupts, terminal

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

NOTICE_AFTER_S = 2.0
_LOOK_EVERY_S = 0.25
#: LMDB's lock file: magic and format, then the readers' mutex; the writers' one begins on the next cache line.
_LOCK_HEAD = struct.Struct("<II56xI")
_LOCK_MAGIC = (0xBEEFC0DE, 0x10001)
_THREAD_ID_MASK = 0x3FFFFFFF


class Holder(NamedTuple):
    """The process that has the commit lock."""

    pid: int
    command: str
    stopped: bool
    """By SIGSTOP or a debugger: it will not let go before it is continued."""


class OpeningWatch:
    """Watches over the opening of a vault, which takes turns with other openings and closings; use ``with``."""

    def __init__(self) -> None:
        self._timer = threading.Timer(NOTICE_AFTER_S, self._look)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()

    @staticmethod
    def _look() -> None:
        holder = blocker_of(os.getpid())
        if holder is not None:  # otherwise the opening is at work itself, on a recovery
            terminal.interject(f"waiting: {named(holder)} is opening or closing the vault{advice(holder)}")


class CommitWatch:
    """Watches over a command's commits for as long as its vault is open; use ``with``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._slot = engine.control.wait_slot(os.getpid())
        self._read, self._write = os.pipe()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tickvault-wait", daemon=True)
        self._old_wakeup: int | None = None

    def __enter__(self) -> CommitWatch:
        os.set_blocking(self._write, False)
        if threading.current_thread() is threading.main_thread():
            self._old_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._old_wakeup is not None:
            signal.set_wakeup_fd(self._old_wakeup)
        self._ended.set()
        os.write(self._write, b"\0")
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def _watch(self) -> None:
        seen: bytes | None = None
        since = 0.0
        said = interrupted = False
        while not self._ended.is_set():
            if select.select([self._read], [], [], _LOOK_EVERY_S)[0]:
                interrupted |= signal.SIGINT in os.read(self._read, 64)
            now = self._waits_since()
            if now is None or now != seen:
                seen, since, said = now, time.monotonic(), False
                continue
            if time.monotonic() - since < NOTICE_AFTER_S:
                continue
            if interrupted:
                interrupts.end()
            if not said:
                said = self._say()

    def _waits_since(self) -> bytes | None:
        """Return the commit that this process waits after, None if it does not wait."""
        try:
            control = self._engine.control
            return control.commits if control.waits(self._slot) else None
        except ValueError:  # closed
            return None

    def _say(self) -> bool:
        holder = holder_of(os.path.join(self._engine.index.recent_path, "lock.mdb"))
        if holder is not None and holder.pid == os.getpid():
            return True  # another thread of this command, which is at work
        terminal.interject(f"{sentence(holder)}; Ctrl-C gives up")
        return True


def sentence(holder: Holder | None) -> str:
    """Say who is waited for."""
    if holder is None:
        return "waiting: another process holds the vault's commit lock"
    return f"waiting: {named(holder)} holds the vault's commit lock{advice(holder)}"


def named(holder: Holder) -> str:
    """Name a process."""
    return f"process {holder.pid} ({terminal.printable(holder.command)})"


def advice(holder: Holder) -> str:
    """Say what to do about a process that will not let go by itself."""
    return f", and is stopped (kill -CONT {holder.pid} continues it)" if holder.stopped else ""


def blocker_of(pid: int) -> Holder | None:
    """Return who holds the file lock that a process waits for, None if it waits for none or that cannot be told."""
    try:
        with open("/proc/locks", encoding="ascii") as locks:
            lines = [line.split() for line in locks]
        # "7: FLOCK ADVISORY WRITE 4711 fe:00:12 0 EOF", and of who waits for it "7: -> FLOCK ADVISORY WRITE 4712 …"
        (number,) = {line[0] for line in lines if line[1] == "->" and int(line[5]) == pid}
        (holder_pid,) = {int(line[4]) for line in lines if line[0] == number and line[1] != "->"}
        return _process_of(holder_pid)
    except (OSError, ValueError, IndexError, KeyError):
        return None


def holder_of(lock_path: str) -> Holder | None:
    """Return who has the write lock of an environment that this process has open, None if that cannot be told."""
    try:
        address = _mapped_at(os.path.realpath(lock_path))
        if address is None:
            return None
        # Not through a descriptor of the file: closing that would drop LMDB's own lock on it.
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            magic, form, word = _LOCK_HEAD.unpack(os.pread(memory, _LOCK_HEAD.size, address))
        finally:
            os.close(memory)
        thread_id = word & _THREAD_ID_MASK
        return _process_of(thread_id) if (magic, form) == _LOCK_MAGIC and thread_id else None
    except (OSError, ValueError, KeyError, struct.error):
        return None


def _mapped_at(path: str) -> int | None:
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and fields[5] == path and fields[2] == "00000000":
                return int(fields[0].partition("-")[0], 16)
    return None


def _process_of(thread_id: int) -> Holder:
    with open(f"/proc/{thread_id}/status", encoding="utf-8", errors="replace") as status:
        facts = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    with open(f"/proc/{thread_id}/cmdline", encoding="utf-8", errors="replace") as cmdline:
        command = " ".join(cmdline.read().split("\0")).strip()
    return Holder(int(facts["Tgid"]), command[:80] or facts["Name"], facts["State"][:1] in "Tt")
