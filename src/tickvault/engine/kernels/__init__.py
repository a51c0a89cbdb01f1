"""Kernels: checksums and digests of many buffers in one call, without the interpreter's lock.

They are compiled by numba where it is installed (the ``s3`` extra brings it), on a thread of their own, after a process
has had a few thousand objects through its hands in batches; until then, and without numba, the callers go their plain
way, to the same result.

Invariants: a kernel gives bit for bit what `crc32c` and `hashlib` give; no caller depends on one being there.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

#: Objects that a process handles in batches before the kernels are worth the half second of their loading.
OBJECTS_BEFORE_LOADING = 4_000
_log = logging.getLogger("tickvault.engine")


class Kernels(NamedTuple):
    """The compiled kernels."""

    records_intact: Callable[..., Any]
    """See `kernels.crc32c.records_intact`."""
    md5_many: Callable[..., Any]
    """See `kernels.md5.md5_many`."""


_loaded: Kernels | None = None
_thread: threading.Thread | None = None
_lock = threading.Lock()
_handled = 0


def kernels(object_count: int) -> Kernels | None:
    """Return the kernels for a batch of so many objects, None while they are not there."""
    global _handled
    if _loaded is None and _thread is None:
        _handled += object_count
        if _handled >= OBJECTS_BEFORE_LOADING:
            _load_beside()
    return _loaded


def load() -> Kernels | None:
    """Load the kernels now and return them; None where they cannot be had. For who promises a latency."""
    _load_beside()
    _wait()
    return _loaded


def _load_beside() -> None:
    global _thread
    with _lock:
        if _thread is None:
            # Not a daemon: leaving the interpreter while LLVM compiles would crash it.
            _thread = threading.Thread(target=_load, name="tickvault-kernels")
            _thread.start()


def _load() -> None:
    global _loaded
    try:
        from tickvault.engine.kernels.crc32c import records_intact
        from tickvault.engine.kernels.md5 import md5_many

        _loaded = Kernels(records_intact(), md5_many())
    except ImportError as error:
        _log.debug("no kernels: %s", error)
    except Exception as error:
        # Another machine's instruction set, or a numba that cannot compile them: slower, never wrong.
        _log.warning("the batch kernels could not be compiled (%s); batches take the plain way", error)


def _wait() -> None:
    thread = _thread
    if thread is not None and thread is not threading.current_thread():
        thread.join()


# A child forked in the middle of an import would inherit its locks, held by a thread that it has not.
os.register_at_fork(before=_wait)
