"""A library in the hands of an identity: each verb asks first, and what it changes is attributed to whoever asks.

Invariants: every public verb of `Library` has a rule here (a test compares the two); one without a rule takes the right
to write; live rows appended through a `Writer` are asked for when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tickvault.engine.attribution import Caller, calling

if TYPE_CHECKING:
    from tickvault.market.library import Library

READ, APPEND, WRITE = "tickvault:ReadLibrary", "tickvault:AppendRows", "tickvault:WriteLibrary"
#: Verb -> the right that it takes.
RULES = {
    **dict.fromkeys(
        ("batches", "quarantine", "read", "series", "snapshots", "stat", "subscribe", "symbols", "versions"), READ
    ),
    **dict.fromkeys(("append", "ingest", "writer"), APPEND),
    **dict.fromkeys(
        (
            "bust",
            "compact",
            "correct",
            "delete",
            "delete_snapshot",
            "prune",
            "reference",
            "restore",
            "snapshot",
            "update",
            "write",
        ),
        WRITE,
    ),
}
#: What every handle may do.
FREE = frozenset({"close", "name", "open"})


class AuthorizedLibrary:
    """A library that asks an authority.

    Parameters
    ----------
    library : Library
        What does the work.
    ask : callable
        Given the right, raises `AccessDeniedError` unless it is there.
    caller : Caller
        Whose the changes are.
    """

    def __init__(self, library: Library, ask: Callable[[str], None], caller: Caller) -> None:
        self._library = library
        self._ask = ask
        self._caller = caller

    def __repr__(self) -> str:
        """Show the library."""
        return repr(self._library)

    def __getattr__(self, name: str) -> Any:
        """Return a verb of the library that asks first."""
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self._library, name)
        if name in FREE:
            return found
        right = RULES.get(name, WRITE)
        if not callable(found):
            self._ask(right)
            return found

        def verb(*args: Any, **kwargs: Any) -> Any:
            self._ask(right)
            with calling(self._caller):
                return found(*args, **kwargs)

        return verb
