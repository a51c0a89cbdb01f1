"""Fields of a document, each read as what it must be.

Invariants: a value of a wrong type, or none, is an `IntegrityError` that names document and field, never a default,
since a default could let somebody in; a document of another version is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tickvault.errors import FormatError, IntegrityError
from tickvault.security.documents import Document
from tickvault.security.identity.model import KeyOwnerKind, Link

#: Of the layout of every document of identities.
VERSION = 1
T = TypeVar("T")


class Fields:
    """Reads fields of a document, each of the type it must have."""

    __slots__ = ("_data", "_name")

    def __init__(self, name: str, data: Mapping[str, Any]) -> None:
        self._name = name
        self._data = data

    @classmethod
    def of(cls, document: Document) -> Fields:
        """Begin with a document; raises `FormatError` if it is of another version."""
        fields = cls(document.name, document.data)
        version = fields.integer("v")
        if version != VERSION:
            raise FormatError(f"document {document.name}: has version {version}, this release knows {VERSION}; upgrade")
        return fields

    def _typed(self, field: str, kind: type[T]) -> T:
        value = self._data.get(field)
        # A bool is an int to Python, and an expiry of True is none.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.broken(field, f"must be {kind.__name__}, was {type(value).__name__}")
        return value

    def broken(self, field: str, why: str) -> IntegrityError:
        """Return the error for a field that does not hold what it must."""
        return IntegrityError(f"document {self._name}, field {field!r}: {why}; run: tickvault verify")

    def text(self, field: str) -> str:
        """Return a text."""
        return self._typed(field, str)

    def integer(self, field: str) -> int:
        """Return a number."""
        return self._typed(field, int)

    def truth(self, field: str) -> bool:
        """Return yes or no."""
        return self._typed(field, bool)

    def blob(self, field: str) -> bytes:
        """Return bytes."""
        return self._typed(field, bytes)

    def optional_integer(self, field: str) -> int | None:
        """Return a number or None."""
        return None if self._data.get(field) is None and field in self._data else self.integer(field)

    def optional_text(self, field: str) -> str | None:
        """Return a text or None."""
        return None if self._data.get(field) is None and field in self._data else self.text(field)

    def texts(self, field: str) -> dict[str, str]:
        """Return texts by name."""
        value = self._data.get(field)
        if not isinstance(value, Mapping) or not all(
            isinstance(k, str) and isinstance(v, str) for k, v in value.items()
        ):
            raise self.broken(field, "must map text to text")
        return dict(value)

    def links(self, field: str) -> tuple[Link, ...]:
        """Return references."""
        return tuple(Link(each.text("name"), each.text("id")) for each in self.items(field))

    def items(self, field: str) -> list[Fields]:
        """Return the fields of each item of a list."""
        value = self._data.get(field)
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise self.broken(field, "must be a list")
        if not all(isinstance(each, Mapping) for each in value):
            raise self.broken(field, "must be a list of mappings")
        return [Fields(f"{self._name}, {field}[{place}]", each) for place, each in enumerate(value)]

    def key_owner(self, field: str) -> KeyOwnerKind:
        """Return which kind of owner."""
        value = self.text(field)
        if value == "user":
            return "user"
        if value == "service-account":
            return "service-account"
        raise self.broken(field, f"must be 'user' or 'service-account', was {value!r}")

    def integers(self, field: str) -> dict[str, int]:
        """Return numbers by name."""
        value = self._data.get(field)
        if not isinstance(value, Mapping) or not all(isinstance(k, str) and type(v) is int for k, v in value.items()):
            raise self.broken(field, "must map text to whole numbers")
        return dict(value)
