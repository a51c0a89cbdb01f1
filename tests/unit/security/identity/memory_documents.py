"""`Documents` in a dictionary, as its protocol says: written whole, on condition, with revisions that never repeat."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tickvault.errors import ConflictError, InvalidInputError
from tickvault.security.documents import DOCUMENT_SIZE_MAX, Document


class MemoryDocuments:
    def __init__(self) -> None:
        self._kept: dict[str, Document] = {}
        self._revision = 0
        self._lock = threading.Lock()
        self.get_count = 0
        self.before_put: Callable[[str], None] = lambda name: None
        """Called before each write: what others do in that moment."""

    def get(self, name: str) -> Document | None:
        with self._lock:
            self.get_count += 1
            document = self._kept.get(name)
            return None if document is None else document._replace(data=copy.deepcopy(document.data))

    def list(self, prefix: str) -> list[Document]:
        with self._lock:
            return [
                document._replace(data=copy.deepcopy(document.data))
                for name, document in sorted(self._kept.items())
                if name.startswith(prefix)
            ]

    def put(self, name: str, data: Mapping[str, Any], *, expect: int | None = None) -> int:
        self.before_put(name)
        size = len(json.dumps(data, default=lambda each: each.hex(), ensure_ascii=False).encode("utf-8", "replace"))
        if size > DOCUMENT_SIZE_MAX:
            raise InvalidInputError(f"document {name}: {size} bytes")
        with self._lock:
            self._check(name, expect)
            self._revision += 1
            self._kept[name] = Document(name, self._revision, copy.deepcopy(dict(data)))
            return self._revision

    def remove(self, name: str, *, expect: int | None = None) -> bool:
        self.before_put(name)
        with self._lock:
            if name not in self._kept:
                return False
            self._check(name, expect)
            self._revision += 1
            del self._kept[name]
            return True

    def revision(self) -> int:
        return self._revision

    def _check(self, name: str, expect: int | None) -> None:
        document = self._kept.get(name)
        there = 0 if document is None else document.revision
        if expect is not None and expect != there:
            raise ConflictError(f"document {name}: has revision {there}, expected was {expect}")
