"""What stands in the place of an LMDB environment that must not be touched.

Invariants: using one gives a clear error or the right environment, never an inherited or closed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tickvault.errors import ClosedError


class ClosedEnvironment:
    """Once the vault was closed."""

    def __init__(self, path: str) -> None:
        self._path = path

    def begin(self, *, write: bool = False) -> Any:
        """Say that the vault is closed."""
        raise ClosedError(f"the vault {self._path} was closed; open it again")

    def reader_check(self) -> int:
        """Free no slots."""
        return 0

    def close(self) -> None:
        """It is closed."""


class ForkedEnvironment:
    """In a forked child, until the vault is used there."""

    def __init__(self, reopen: Callable[[], Any]) -> None:
        self._reopen = reopen

    def begin(self, *, write: bool = False) -> Any:
        """Reopen the vault in this process, and begin there."""
        return self._reopen().begin(write=write)

    def reader_check(self) -> int:
        """Free no slots."""
        return 0

    def close(self) -> None:
        """Nothing is open."""
