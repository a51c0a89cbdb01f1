"""Several documents read as they all were at one moment.

Invariants: what is read is remembered with its revision; `unchanged` is true only if there was a moment at which every
document read had the revision it was read at. Without it, a reader between two changes could see a new right without
the new denial beside it.
"""

from __future__ import annotations

from tickvault.security.documents import Document, Documents
from tickvault.security.identity.model import Group, ManagedPolicy, Role, ServiceAccount, User
from tickvault.security.identity.names import document_name
from tickvault.security.identity.shelf import GROUPS, POLICIES, ROLES, SERVICE_ACCOUNTS, USERS, E, Shelf

Dependencies = tuple[tuple[str, int], ...]
"""Names and revisions of documents; revision 0: there was none."""


class Reading:
    """Reads documents and keeps which they were."""

    __slots__ = ("_documents", "_seen")

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._seen: dict[str, Document | None] = {}

    def document(self, name: str) -> Document | None:
        """Return a document; the same one however often it is asked for."""
        if name not in self._seen:
            self._seen[name] = self._documents.get(name)
        return self._seen[name]

    def dependencies(self) -> Dependencies:
        """Return what was read."""
        return tuple((name, document.revision if document else 0) for name, document in self._seen.items())

    def user(self, name: str) -> User | None:
        """Return a user."""
        return self._entity(USERS, name)

    def group(self, name: str) -> Group | None:
        """Return a group."""
        return self._entity(GROUPS, name)

    def policy(self, name: str) -> ManagedPolicy | None:
        """Return a managed policy that is not built in."""
        return self._entity(POLICIES, name)

    def role(self, name: str) -> Role | None:
        """Return a role."""
        return self._entity(ROLES, name)

    def service_account(self, name: str) -> ServiceAccount | None:
        """Return a service account."""
        return self._entity(SERVICE_ACCOUNTS, name)

    def _entity(self, shelf: Shelf[E], name: str) -> E | None:
        document = self.document(document_name(shelf.kind, name))
        if document is None:
            return None
        entity = shelf.read(document)
        return entity if entity.name == name else None


def unchanged(documents: Documents, dependencies: Dependencies) -> bool:
    """Tell whether documents have the revisions they had: then they all had them at the moment this began.

    Revisions never repeat, so that one found again was there all the time.
    """
    for name, revision in dependencies:
        document = documents.get(name)
        if (document.revision if document else 0) != revision:
            return False
    return True
