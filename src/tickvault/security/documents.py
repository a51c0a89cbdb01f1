"""Where identities, policies and settings of the vault itself are kept: small named documents.

`security` stands below the objects and cannot know how they are stored; whoever opens a vault gives it these. In an
embedded vault they are records of the journal like any other change, so that they are as durable, rebuilt from
segments, backed up, and audited.

Invariants: a document is replaced whole; of two writers that expect the same revision exactly one succeeds; a name is
``/``-separated (``iam/user/alice``); a revision never repeats, also not after a document was removed and made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

#: Largest document, bytes as stored.
DOCUMENT_SIZE_MAX = 256 * 1024
#: Field of an identity's document: what was changed last, as the audit trail tells it (`identity.changes`).
CHANGE_FIELD = "change"


class Document(NamedTuple):
    """A document and the revision it was read at."""

    name: str
    revision: int
    """Sequence number of the change that wrote it."""
    data: Mapping[str, Any]
    """What JSON could hold, and bytes."""


class Documents(Protocol):
    """Named documents of one vault."""

    def get(self, name: str) -> Document | None:
        """Return a document, None if there is none of that name."""

    def list(self, prefix: str) -> list[Document]:
        """Return the documents whose names begin with `prefix`, by name."""

    def put(self, name: str, data: Mapping[str, Any], *, expect: int | None = None) -> int:
        """Write a document durably and return its revision.

        Parameters
        ----------
        expect : int, optional
            Write only over this revision; 0: only if there is none of that name.

        Raises
        ------
        ConflictError
            The document has another revision.
        """

    def remove(self, name: str, *, expect: int | None = None) -> bool:
        """Remove a document; return whether it was there."""

    def revision(self) -> int:
        """Return a number that is another whenever any document was written or removed, by any process: for caches.

        Costs under a microsecond.
        """
