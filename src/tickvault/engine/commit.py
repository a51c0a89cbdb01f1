"""The commit: the one place where a vault changes.

The LMDB write transaction of `recent` is the lock, across threads and processes: check the conditions, index, append
the batch, sync once, commit.  What arrives while one commit is in flight joins the next (group commit).

Invariants: an operation that raises has changed nothing; an operation that returns is durable at the mode it asked
for; every record passes `Transaction.append`, which lets each guard object first and tells each observer after.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import lmdb

from tickvault.engine.attribution import (
    KIND_ATTRIBUTION,
    NOBODY,
    Attribution,
    attribution_size,
    current_caller,
    encode_attributions,
)
from tickvault.engine.index import KEY_TAIL, IndexWriter, Tail, index_error
from tickvault.engine.record import (
    FLAG_RELOCATED,
    HEADER_SIZE,
    Buffer,
    EncodedRecord,
    Location,
    batch_seed,
    encode_batch_header,
    encode_record,
)
from tickvault.errors import BusyError, ClosedError, DiskFullError, LockedError, PoisonedError
from tickvault.seam.disk import SyncError

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

Result = TypeVar("Result")
_starting = threading.Lock()
_log = logging.getLogger("tickvault.engine")

#: Operations gathered into one batch stop at this many bytes; a single larger operation is a batch of its own.
BATCH_SIZE_MAX = 1024 * 1024
#: Zeros written ahead of the journal's end: at least so many, at most as many as there are here.
_AHEAD_MIN = 512 * 1024
_ZEROS = memoryview(bytes(4 * 1024 * 1024))
#: A batch larger than this many bytes carries no zeros.
_AHEAD_BATCH_MAX = 256 * 1024
_UNSET: Any = object()


class Change(NamedTuple):
    """A record about to be made, as guards and observers see it."""

    kind: int
    sequence: int
    bucket_id: int
    key: bytes
    meta: bytes
    time_ns: int
    aux: int
    flags: int


class Operation(Generic[Result]):
    """One atomic change, run inside a commit.

    `run` is given the transaction; it first checks (and raises), then says whether it must be `strict`, then appends
    records, at most `size` bytes of them with their headers.  It may run more than once if a commit that it shared is
    undone, so it keeps no state of its own.
    """

    __slots__ = ("_error", "_result", "caller", "cancelled", "done", "frees", "on_done", "run", "size", "started")

    def __init__(self, run: Callable[[Transaction], Result], size: int, *, frees: bool = False) -> None:
        self.run = run
        self.size = size
        self.frees = frees
        """It removes, or moves to remove: on a full disk it may use the reserve."""
        self.cancelled = False
        self.started = False
        self.on_done: Callable[[Operation[Any]], None] | None = None
        self.done: threading.Event | None = None
        self._result: Result = _UNSET
        self._error: BaseException | None = None
        self.caller = current_caller()
        """Whose the change is, for the audit trail."""

    def cancel(self) -> bool:
        """Withdraw the operation unless it has been started; return whether it was withdrawn."""
        with _starting:
            if self.started:
                return False
            self.cancelled = True
            return True

    def start(self) -> bool:
        """Begin the operation unless it was withdrawn; return whether it may run."""
        with _starting:
            self.started = not self.cancelled
            return self.started

    @property
    def finished(self) -> bool:
        """Whether there is an outcome."""
        return self._error is not None or self._result is not _UNSET

    def outcome(self) -> Result:
        """Return the result, or raise the error."""
        if self._error is not None:
            raise self._error
        assert self._result is not _UNSET, "outcome asked for before the commit was done"
        return self._result

    def settle(self, result: Any = _UNSET, error: BaseException | None = None) -> None:
        """Note how it ended."""
        self._result = result
        self._error = error


class Transaction(IndexWriter):
    """The inside of a commit: reads see what was changed before in the same commit."""

    __slots__ = (
        "_attributions",
        "_base",
        "_engine",
        "_last",
        "_records",
        "caller",
        "length",
        "now_ns",
        "sequence",
        "strict",
        "tail",
    )

    def __init__(self, engine: Engine, recent: Any, index: Any, tail: Tail, now_ns: int) -> None:
        super().__init__(recent, index)
        self._engine = engine
        self._records: list[EncodedRecord] = []
        self.strict = False
        """Set by an operation whose records must be on the disk before it returns."""
        self._last: tuple[Any, ...] | None = None
        self._attributions: list[Attribution] = []
        self.caller = NOBODY
        """Whose the operation is that runs now."""
        self.tail = tail
        self.now_ns = now_ns
        self.sequence = tail.sequence
        self.length = HEADER_SIZE
        self._base = tail.offset

    def next_sequence(self) -> int:
        """Return the sequence number that the next new record gets."""
        return self.sequence + 1

    def append(
        self,
        kind: int,
        bucket_id: int,
        key: bytes,
        meta: bytes,
        body: Buffer = b"",
        *,
        aux: int = 0,
        time_ns: int | None = None,
        frames: bytes | None = None,
        relocated_sequence: int | None = None,
        last: bool = False,
    ) -> tuple[int, Location]:
        """Add a record to the batch, index it, and return its sequence and place.

        Parameters
        ----------
        relocated_sequence : int, optional
            Compaction copies a record: it keeps this sequence.
        last : bool
            The operation neither reads nor appends after this, so the record may be indexed while the disk is at work.
        """
        if relocated_sequence is None:
            sequence = self.sequence + 1
            flags = 0
        else:
            sequence = relocated_sequence
            flags = FLAG_RELOCATED
        time_ns = self.now_ns if time_ns is None else time_ns
        engine = self._engine
        if engine.guards or engine.observers:
            change = Change(kind, sequence, bucket_id, key, meta, time_ns, aux, flags)
            try:
                for guard in engine.guards:
                    guard(self, change)
            except LockedError as error:
                if engine.on_refusal is not None:
                    engine.on_refusal(self.caller, error)
                raise
        record = encode_record(kind, sequence, bucket_id, key, meta, body, time_ns, aux, flags, frames)
        # The group was given a segment it fits into, by the sizes its operations state.
        assert self._base + self.length + record.length <= self.tail.segment_end, "an operation outgrew its stated size"
        single = record.single_frame
        location = Location(
            self.tail.segment_id,
            self._base + self.length,
            record.length,
            len(record.head) if single else 0,
            record.crc if single else 0,
        )
        self._records.append(record)
        self.length += record.length
        if not flags:
            self.sequence = sequence
        if last and not engine.observers:
            self._last = (self, kind, flags, sequence, bucket_id, key, meta, time_ns, aux, len(body), location)
            return sequence, location
        engine.apply(self, kind, flags, sequence, bucket_id, key, meta, time_ns, aux, len(body), location)
        for observer in engine.observers:
            observer(self, change)
        return sequence, location

    def attribute(self, first: int, who: bytes) -> None:
        """Say whose the records are that were appended since sequence `first`."""
        if who:
            self._attributions.append(Attribution(first, self.sequence, who))

    def _append_attributions(self) -> None:
        """Add the record that tells whose the changes of this batch are."""
        meta = encode_attributions(self._attributions)
        self.sequence += 1
        record = encode_record(KIND_ATTRIBUTION, self.sequence, 0, b"", meta, b"", self.now_ns)
        assert self._base + self.length + record.length <= self.tail.segment_end, "attributions outgrew their size"
        self._records.append(record)
        self.length += record.length

    def index_last(self) -> None:
        """Index the record that was appended as the `last` of its operation."""
        if self._last is not None:
            self._engine.apply(*self._last)
            self._last = None

    def finish(self) -> bool:
        """Write and sync the batch and move the tail; return whether there was anything to write."""
        if not self._records:
            return False
        if self._attributions:
            self._append_attributions()
        engine = self._engine
        tail = self.tail
        batch_id = engine.host.random_u64()
        seed = batch_seed(engine.vault_id, tail.segment_id, self._base)
        head = encode_batch_header(
            seed,
            batch_id,
            tail.batch_id,
            tail.epoch,
            self.sequence,
            self.now_ns,
            self.length,
            self._records,
            self.strict,
        )
        pieces: list[Buffer] = [head]
        for record in self._records:
            pieces += record.pieces()
        end = self._base + self.length
        written_end = tail.written_end
        if end > written_end and self.length <= _AHEAD_BATCH_MAX:
            # A sync into extents that were written before costs half of one into extents that were only reserved, so
            # every now and then a commit carries zeros for those that follow. For a large batch, writing every byte
            # twice costs as much as that.
            ahead = min(max(_AHEAD_MIN, 8 * self.length), len(_ZEROS), tail.segment_end - end)
            pieces.append(_ZEROS[:ahead])
            written_end = end + ahead
        if len(pieces) > 512:
            pieces = [b"".join(pieces)]
        engine.write_batch(tail.segment_id, self._base, pieces, strict=self.strict)
        # While the disk is at work: after the sync every microsecond is one in which the others wait with cold caches.
        self.index_last()
        self._recent.put(
            KEY_TAIL,
            Tail(
                tail.epoch,
                self.sequence,
                batch_id,
                tail.segment_id,
                end,
                tail.base,
                tail.segment_end,
                written_end,
            ).pack(),
        )
        self._index.abort()
        engine.committing(len(self._records))
        if self.strict:
            engine.sync_batch(tail.segment_id, end, batch_id)
        return True


def closed_error(path: str) -> ClosedError:
    """Return the error of a vault that was closed."""
    return ClosedError(f"the vault {path} was closed; open it again")


def poisoned(cause: object) -> PoisonedError:
    """Return the error of a vault whose disk failed to sync."""
    return PoisonedError(
        f"a sync to disk failed ({cause}); the vault refuses writes until every process has closed it and "
        "it is opened again"
    )


def _withdrawn() -> BusyError:
    return BusyError("the wait for the commit ran out before the change was begun; nothing was done, try again")


class Committer:
    """Group commit for the threads of one process."""

    def __init__(self, engine: Engine, *, queue_length_max: int = 65536) -> None:
        self._engine = engine
        self._queue: deque[Operation[Any]] = deque()
        self._lock = threading.Lock()
        self._leading = False
        self._wake = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False
        self._queue_length_max = queue_length_max

    def commit(self, operation: Operation[Result]) -> Result:
        """Run one operation in a commit, together with what other threads bring, and return its result."""
        with self._lock:
            if self._closed:
                raise closed_error(self._engine.path)
            if self._leading or self._queue:
                operation.done = threading.Event()
                self._queue.append(operation)
                lead = False
            else:
                self._leading = lead = True
        if lead:
            try:
                self._run([operation])
            finally:
                self._pass_on()
        else:
            assert operation.done is not None
            operation.done.wait()
            if not operation.finished:
                # The leader before us handed the lead over: our own operation is still in the queue.
                try:
                    self._run(self._take())
                finally:
                    self._pass_on()
        return operation.outcome()

    def submit(self, operation: Operation[Any], on_done: Callable[[Operation[Any]], None]) -> None:
        """Queue an operation for the committer thread; `on_done` is called there once it has an outcome.

        Raises
        ------
        BusyError
            The queue is full.
        """
        operation.on_done = on_done
        with self._lock:
            if self._closed:
                raise closed_error(self._engine.path)
            if len(self._queue) >= self._queue_length_max:
                raise BusyError(f"{self._queue_length_max} changes are waiting to be committed; try again")
            self._queue.append(operation)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="tickvault-commit", daemon=True)
                self._thread.start()
            if not self._leading:
                self._wake.notify()

    def _serve(self) -> None:
        while True:
            with self._lock:
                while self._leading or not self._queue:
                    if self._closed and not self._queue:
                        return
                    self._wake.wait()
                self._leading = True
            try:
                self._run(self._take())
            finally:
                self._pass_on()

    def _take(self) -> list[Operation[Any]]:
        group: list[Operation[Any]] = []
        size = 0
        with self._lock:
            while self._queue:
                operation = self._queue[0]
                if group and size + operation.size > BATCH_SIZE_MAX:
                    break
                size += operation.size
                group.append(self._queue.popleft())
        return group

    def _pass_on(self) -> None:
        with self._lock:
            if self._queue and self._queue[0].done is not None:
                # A thread waits for the first operation in the queue: it leads next, and stays `leading` for us.
                self._queue[0].done.set()
                return
            self._leading = False
            if self._queue or self._closed:
                self._wake.notify_all()

    def _run(self, group: list[Operation[Any]]) -> None:
        """Commit a group and settle every operation in it, whatever happens."""
        try:
            waiting = [operation for operation in group if not self._skip(operation)]
            while waiting:
                waiting = self._attempt(waiting)
        except BaseException as error:
            for operation in group:
                if not operation.finished:
                    operation.settle(error=error)
            if not isinstance(error, Exception):
                raise
        finally:
            for operation in group:
                self._tell(operation)

    def _skip(self, operation: Operation[Any]) -> bool:
        if not operation.cancelled:
            return False
        operation.settle(error=_withdrawn())
        return True

    def _tell(self, operation: Operation[Any]) -> None:
        on_done, operation.on_done = operation.on_done, None
        if on_done is not None:
            try:
                on_done(operation)
            except Exception:
                # A callback's fault must not keep the others of the group waiting.
                _log.exception("a callback of a committed operation failed")
        elif operation.done is not None:
            operation.done.set()

    def _attempt(self, group: list[Operation[Any]]) -> list[Operation[Any]]:
        """Run a group in one transaction; return the operations to try again without the one that broke it."""
        engine = self._engine
        outcomes: list[tuple[Operation[Any], Any, BaseException | None]] = []
        size = sum(operation.size for operation in group) + HEADER_SIZE
        size += attribution_size([operation.caller.who for operation in group])
        frees = [operation for operation in group if operation.frees]
        try:
            txn, tail = self._begin(size, frees=len(frees) == len(group))
        except DiskFullError as error:
            if not frees or len(frees) == len(group):
                raise
            for operation in group:
                if not operation.frees:
                    operation.settle(error=error)
            return frees
        index = None
        try:
            index = engine.index.index.begin()
            transaction = Transaction(engine, txn, index, tail, engine.clock.now_ns())
            changed = []
            for operation in group:
                length = transaction.length
                first = transaction.sequence + 1
                transaction.index_last()
                transaction.caller = operation.caller
                if not operation.start():
                    outcomes.append((operation, None, _withdrawn()))
                    continue
                try:
                    outcomes.append((operation, operation.run(transaction), None))
                    if transaction.sequence >= first:
                        changed.append(operation.caller)
                        transaction.attribute(first, operation.caller.who)
                except Exception as error:
                    if transaction.length != length:
                        # It changed something before it failed: undo all, and run the others without it.
                        txn.abort()
                        operation.settle(error=error)
                        return [other for other in group if other is not operation]
                    outcomes.append((operation, None, error))
            if transaction.finish():
                txn.commit()
            else:
                txn.abort()
        except lmdb.Error as error:
            txn.abort()
            raise index_error(error, "commit") from error
        except SyncError as error:
            txn.abort()
            raise poisoned(error) from error
        except BaseException:
            txn.abort()
            raise
        finally:
            if index is not None:
                index.abort()
        for caller in changed:
            caller.recorded = True
        for operation, result, failure in outcomes:
            operation.settle(result, failure)
        return []

    def _begin(self, size: int, *, frees: bool) -> tuple[Any, Tail]:
        """Take the commit lock with at least `size` bytes left in the current segment."""
        engine = self._engine
        while True:
            try:
                txn = engine.take_turn()
            except lmdb.Error as error:
                raise index_error(error, "begin a commit") from error
            try:
                engine.check_writable()
                tail = Tail.unpack(txn.get(KEY_TAIL))
                if tail.offset + size <= tail.segment_end:
                    return txn, tail
                # A commit of its own, so that the new segment is known even if no operation of this group changes
                # anything.
                txn.put(KEY_TAIL, engine.roll(tail, size, frees=frees).pack())
                txn.commit()
            except SyncError as error:
                txn.abort()
                raise poisoned(error) from error
            except BaseException:
                txn.abort()
                raise

    def close(self) -> None:
        """Finish what is queued and refuse what comes."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
