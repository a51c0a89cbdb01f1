"""A secret that does not show itself.

Invariants: no representation, formatting, copy into a dictionary (`dataclasses.asdict`), pickle or JSON of a `Secret`
holds its text; two are compared in a time that does not depend on where they differ; `reveal` is the one way out, so
that a reader finds each place where a secret is used.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Text that only `reveal` gives out.

    Examples
    --------
    >>> key = Secret("wJalrXUtnFEMI")
    >>> key
    Secret(hidden)
    >>> f"{key}", key.reveal()[:4]
    ('Secret(hidden)', 'wJal')
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def matches(self, text: str) -> bool:
        """Tell whether `text` is the secret, in a time that does not tell where it differs."""
        return hmac.compare_digest(self._text.encode(), text.encode("utf-8", "surrogatepass"))

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __format__(self, spec: str) -> str:
        return "Secret(hidden)"

    def __eq__(self, other: object) -> bool:
        return self.matches(other._text) if isinstance(other, Secret) else NotImplemented

    # A hash of a secret in a set or a message of a debugger would be one more thing that depends on it.
    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        # `dataclasses.asdict` copies what it does not know: this keeps the text inside.
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; reveal() it where it is used")
