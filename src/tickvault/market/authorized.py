"""A library in the hands of an identity: each verb asks first, and what it changes is attributed to whoever asks.

Invariants: every public verb of `Library` has a rule here (a test compares the two); one without a rule takes the right
to write; what was got from a library asks as well, for every append and every delivery: rights are those of now, also
of a `Writer` or a `Subscription` that stays open for days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from tickvault.engine.attribution import Caller, calling

if TYPE_CHECKING:
    from tickvault.market.journal.locked import Appended
    from tickvault.market.journal.subscription import Subscription
    from tickvault.market.journal.writer import Writer
    from tickvault.market.library import Library
    from tickvault.market.table import Table

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
                result = found(*args, **kwargs)
            return self._asking(name, result)

        return verb

    def _asking(self, verb: str, result: Any) -> Any:
        """Return what a verb gave, so that it asks where it goes on afterwards."""
        if verb == "writer":
            return AuthorizedWriter(result, lambda: self._ask(APPEND), self._caller)
        if verb == "subscribe":
            return AuthorizedSubscription(result, lambda: self._ask(READ))
        if verb == "batches":
            return _batches(result, lambda: self._ask(READ))
        return result


def _batches(batches: Iterator[Table], ask: Callable[[], None]) -> Iterator[Table]:
    for batch in batches:
        ask()
        yield batch


class _Got:
    """What was got from a library: closing it, and what it is, asks for nothing.

    Parameters
    ----------
    got : Writer or Subscription
        What does the work.
    ask : callable
        Raises `AccessDeniedError` unless the right is there.
    """

    def __init__(self, got: Any, ask: Callable[[], None]) -> None:
        self._got = got
        self._ask = ask

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self._got.close()

    def __repr__(self) -> str:
        """Show the series."""
        return repr(self._got)

    def __getattr__(self, name: str) -> Any:
        """Return what has no rule here: `close`, and what it is."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._got, name)


class AuthorizedWriter(_Got):
    """A writer that asks before each append."""

    _got: Writer

    def __init__(self, writer: Writer, ask: Callable[[], None], caller: Caller) -> None:
        super().__init__(writer, ask)
        self._caller = caller

    def append(self, data: Any = None, /, **row: Any) -> Appended:
        """As `Writer.append`."""
        self._ask()
        with calling(self._caller):
            return self._got.append(data, **row)


class AuthorizedSubscription(_Got):
    """A subscription that asks before each delivery; what is refused is delivered first once the right is back."""

    _got: Subscription

    def __iter__(self) -> Iterator[Table]:
        """As `Subscription.__iter__`; ends with `AccessDeniedError` when the right is gone."""
        while self._got.is_open:
            found = self.get(timeout=1.0)
            if found is not None:
                yield found

    def get(self, timeout: float | None = None) -> Table | None:
        """As `Subscription.get`."""
        self._ask()
        found = self._got.get(timeout)
        if found is not None:
            try:
                # The wait may have been long.
                self._ask()
            except BaseException:
                self._got.give_back(found)
                raise
        return found
