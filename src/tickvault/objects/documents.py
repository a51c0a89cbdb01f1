"""Documents of the vault itself: identities, policies, keys, settings, as records of the journal.

They implement `security.documents.Documents`.  A document is changed in a commit like an object, always strictly, so
that it is rebuilt from segments, backed up and audited with them.

Invariants: a revision is the sequence number of the change that wrote it; a removed document leaves a record that says
so; one whose record is damaged is an error to read, never an older one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tickvault.engine.commit import Operation, Transaction
from tickvault.engine.index import prefix_end
from tickvault.errors import ConflictError, IntegrityError, InvalidInputError
from tickvault.objects import entries
from tickvault.objects.entries import DAMAGED_DOCUMENT, DOCUMENTS_KEY, Kind, decode_document
from tickvault.objects.names import check_document_name
from tickvault.security.documents import DOCUMENT_SIZE_MAX, Document

if TYPE_CHECKING:
    from tickvault.engine.engine import Engine

_RECORD_SIZE = 1024


class VaultDocuments:
    """The documents of one vault."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, name: str) -> Document | None:
        """Return a document, None if there is none of that name."""
        index_key = b"S" + check_document_name(name)
        raw = self._engine.index.get(index_key)
        return None if raw is None else _decoded(index_key, raw)

    def list(self, prefix: str) -> list[Document]:
        """Return the documents whose names begin with `prefix`, by name; those of one point in time."""
        start = b"S" + (check_document_name(prefix) if prefix else b"")
        with self._engine.snapshot() as snapshot:
            found = [_decoded(key, raw) for key, raw in snapshot.scan(start, prefix_end(start))]
        return [document for document in found if document is not None]

    def names(self) -> Iterator[str]:
        """Iterate over the names of all documents, in order, also of damaged ones."""
        with self._engine.snapshot() as snapshot:
            found = [key[1:].decode() for key, _ in snapshot.scan(b"S", prefix_end(b"S"))]
        yield from found

    def put(self, name: str, data: Mapping[str, Any], *, expect: int | None = None) -> int:
        """Write a document and return its revision; raises `ConflictError` unless it has the expected one."""
        raw_name = check_document_name(name)
        try:
            meta = entries.pack(dict(data))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInputError(f"document {name}: it holds what JSON could, and bytes: {error}") from None
        if len(meta) > DOCUMENT_SIZE_MAX:
            raise InvalidInputError(f"document {name} takes {len(meta)} bytes; at most {DOCUMENT_SIZE_MAX}")

        def run(txn: Transaction) -> int:
            self._check(txn.get, name, raw_name, expect)
            txn.strict = True
            return txn.append(Kind.DOCUMENT, 0, raw_name, meta)[0]

        return self._engine.commit(Operation(run, _RECORD_SIZE + len(meta)))

    def remove(self, name: str, *, expect: int | None = None) -> bool:
        """Remove a document; return whether it was there."""
        raw_name = check_document_name(name)

        def run(txn: Transaction) -> bool:
            found = self._check(txn.get, name, raw_name, expect)
            if found is None:
                return False
            txn.strict = True
            txn.append(Kind.DOCUMENT, 0, raw_name, entries.pack(None))
            return True

        return self._engine.commit(Operation(run, _RECORD_SIZE))

    def revision(self) -> int:
        """Return the sequence of the last change of any document, by any process."""
        raw = self._engine.index.get(DOCUMENTS_KEY)
        return 0 if raw is None else int.from_bytes(raw, "big")

    def _check(
        self, get: Callable[[bytes], bytes | None], name: str, raw_name: bytes, expect: int | None
    ) -> Document | None:
        raw = get(b"S" + raw_name)
        try:
            found = None if raw is None else _decoded(b"S" + raw_name, raw)
        except IntegrityError:
            if expect is not None:
                raise
            return Document(name, 0, {})  # what is damaged may be replaced or removed
        revision = 0 if found is None else found.revision
        if expect is not None and revision != expect:
            now = f"is at revision {revision}" if found else "is not there"
            raise ConflictError(f"document {name} {now}, not at {expect}: somebody changed it; read it again")
        return found


def _decoded(index_key: bytes, raw: bytes) -> Document | None:
    name = index_key[1:].decode()
    found = decode_document(index_key, raw)
    if found.data is None:
        return None
    if DAMAGED_DOCUMENT in found.data:
        raise IntegrityError(
            f"document {name} is damaged; its older state is not used. Restore a backup, or write it anew"
        )
    return Document(name, found.sequence, found.data)
