"""Patterns with ``*`` for the texts of a record.

Invariants: ``*`` stands for any letters, none included, and everything else for itself; matching takes time in
proportion to the text however many stars there are, for the first place that a piece fits is always the right one.
"""

from __future__ import annotations

from tickvault.errors import InvalidInputError

PATTERN_SIZE_MAX = 2048


class Pattern:
    """A pattern, or a plain text where it has no star.

    Parameters
    ----------
    text : str
        At most 2,048 letters.
    """

    def __init__(self, text: str) -> None:
        if len(text) > PATTERN_SIZE_MAX:
            raise InvalidInputError(f"pattern {text[:40]!r}…: must have at most {PATTERN_SIZE_MAX} letters")
        self._pieces = text.split("*")

    @property
    def longest_piece(self) -> str:
        """A text that whatever matches must contain."""
        return max(self._pieces, key=len)

    def matches(self, text: str) -> bool:
        """Return whether the whole text fits the pattern."""
        first, *rest = self._pieces
        if not rest:
            return text == first
        *middle, last = rest
        if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in middle:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True
