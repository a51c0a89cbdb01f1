"""Bytes between local files and a bucket, for `put`, `get` and `cp`.

Invariants: a local file appears whole or not at all (it is written under another name and renamed), and
holds only verified bytes; small uploads are kept in flight together so that they share commits; memory is
bounded by `PENDING_MAX` inline bodies and one piece of a large one.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar, overload

from tickvault.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from tickvault.engine.commit import Operation
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.lock.retention import ObjectLock
    from tickvault.objects.model import ObjectInfo

#: Uploads of small bodies in flight at once; a commit takes what has gathered.
PENDING_MAX = 64
_PIECE_SIZE = 1 << 20

T = TypeVar("T")
ByteCount = Callable[[int], None]
"""Called with the number of bytes that have just been moved."""


class PutOptions(NamedTuple):
    """What `put` and `cp` store with each object, and under which condition."""

    content_type: str | None = None
    metadata: Mapping[str, str] | None = None
    tags: Mapping[str, str] | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    lock: ObjectLock | None = None


class LocalFile(NamedTuple):
    """A file to upload, and the key that it gets."""

    path: str
    key: str
    size: int


def local_file(path: str, key: str) -> LocalFile:
    """Describe one file to upload.

    Raises
    ------
    NotFoundError
        There is no such file.
    InvalidInputError
        It is a folder.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise NotFoundError(f"no local file {path!r}") from None
    if stat.S_ISDIR(status.st_mode):
        raise InvalidInputError(f"{path!r} is a folder; add --recursive to store the files below it")
    return LocalFile(path, key, status.st_size)


def files_below(folder: str, prefix: str) -> Iterator[LocalFile]:
    """Describe the files below a folder, ordered by name; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield LocalFile(entry.path, prefix + entry.name, entry.stat().st_size)


@dataclass(frozen=True, slots=True)
class Uploader:
    """Stores files and streams in one bucket, all with the same options."""

    bucket: Bucket
    options: PutOptions
    on_bytes: ByteCount = lambda _: None

    @overload
    def files(self, files: Iterable[LocalFile]) -> Iterator[ObjectInfo]: ...

    @overload
    def files(
        self, files: Iterable[LocalFile], on_error: Callable[[LocalFile, Exception], T]
    ) -> Iterator[ObjectInfo | T]: ...

    def files(
        self, files: Iterable[LocalFile], on_error: Callable[[LocalFile, Exception], T] | None = None
    ) -> Iterator[ObjectInfo | T]:
        """Store files and yield what was stored, in the order given, each once it is durable.

        An error of one file is given to `on_error`, whose result takes the place of what was stored. Without it, and
        when it raises, the iteration ends; what was yielded before is stored, and up to `PENDING_MAX` files after the
        failed one may be stored as well.
        """
        pending: deque[tuple[LocalFile, Future[ObjectInfo]]] = deque()

        def settled() -> ObjectInfo | T:
            file, stored = pending.popleft()
            try:
                return stored.result()
            except Exception as error:
                if on_error is None:
                    raise
                return on_error(file, error)

        for file in files:
            pending.append((file, self._begin_file(file)))
            while len(pending) >= PENDING_MAX:
                yield settled()
        while pending:
            yield settled()

    def stream(self, key: str, source: BinaryIO) -> ObjectInfo:
        """Store what a stream of unknown length holds, and return once it is durable."""
        return self._begin(key, source, None).result()

    def _begin_file(self, file: LocalFile) -> Future[ObjectInfo]:
        try:
            with open(file.path, "rb") as source:
                return self._begin(file.key, source, file.size)
        except Exception as error:
            failed: Future[ObjectInfo] = Future()
            failed.set_exception(error)
            return failed

    def _begin(self, key: str, source: BinaryIO, size_hint: int | None) -> Future[ObjectInfo]:
        inline_size_max = self.bucket.store.inline_size_max
        head = source.read(inline_size_max + 1)
        self.on_bytes(len(head))
        if len(head) <= inline_size_max:
            return self._submit(self.bucket.put_operation(key, head, **self.options._asdict()))
        done: Future[ObjectInfo] = Future()
        with self.bucket.open_writer(key, size_hint, **self.options._asdict()) as writer:
            writer.write(head)
            while piece := source.read(_PIECE_SIZE):
                writer.write(piece)
                self.on_bytes(len(piece))
            done.set_result(writer.commit())
        return done

    def _submit(self, operation: Operation[ObjectInfo]) -> Future[ObjectInfo]:
        done: Future[ObjectInfo] = Future()

        def finish(finished: Operation[ObjectInfo]) -> None:
            try:
                done.set_result(finished.outcome())
            except BaseException as error:  # whatever it is, somebody waits for it
                done.set_exception(error)

        self.bucket.store.submit(operation, finish)
        return done


class Span(NamedTuple):
    """A part of an object, in bytes: `end` is exclusive, None is the end of the object."""

    start: int = 0
    end: int | None = None


WHOLE = Span()


def download_to_file(
    bucket: Bucket,
    key: str,
    path: str,
    *,
    version_id: str | None = None,
    span: Span = WHOLE,
    on_bytes: ByteCount = lambda _: None,
) -> ObjectInfo:
    """Write an object's verified bytes to a file, which is replaced in one step.

    Raises
    ------
    IntegrityError
        The object is damaged; the file is as it was before.
    """
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise InvalidInputError(f"{path!r} is a folder; name a file in it, such as {os.path.join(path, 'copy')!r}")
    for folder in (os.path.dirname(path), os.path.dirname(target)):
        if folder and not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, "no such folder", folder)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as device:  # a pipe or a device is written to, never replaced
            return download(bucket, key, device, version_id=version_id, span=span, on_bytes=on_bytes)
    partial = f"{target}.{secrets.token_hex(4)}.partial"
    try:
        with open(partial, "xb") as file:
            info = download(bucket, key, file, version_id=version_id, span=span, on_bytes=on_bytes)
        os.replace(partial, target)
    except BaseException:
        if os.path.lexists(partial):
            os.unlink(partial)
        raise
    return info


def download(
    bucket: Bucket,
    key: str,
    sink: BinaryIO,
    *,
    version_id: str | None = None,
    span: Span = WHOLE,
    on_bytes: ByteCount = lambda _: None,
) -> ObjectInfo:
    """Write an object's verified bytes to a stream; on damage the bytes before it have been written."""
    reader = bucket.read(key, version_id=version_id)
    size = reader.info.size
    if span.start > size:
        raise InvalidInputError(f"get {bucket.name}/{key}: range starts at {span.start}, the object ends at {size}")
    end = size if span.end is None else min(span.end, size)
    for piece in reader.chunks(span.start, end):
        sink.write(piece)
        on_bytes(len(piece))
    return reader.info
