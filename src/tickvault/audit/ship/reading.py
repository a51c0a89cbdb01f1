"""Settings read with their types and limits, each complaint with the sink, the setting, the rule and the value.

Invariants: a name that is not known is an error that lists the known ones; a value is of its type and within its
limits, or an error; a value never stands in a message where it could be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tickvault.audit.ship.secret import SecretFile
from tickvault.errors import InvalidInputError

_TEXT_MAX = 1024
_PATH_MAX = 4096


class Settings:
    """The settings of one sink.

    Parameters
    ----------
    values : mapping
        As they were written.
    sink_name : str
        For messages.
    known : sequence of str
        Every name that is allowed.
    """

    def __init__(self, values: Mapping[str, Any], sink_name: str, known: Sequence[str]) -> None:
        self._values, self._sink_name = values, sink_name
        unknown = sorted(str(name) for name in values if name not in known)
        if unknown:
            raise InvalidInputError(
                f"sink {sink_name}: unknown settings {', '.join(unknown)}; known are {', '.join(known)}"
            )

    def error(self, setting: str, message: str) -> InvalidInputError:
        """Return the error about a setting."""
        return InvalidInputError(f"sink {self._sink_name}: {setting}: {message}")

    def has(self, setting: str) -> bool:
        """Return whether a setting is there."""
        return self._values.get(setting) is not None

    def text(self, setting: str, default: str | None = None, *, length_max: int = _TEXT_MAX) -> str:
        """Return a string, not empty, printable."""
        value = self._values.get(setting)
        if value is None:
            if default is None:
                raise self.error(setting, "must be set")
            return default
        if not isinstance(value, str) or not value or len(value) > length_max or not value.isprintable():
            raise self.error(setting, f"must be a text of 1 to {length_max} printable characters, was {_shown(value)}")
        return value

    def optional_text(self, setting: str) -> str | None:
        """Return a string, or None."""
        return self.text(setting) if self.has(setting) else None

    def path(self, setting: str) -> str | None:
        """Return the path of a file, or None."""
        return self.text(setting, length_max=_PATH_MAX) if self.has(setting) else None

    def secret(self, setting: str, *, needed: bool = False) -> SecretFile | None:
        """Return a secret's file, which holds a secret now; None where it is not set and not needed."""
        path = self.path(setting)
        if path is None:
            if needed:
                raise self.error(setting, "must be set, to a file of mode 0600 that holds the secret and nothing else")
            return None
        secret = SecretFile(path)
        secret.read()
        return secret

    def flag(self, setting: str, default: bool) -> bool:
        """Return true or false."""
        value = self._values.get(setting, default)
        if not isinstance(value, bool):
            raise self.error(setting, f"must be true or false, was {_shown(value)}")
        return value

    def count(self, setting: str, default: int, low: int, high: int) -> int:
        """Return a whole number within limits."""
        value = self._values.get(setting, default)
        if type(value) is not int or not low <= value <= high:
            raise self.error(setting, f"must be a whole number from {low} to {high}, was {_shown(value)}")
        return value

    def seconds(self, setting: str, default: float, low: float, high: float) -> float:
        """Return a number of seconds within limits."""
        value = self._values.get(setting, default)
        if type(value) not in (int, float) or not low <= value <= high:
            raise self.error(setting, f"must be seconds from {low:g} to {high:g}, was {_shown(value)}")
        return float(value)

    def one_of(self, setting: str, choices: Sequence[str]) -> str:
        """Return one of some words, the first by default."""
        value = self._values.get(setting, choices[0])
        if not isinstance(value, str) or value not in choices:
            raise self.error(setting, f"must be one of {', '.join(choices)}, was {_shown(value)}")
        return value

    def words(self, setting: str, choices: Sequence[str]) -> list[str] | None:
        """Return a list of some words, at least one, or None."""
        value = self._values.get(setting)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not value or any(word not in choices for word in value):
            raise self.error(setting, f"must be a list of {', '.join(choices)}, was {_shown(value)}")
        return list(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
