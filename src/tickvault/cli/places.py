"""Where objects and files are, as a command line names them.

Invariants: the first ``/`` parts bucket and key, and a key is never normalised (``raw//a`` is the key
``/a``); ``/x``, ``./x``, ``../x``, ``~/x``, ``.``, ``..`` and ``-`` are local, everything else is
BUCKET/KEY; a key never leads out of the folder that it is written below.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from tickvault.errors import InvalidInputError

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_LOCAL_NAMES = {".", "..", "-", "~"}
_LOCAL_STARTS = ("/", "./", "../", "~/")


class Place(NamedTuple):
    """A bucket and a key (or a prefix, or nothing) in a vault."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    @property
    def is_folder(self) -> bool:
        """Whether names are to be added to it: a bare bucket, or a key that ends in ``/``."""
        return not self.key or self.key.endswith("/")

    def below(self, name: str) -> Place:
        """Return the place `name` below this one."""
        return Place(self.bucket, self.key + name)


def parse_place(text: str) -> Place:
    """Part ``bucket/key`` at its first slash.

    >>> parse_place("raw/ES/1")
    Place(bucket='raw', key='ES/1')
    >>> parse_place("raw")
    Place(bucket='raw', key='')

    Raises
    ------
    InvalidInputError
        The text names no bucket.
    """
    bucket, _, key = text.partition("/")
    if not bucket:
        raise InvalidInputError(f"{text!r} names no bucket; write BUCKET/KEY, such as raw/ES/1")
    return Place(bucket, key)


def parse_object(text: str) -> Place:
    """Part ``bucket/key`` and insist on a key.

    Raises
    ------
    InvalidInputError
        The text names no bucket or no key.
    """
    place = parse_place(text)
    if not place.key:
        raise InvalidInputError(f"{text!r} names a bucket and no object; write BUCKET/KEY, such as {place.bucket}/ES/1")
    return place


def is_local(text: str) -> bool:
    """Whether a text of `cp` is a local file or folder.

    >>> [is_local(text) for text in ("./a", "/a", "~/a", "-", "..", "raw/a", "raw", ".raw/a")]
    [True, True, True, True, True, False, False, False]
    """
    return text in _LOCAL_NAMES or text.startswith(_LOCAL_STARTS)


def path_below(folder: str, name: str) -> str:
    """Return the path of a file called `name` (a part of a key) below `folder`.

    Raises
    ------
    InvalidInputError
        The name would lead out of the folder, or is no file name: a key may hold ``..`` or an empty part, a
        path below a folder may not. Nor may it hold control characters, with which a name could steer the terminal of
        whoever lists the folder.
    """
    parts = name.split("/")
    if _CONTROL.search(name):
        raise InvalidInputError(
            f"key {name!r} cannot become a file below {folder}: it holds a control character; get it by itself and "
            "name the file"
        )
    if any(part in {"", ".", ".."} for part in parts):
        raise InvalidInputError(
            f"key {name!r} cannot become a file below {folder}: an empty part, '.' and '..' are no file names; "
            " get it by itself and name the file"
        )
    return os.path.join(folder, *parts)
