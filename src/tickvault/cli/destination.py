"""The local folder that a recursive copy writes into.

Invariants: nothing is written outside of the folder, also where a symbolic link in it leads out, or is put there while
the copy runs: every part of a path is opened relative to the one before, and no link is followed; a file appears whole
or not at all, and only regular files are replaced.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tickvault.cli.places import path_below
from tickvault.cli.transfer import download
from tickvault.errors import InvalidInputError, StorageError

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.model import ObjectInfo

_BY_ITSELF = "get it by itself and name the file"
_OPEN_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Destination:
    """A folder to copy into, which is made if it is missing; use ``with``.

    Parameters
    ----------
    path : str
        May itself be a link: the user named it.
    """

    def __init__(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)
        self.path = path
        self._root = os.open(path, _OPEN_FOLDER)
        # The folder of the last file: keys come in order, so that the next one mostly lies beside it.
        self._names: list[str] = []
        self._folder = os.dup(self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._folder)
        os.close(self._root)

    def refuses_all(self, error: Exception) -> bool:
        """Return whether an error says that nothing can be written into the folder."""
        return isinstance(error, PermissionError) and not os.access(self.path, os.W_OK | os.X_OK, effective_ids=True)

    def write(self, bucket: Bucket, key: str, name: str) -> tuple[str, ObjectInfo]:
        """Write an object's verified bytes to the file `name` (a part of its key), and return the file's path.

        Raises
        ------
        InvalidInputError
            The name cannot become a file here: see `path_below`; a link, a folder or a device is in its place.
        OSError
            The file system refuses; its ``filename`` is the whole path.
        """
        path = path_below(self.path, name)
        *folders, file = name.split("/")
        try:
            folder = self._enter(folders)
            return path, self._write(bucket, key, folder, file, path)
        except OSError as error:
            if not isinstance(error, StorageError):  # that one is about a file of the vault, and names it
                error.filename, error.filename2 = path, None
            raise

    def _write(self, bucket: Bucket, key: str, folder: int, file: str, path: str) -> ObjectInfo:
        try:
            mode = os.stat(file, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            pass
        else:
            if stat.S_ISLNK(mode):
                raise InvalidInputError(
                    f"{path!r} is a symbolic link, which a copy of many does not follow; {_BY_ITSELF}"
                )
            if stat.S_ISDIR(mode):
                raise InvalidInputError(f"{path!r} is a folder; {_BY_ITSELF}")
            if not stat.S_ISREG(mode):
                raise InvalidInputError(f"{path!r} is a pipe or a device; {_BY_ITSELF}")
        partial = f"{file}.{secrets.token_hex(4)}.partial"
        descriptor = os.open(partial, _NEW_FILE, 0o666, dir_fd=folder)
        try:
            with open(descriptor, "wb") as sink:
                info = download(bucket, key, sink)
            os.replace(partial, file, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial, dir_fd=folder)
            raise
        return info

    def _enter(self, names: list[str]) -> int:
        """Return the descriptor of a folder below, making what is missing of it."""
        if names != self._names:
            folder = os.dup(self._root)
            try:
                for depth in range(len(names)):
                    below = self._enter_one(folder, names[: depth + 1])
                    os.close(folder)
                    folder = below
            except BaseException:
                os.close(folder)
                raise
            os.close(self._folder)
            self._names, self._folder = names, folder
        return self._folder

    def _enter_one(self, above: int, names: list[str]) -> int:
        try:
            os.mkdir(names[-1], dir_fd=above)
        except FileExistsError:
            pass
        try:
            return os.open(names[-1], _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=above)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        path = os.path.join(self.path, *names)
        if stat.S_ISLNK(os.stat(names[-1], dir_fd=above, follow_symlinks=False).st_mode):
            raise InvalidInputError(f"{path!r} is a symbolic link, which a copy of many does not follow; {_BY_ITSELF}")
        raise InvalidInputError(f"{path!r} would have to be a folder, and is a file; {_BY_ITSELF}")
